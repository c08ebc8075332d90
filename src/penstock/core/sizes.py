"""Amounts of memory as people write them: ``8 GiB``, ``500 MB``, or a number of bytes."""

import re

from penstock.core.errors import BadSetting

UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{suffix}": int(base**power)
    for power, letter in enumerate("KMGT", 1)
    for suffix, base in (("", 1000), ("B", 1000), ("i", 1024), ("iB", 1024))
}
"""Bytes by unit; the short ones are Kubernetes' (``8Gi``, ``500M``)."""

_BY_LOWER = {unit.lower(): factor for unit, factor in UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def size(value: int | str, where: str) -> int:
    """Bytes; an empty text is 0. Raises BadSetting, naming ``where``, for what is no amount."""
    if isinstance(value, str):
        if not value.strip():
            return 0
        match = _SIZE.fullmatch(value.strip())
        factor = _BY_LOWER.get(match[2].lower()) if match else None
        if match is None or factor is None:
            raise BadSetting(
                f"{where}: {value!r} is no amount of memory; write e.g. '8 GiB', '500 MB', or bytes "
                "(units: KB MB GB TB are powers of 1000, KiB MiB GiB TiB of 1024)"
            )
        return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if value < 0:
        raise BadSetting(f"{where}: {value} is less than nothing; write e.g. '8 GiB', or 0 for no limit")
    return value


def show(amount: float) -> str:
    """The amount in the largest power of 1024 that leaves at least 1, with three digits that matter."""
    power = 0
    while amount >= 1024 and power < 4:
        amount /= 1024
        power += 1
    unit = ("B", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{amount:.0f} {unit}" if amount >= 100 or not power else f"{amount:.3g} {unit}"
