"""Spans of time as people write them: ``20ms``, ``90s``, ``15m``, ``1h``, ``2d``."""

import re

from penstock.core.errors import BadSetting

UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)", re.ASCII)


def duration(text: str, option: str) -> float:
    """Seconds, more than none. Raises BadSetting, naming ``option``."""
    match = _SPAN.fullmatch(text.strip().lower())
    factor = UNITS.get(match[2]) if match else None
    if match is None or factor is None or not float(match[1]):
        raise BadSetting(f"{option} {text!r} is no span of time; write e.g. 20ms, 90s, 15m or 1h")
    return float(match[1]) * factor
