"""The last minutes in a few figures: what a page that has just been opened begins with."""

from collections import deque
from collections.abc import Sequence
from heapq import nlargest
from typing import TypeAlias

from msgspec import Struct

from penstock.dashboard.words import Model, Past, Tick, Track, Whole

SPAN = 300.0
"""Seconds, as many as the page draws."""
STEP = 5.0
"""Seconds between two that are kept; the newest is always there."""
MOST = 100
"""Models that a page is told of, the busiest."""

Figures: TypeAlias = tuple[float, float | None, float]
"""Rate, p99 and errors."""
NONE: Figures = (0.0, None, 0.0)


class Slim(Struct, frozen=True):
    """What is kept of a tick; of its models those that did anything."""

    at: float
    whole: tuple[float | None, ...]
    """As ``words.Whole`` has them."""
    models: dict[str, Figures]


def slim(tick: Tick) -> Slim:
    """Takes some 0.05 ms for 100 models."""
    first = max((one for one in tick.models if one.p99_ms is not None), key=_rate, default=None)
    cost, energy = tick.cost, tick.energy
    whole = (tick.rate, tick.errors, first.p99_ms if first else None, tick.machine.busy, cost.per_1000)
    return Slim(
        tick.at,
        (*whole, energy.watts, energy.grams_per_1000),
        {
            f"{one.name}/{one.version}": (one.rate, one.p99_ms, one.error_rate)
            for one in tick.models
            if one.rate or one.error_rate or one.p99_ms is not None
        },
    )


def _rate(model: Model) -> float:
    return model.rate


class Minutes:
    """Of ticks as they come."""

    def __init__(self) -> None:
        self._kept: deque[Slim] = deque()

    def add(self, tick: Tick) -> None:
        """The newest takes the place of the one before unless that is old enough to be kept."""
        kept = self._kept
        if len(kept) > 1 and kept[-1].at - kept[-2].at < STEP:
            kept.pop()
        kept.append(slim(tick))
        while kept[0].at < tick.at - SPAN:
            kept.popleft()

    def clear(self) -> None:
        self._kept.clear()

    def all(self) -> list[Slim]:
        """The earliest first."""
        return list(self._kept)


def past(kept: Sequence[Slim]) -> Past:
    """In the page's words. Pure; takes some 5 ms for 100 models."""
    rates: dict[str, float] = {}
    for each in kept:
        for name, (rate, _, _) in each.models.items():
            rates[name] = rates.get(name, 0.0) + rate
    names = nlargest(MOST, rates, key=lambda name: rates[name])
    models = {
        name: Track(*zip(*(each.models.get(name, NONE) for each in kept), strict=True)) for name in names
    }
    whole = Whole(*zip(*(each.whole for each in kept), strict=True))
    return Past(at=tuple(each.at for each in kept), whole=whole, models=models)
