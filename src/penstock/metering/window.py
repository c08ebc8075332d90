"""A time as people write it, ``24h`` or ``2026-11-01``, in seconds since the epoch. Pure."""

import re
from datetime import UTC, datetime

from penstock.core.errors import InvalidRequest

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])", re.ASCII)
_EPOCH = re.compile(r"\d{9,10}(?:\.\d{1,9})?", re.ASCII)
"""From 1973 on; with fewer digits it is rather a date, with more it is milliseconds."""


def moment(text: str, now: float) -> float:
    """Seconds since the epoch; raises InvalidRequest.

    ``24h`` is so long ago; other units are s, m, d and w.
    A date, or a time in ISO 8601, is in UTC unless it says otherwise.
    ``now``, and a number of seconds since the epoch, are what they say.
    """
    text = text.strip()
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0.0, now - float(ago[1]) * UNITS[ago[2]])
    if text == "now":
        return now
    if _EPOCH.fullmatch(text):
        return float(text)
    return _calendar(text)


def window(since: str, until: str, now: float) -> tuple[float, float]:
    """From then until then; without ``until``: now. Raises InvalidRequest where nothing lies between."""
    start, end = moment(since, now), moment(until or "now", now)
    if start >= end:
        raise InvalidRequest(
            f"no time lies between {since!r} and {until or 'now'!r}; have the earlier one first"
        )
    return start, end


def _calendar(text: str) -> float:
    try:
        if not re.match(r"\d{4}-\d", text):
            raise ValueError
        time = datetime.fromisoformat(text)
        return max(0.0, (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"no time {text[:50]!r}; give how long ago (30m, 24h, 7d), a date or time (2026-11-01, "
            "2026-11-01T08:00+01:00), or seconds since the epoch"
        ) from None
