"""A grid's carbon intensity as a server tells it: one question, with bounds on time and size."""

import math
from time import monotonic
from typing import Any

import msgspec

from penstock.core.errors import BadSetting

DEADLINE = 10.0
"""Seconds for the whole answer."""
LARGEST = 1 << 20
"""Bytes of an answer."""
MOST = 5000.0
"""Grams for each kWh; the dirtiest grids have some 1,300."""
NAMES = ("carbonIntensity", "carbon_intensity", "intensity", "actual", "value", "forecast", "data")
"""Electricity Maps: ``carbonIntensity``; the British grid: ``data.0.intensity.actual``, before that is known
``forecast``.
"""


def ask(url: str, headers: dict[str, str], field: str) -> float:
    """Blocks for up to ``DEADLINE``, or twice that where the server stalls.

    Raises httpx's errors, and ValueError for an answer that is of no use.
    """
    return told(_get(url, headers), field)


def told(body: bytes, field: str) -> float:
    """Grams for each kWh, of JSON or a plain number. Raises ValueError. Pure."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ValueError(f"the answer is neither JSON nor a number: {body[:60]!r}") from None
    found = _at(answer, field) if field else find(answer)
    grams = number(found)
    if grams is None:
        where = (
            f"no number at {field!r}" if field else f"none of {', '.join(NAMES)}: say where with carbon.field"
        )
        raise ValueError(f"the answer has {where}")
    if not 0 <= grams <= MOST:
        raise ValueError(f"{grams:g} is no intensity in grams for each kWh; it must be from 0 to {MOST:g}")
    return grams


def find(answer: Any) -> float | None:
    """The first number below the usual names; a list must have one entry, or nobody knows which. Pure."""
    if isinstance(answer, list):
        return find(answer[0]) if len(answer) == 1 else None
    if isinstance(answer, dict):
        found = (find(answer[name]) for name in NAMES if name in answer)
        return next((each for each in found if each is not None), None)
    return number(answer)


def number(value: Any) -> float | None:
    """None for what is no finite number; one in quotes is."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def header(text: str) -> dict[str, str]:
    """``NAME: VALUE`` as a header; none where it is empty. Raises BadSetting, without the value."""
    if not text:
        return {}
    name, colon, value = (part.strip() for part in text.partition(":"))
    if (
        not colon
        or not name
        or not value
        or not f"{name}{value}".isascii()
        or not f"{name}{value}".isprintable()
    ):
        raise BadSetting("carbon.header is no header; write it as NAME: VALUE, in ASCII")
    return {name: value}


def _at(answer: Any, field: str) -> Any:
    for step in field.split("."):
        if isinstance(answer, dict):
            answer = answer.get(step)
        elif isinstance(answer, list):
            try:
                answer = answer[int(step)]
            except (ValueError, IndexError):
                return None
        else:
            return None
    return answer


def _get(url: str, headers: dict[str, str]) -> bytes:
    """Redirects are not followed: the header may be a secret."""
    import httpx

    until, body = monotonic() + DEADLINE, bytearray()
    asked = {"accept": "application/json, text/plain", "accept-encoding": "identity", **headers}
    with httpx.stream("GET", url, headers=asked, timeout=DEADLINE) as answer:
        if answer.status_code != 200:
            raise ValueError(f"the answer has status {answer.status_code}")
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > LARGEST or monotonic() > until:
                raise ValueError(f"the answer is over {LARGEST} bytes, or takes over {DEADLINE:g} s")
    return bytes(body)
