"""A scatter plot as SVG: axes with round ticks, marks that differ in shape, labels that keep apart."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["chosen", "original", "front", "other", "rejected"]

WIDTH, HEIGHT = 480.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 30.0, 44.0
UPWARD: tuple[Kind, ...] = ("front", "other", "rejected", "original", "chosen")
"""Who is drawn over whom: hollow marks over filled ones."""
MOST = 6
"""Ticks of an axis on a logarithmic scale."""
MANTISSAS = (
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 5, 7),
    (1, 2, 3, 5),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""Ticks within a power of ten, the densest first."""
CHARACTER = 6.7
"""Mean width of one at the size of the labels."""

SHAPES: dict[Kind, str] = {
    "chosen": '<path class="mark full" d="M0 -9 L2.4 -3.1 8.6 -2.8 3.8 1.1 5.3 7.3 0 3.8 -5.3 7.3 -3.8 1.1 '
    '-8.6 -2.8 -2.4 -3.1 Z"/>',
    "original": '<path class="mark full" d="M0 -7 L7 0 0 7 -7 0 Z"/>',
    "front": '<circle class="mark full" r="5"/>',
    "other": '<circle class="mark" r="4.5"/>',
    "rejected": '<path class="mark" d="M-4.5 -4.5 L4.5 4.5 M-4.5 4.5 L4.5 -4.5"/>',
}


class Point(Struct, frozen=True, kw_only=True):
    """One mark."""

    x: float
    y: float
    kind: Kind
    label: str
    hint: str
    """Shown while one points at it."""
    span: tuple[float, float] | None = None
    """Of x, drawn as a whisker."""


class Axis(Struct, frozen=True, kw_only=True):
    """From ``low`` at pixel ``start`` to ``high`` at pixel ``end``; values beyond stay at the border."""

    label: str
    low: float
    high: float
    start: float
    end: float
    log: bool = True
    unit: str = ""

    def at(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.log:
            part = log10(value / self.low) / log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        return _decades(self.low, self.high) if self.log else _even(self.low, self.high)


class Box(Struct, frozen=True):
    """Where something is drawn."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


def across(label: str, values: Iterable[float], unit: str = "") -> Axis:
    """A logarithmic axis from left to right."""
    low, high = spread(list(values))
    return Axis(label=label, low=low, high=high, start=LEFT, end=WIDTH - RIGHT, unit=unit)


def upward(label: str, values: Iterable[float], unit: str = "") -> Axis:
    """A logarithmic axis from the bottom to the top."""
    low, high = spread(list(values))
    return Axis(label=label, low=low, high=high, start=HEIGHT - BOTTOM, end=TOP, unit=unit)


def downward(label: str, high: float, unit: str = "") -> Axis:
    """A linear axis from 0 at the top to ``high`` at the bottom, with room above."""
    return Axis(
        label=label, low=-0.06 * high, high=high, start=TOP, end=HEIGHT - BOTTOM - 10, log=False, unit=unit
    )


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Bounds on a logarithmic scale with some room, at the least of a factor of two."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = min(known), max(known)
    room = max((high / low) ** 0.09, (2 / (high / low)) ** 0.5, 1.06)
    return low / room, high * room


def _decades(low: float, high: float) -> list[float]:
    found: list[float] = []
    for mantissas in MANTISSAS:
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        found = [float(f"{m * 10.0**p:.3g}") for p in powers for m in mantissas if low <= m * 10.0**p <= high]
        if len(found) <= MOST:
            return found
    return found[:: ceil(len(found) / MOST)]


def _even(low: float, high: float) -> list[float]:
    raw = high / 5
    unit = 10.0 ** floor(log10(raw))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
    return [float(f"{step * i:.6g}") for i in range(int(high / step + 1e-9) + 1) if step * i >= low]


def number(value: float) -> str:
    """As short as a tick's should be."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# -- drawing ------------------------------------------------------------------------------------------


def sign(kind: Kind) -> str:
    """The mark by itself, for a key or a table."""
    return f'<svg class="sign {kind}" viewBox="-10 -10 20 20" aria-hidden="true">{SHAPES[kind]}</svg>'


def scatter(
    title: str, x: Axis, y: Axis, points: Sequence[Point], *, below: str = "", above: str = ""
) -> str:
    """The plot; ``below`` and ``above`` are SVG under and over the grid."""
    drawn = sorted(points, key=lambda point: UPWARD.index(point.kind))
    marks = "".join(_mark(point, x, y) for point in drawn)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(title)}">'
        f"{below}{_grid(x, y)}{above}{marks}{''.join(_names(points, x, y))}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Between two pixels."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """At a pixel, escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _grid(x: Axis, y: Axis) -> str:
    floor_, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [line(x.at(each), TOP, x.at(each), floor_, "grid") for each in x.ticks()]
    parts += [line(LEFT, y.at(each), right, y.at(each), "grid") for each in y.ticks()]
    parts += [text(x.at(each), floor_ + 17, number(each) + x.unit, "middle") for each in x.ticks()]
    parts += [text(LEFT - 8, y.at(each) + 4, number(each) + y.unit, "end") for each in y.ticks()]
    parts += [line(LEFT, floor_, right, floor_, "frame"), line(LEFT, TOP, LEFT, floor_, "frame")]
    parts += [text(right, HEIGHT - 8, x.label, "end"), text(0, 14, y.label)]
    return "".join(parts)


def _mark(point: Point, x: Axis, y: Axis) -> str:
    left, top = x.at(point.x), y.at(point.y)
    span = line(x.at(point.span[0]), top, x.at(point.span[1]), top, "span") if point.span else ""
    return (
        f'<g class="{point.kind}"><title>{escape(point.hint)}</title>{span}'
        f'<g transform="translate({left:.1f} {top:.1f})"><circle r="10" fill="transparent"/>'
        f"{SHAPES[point.kind]}</g></g>"
    )


def _weight(point: Point) -> int:
    return ("chosen", "original", "front", "rejected", "other").index(point.kind)


def _names(points: Sequence[Point], x: Axis, y: Axis) -> Iterator[str]:
    """Labels, the weightiest placed first; one that finds no room is left to its hint."""
    taken = [box for each in points for box in _drawn(each, x, y)]
    for point in sorted(points, key=_weight):
        left, top = x.at(point.x), y.at(point.y)
        strong = point.kind in ("chosen", "original")
        width = len(point.label) * CHARACTER * (1.25 if strong else 1)
        for box in _places(left, top, width, 15 if strong else 11):
            if _inside(box) and not any(box.meets(each) for each in taken):
                taken.append(box)
                yield from _name(point, box, left, top, "name strong" if strong else "name")
                break


def _name(point: Point, box: Box, left: float, top: float, kind: str) -> Iterator[str]:
    middle = (box.left + box.right) / 2
    if abs(box.bottom - 7 - top) > 22:
        yield line(left, top, middle, box.bottom if box.bottom < top else box.top, "lead")
    yield text(middle, box.bottom - 3, point.label, "middle", kind)


def _places(left: float, top: float, width: float, gap: float) -> Iterator[Box]:
    """Beside, above, below, aslant, then farther away."""
    half = width / 2
    for lift in (0, 15, 28, 42, 56):
        for rise in (-lift, lift) if lift else (0,):
            shifts = (0, half + 6, -half - 6) if lift else (half + gap, -half - gap)
            for shift in shifts:
                middle = left + shift
                yield Box(middle - half, top + rise - 7, middle + half, top + rise + 7)


def _drawn(point: Point, x: Axis, y: Axis) -> Iterator[Box]:
    left, top = x.at(point.x), y.at(point.y)
    yield Box(left - 7, top - 7, left + 7, top + 7)
    if point.span:
        yield Box(x.at(point.span[0]), top - 1, x.at(point.span[1]), top + 1)


def _inside(box: Box) -> bool:
    return (
        box.left >= LEFT + 2
        and box.right <= WIDTH
        and box.top >= TOP - 8
        and box.bottom <= HEIGHT - BOTTOM - 2
    )
