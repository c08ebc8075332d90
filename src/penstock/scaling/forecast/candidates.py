"""Point forecasts of the peak: what the rate is, was, became on other days, or a line through all of it."""

from collections.abc import Callable

import numpy as np

from penstock.scaling.forecast.history import MEAN, History, Positions
from penstock.scaling.series import DAY, Floats
from penstock.scaling.types import Method

MINUTE, MINUTES_5, MINUTES_10, MINUTES_15, HOUR = 6, 30, 60, 90, 360
"""In buckets."""
BACK = (1, 2, 3, 7)
"""Days back that the seasonal ratio looks at."""
NARROW, WIDE = np.log(0.4), np.log(3.0)
"""Most that the rate may have fallen or risen on another day for it to count in full."""


def base(past: History, at: Positions) -> Floats:
    """Logarithm of the mean rate of a minute: what the others are relative to."""
    return past.log(past.rate(at, MINUTE))


def persistence(past: History, at: Positions) -> Floats:
    """As over the last minute."""
    return base(past, at)


def momentary(past: History, at: Positions) -> Floats:
    """As over the last 30 s."""
    return past.log(past.rate(at, MEAN))


def top(past: History, at: Positions) -> Floats:
    """As in the highest 30 s of ten minutes."""
    found = past.rate(at, MEAN)
    for back in range(1, MINUTES_10, MEAN):
        np.maximum(found, past.rate(np.maximum(at - back, 0), MEAN), out=found)
    return past.log(found)


def trend(past: History, at: Positions) -> Floats:
    """As the rate goes on if it rises as over the last two minutes."""
    now, before = past.rate(at, MINUTE), past.rate(np.maximum(at - MINUTE, 0), MINUTE)
    return past.log(onward(now, before, past.lead))


def onward(now: Floats, before: Floats, lead: int) -> Floats:
    """From the means of a minute and of the one before: their middles are half a minute and more ago."""
    slope = (now - before) / MINUTE
    found: Floats = np.maximum(now + slope * (MINUTE / 2) + np.maximum(slope, 0.0) * lead, 0.0)
    return found


def rise(past: History, at: Positions, days: int) -> Floats:
    """Logarithm of the peak over the minute before it so many days earlier; nan where that is not known."""
    then = at - days * DAY
    known = (then >= MINUTE) & (then < len(past.peaks))
    then = np.where(known, then, MINUTE)
    if not len(past.peaks) or not known.any():
        return np.full(len(at), np.nan)
    peak = past.log(past.peaks[np.minimum(then, len(past.peaks) - 1)])
    return np.where(known, peak - base(past, then), np.nan)


def seasonal(past: History, at: Positions) -> Floats:
    """As the rate changed at this time of other days: the median of them."""
    return base(past, at) + ratio(past, at)


def ratio(past: History, at: Positions) -> Floats:
    """Logarithm of the usual change; 0 where no other day is known."""
    days = [np.clip(rise(past, at, back), NARROW, WIDE) for back in BACK if back * DAY < past.count]
    if not days:
        return np.zeros(len(at))
    return middle(np.stack(days))


def middle(rows: Floats) -> Floats:
    """Median of each column's known values; 0 where there are none."""
    ordered = np.sort(rows, axis=0)  # nan comes last
    known = (~np.isnan(rows)).sum(axis=0)
    columns = np.arange(rows.shape[1])
    low = ordered[np.maximum(known - 1, 0) // 2, columns]
    high = ordered[np.minimum(known // 2, len(rows) - 1), columns]
    return np.where(known > 0, (low + high) / 2, 0.0)


PLAIN: dict[Method, Callable[[History, Positions], Floats]] = {
    "persistence": persistence,
    "momentary": momentary,
    "highest": top,
    "trend": trend,
}
