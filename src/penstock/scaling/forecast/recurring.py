"""Spikes that come at the same time of several days, used only where warnings of them came true."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from penstock.scaling.forecast.candidates import MINUTES_5
from penstock.scaling.forecast.history import History, Positions, highest
from penstock.scaling.series import DAY, FINE, Floats

DAYS = 4
"""Days back that are looked at; two of them have to agree."""
WITHIN = 6
"""Buckets that clocks and crowds may be early or late."""
JUMP = 1.3
"""Peak over the rate of five minutes that is a spike."""
CHECKED = 3 * DAY
TRUE, LIFT = 0.4, 3.0
"""Share of warnings that have to come true, and how often that has to be as often as spikes come anyway."""
STEP = 3


class Recurring(Struct, frozen=True):
    """For each of the next buckets, what two of the last four days say."""

    jumps: Floats
    """Peak over the rate of five minutes; used where ``trusted``."""
    levels: Floats
    """Peak, where there was none to compare with."""
    trusted: bool
    precision: float
    wakes: bool
    """Whether requests after silence came at the same time of other days as well."""


def find(past: History, next_: Positions) -> Recurring | None:
    """None before there are two days."""
    if past.count < 2 * DAY + past.lead + MINUTES_5:
        return None
    jump, level = _widened(past)
    checked = np.arange(
        max(2 * DAY + WITHIN + MINUTES_5, len(past.peaks) - CHECKED), len(past.peaks), STEP, dtype=np.int64
    )
    warned = _second(jump, checked) > JUMP
    spiked = _jumps(past, checked) > JUMP
    precision, base = _share(spiked[warned]), _share(spiked)
    asleep = past.rate(checked, MINUTES_5) <= 0
    expected = _second(level, checked)[asleep] > 0
    woke = level[checked][asleep] > 0
    wakes = bool(_share(woke[expected]) >= TRUE)
    return Recurring(
        np.maximum(_second(jump, next_), 0.0),
        np.maximum(_second(level, next_), 0.0),
        precision >= TRUE and precision >= LIFT * base,
        precision,
        wakes,
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _jumps(past: History, at: Positions) -> Floats:
    return (past.peaks[at] + past.least) / (past.rate(at, MINUTES_5) + past.least)


def _widened(past: History) -> tuple[Floats, Floats]:
    """Jump and peak, the highest of a minute before and after each bucket; -inf at the ends."""
    end = len(past.peaks)
    jump = np.ones(end)
    before = (past.sums[MINUTES_5 : end + 1] - past.sums[: end + 1 - MINUTES_5]) / (MINUTES_5 * FINE)
    jump[MINUTES_5 - 1 :] = (past.peaks[MINUTES_5 - 1 :] + past.least) / (before + past.least)
    edge = np.full(WITHIN, -np.inf)
    return tuple(  # type: ignore[return-value]
        np.concatenate([edge, highest(values, 2 * WITHIN + 1), edge]) for values in (jump, past.peaks)
    )


def _second(values: Floats, at: Positions) -> Floats:
    """The second highest of the same time of the last days; -inf where fewer than two are known."""
    rows = np.full((DAYS, len(at)), -np.inf)
    for row, back in zip(rows, range(1, DAYS + 1), strict=True):
        then = at - back * DAY
        known = (then >= 0) & (then < len(values))
        row[known] = values[then[known]]
    second: Floats = np.sort(rows, axis=0)[-2]
    return second
