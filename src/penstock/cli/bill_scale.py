"""Amounts of very different sizes in one column: a unit and as many digits as its largest one needs."""

from collections.abc import Sequence
from math import floor, log10
from typing import TypeAlias

Units: TypeAlias = Sequence[tuple[float, str]]
"""How much one of it is, and its name; from the smallest up."""

JOULES: Units = ((1e-6, "µJ"), (1.0, "J"), (3.6e3, "Wh"), (3.6e6, "kWh"), (3.6e9, "MWh"))
TIMES = (86_400, "d"), (3600, "h"), (60, "min"), (1, "s")
GRAMS: Units = ((1e-6, "µg"), (1.0, "g"), (1e3, "kg"), (1e6, "t"))
DIGITS = 4
"""That the largest amount of a column shows."""
MOST_DIGITS = 7
"""That it may show for the sake of smaller ones."""
FEWEST = 1e-3
"""Of a unit, in the largest amount of a column, before a smaller unit is taken."""


def money(currency: str) -> Units:
    """The currency, and its millionth for what a single query costs."""
    return (1e-6, f"µ{currency}"), (1.0, currency)


def unit(amounts: Sequence[float | None], units: Units) -> tuple[float, str]:
    """The largest unit of which the largest amount has at least one; of the base unit, a thousandth."""
    largest = max((abs(each) for each in amounts if each is not None), default=0.0)
    fitting = [(size, name) for size, name in units if largest >= (FEWEST if size == 1 else size)]
    base = next(each for each in units if each[0] == 1)
    return fitting[-1] if fitting else base if not largest else units[0]


def column(
    amounts: Sequence[float | None], size: float = 1.0, fewest: int = 0, lines: int | None = None
) -> list[str]:
    """Amounts with the same decimals (``fewest`` or more), so that they can be added up by eye.

    The first ``lines`` of them get enough decimals to be told apart, however large the others are.
    What is not known is a dash; what would be rounded to nothing says that it is less than can be shown.
    """
    scaled = [None if each is None else each / size for each in amounts]
    overall, leading = _largest(scaled), _largest(scaled[:lines])
    decimals = fewest
    if overall is not None:
        decimals = max(fewest, DIGITS - 1 - overall)
    if overall is not None and leading is not None:
        decimals = max(decimals, min(DIGITS - 2 - leading, MOST_DIGITS - 1 - overall))
    return ["–" if each is None else _fixed(each, decimals) for each in scaled]


def _largest(amounts: Sequence[float | None]) -> int | None:
    """The power of ten of the largest; None where there is nothing but nought."""
    largest = max((abs(each) for each in amounts if each is not None), default=0.0)
    return _power(largest) if largest else None


def ratios(amounts: Sequence[float | None], size: float = 1.0) -> list[str]:
    """Amounts that nobody adds up: three digits each."""
    return ["–" if each is None else digits(each / size) for each in amounts]


def digits(value: float) -> str:
    """Three digits that matter, without an exponent."""
    return f"{value:,.{max(0, 2 - _power(value))}f}" if value else "0"


def amount(value: float, units: Units) -> str:
    """One amount with the unit that fits it."""
    size, name = unit([value], units)
    return f"{digits(value / size)} {name}"


def duration(seconds: float) -> str:
    """In the two largest units, ``23 h 58 min``; days from two of them on."""
    left = round(seconds)
    parts = []
    for size, name in TIMES if left >= 2 * TIMES[0][0] else TIMES[1:]:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def _fixed(value: float, decimals: int) -> str:
    if abs(value) >= 0.5 * 10.0**-decimals:
        return f"{value:,.{decimals}f}"
    return f"<{10.0**-decimals:.{decimals}f}" if value > 0 else f"{0:.{decimals}f}"


def _power(value: float) -> int:
    return floor(log10(abs(value))) if value else 0
