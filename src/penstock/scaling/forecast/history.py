"""A series' rates and what was to be forecast at any moment of it."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from penstock.scaling.series import DAY, FINE, Floats, Series

Positions = NDArray[np.int64]
"""Indices of finished buckets, each the newest one known at that moment."""

MEAN = 3
"""Buckets of the mean rate whose highest value is forecast: 30 s, so that one full second is no peak."""
DAYS = 11
"""Of history that is looked at: a week back from each of four days."""


class History(Struct, frozen=True):
    """Prefix sums, peaks, and the rate that is added to all others before their logarithm is taken."""

    sums: Floats
    peaks: Floats
    """``peaks[k]``: the highest 30 s mean of ``lead`` buckets after k; shorter by ``lead`` than ``sums``."""
    lead: int
    mean: float
    """Of the last day."""
    least: float = 1.0

    @property
    def count(self) -> int:
        """Finished buckets."""
        return len(self.sums) - 1

    def rate(self, at: Positions, buckets: int) -> Floats:
        """Mean rate of so many buckets up to each position; of fewer where there are no more."""
        begin = np.maximum(at + 1 - buckets, 0)
        return (self.sums[at + 1] - self.sums[begin]) / ((at + 1 - begin) * FINE)

    def log(self, rate: Floats) -> Floats:
        return np.log(rate + self.least)


def history(series: Series, lead: int) -> History:
    """Of the last days."""
    counts = series.fine.last(DAYS * DAY)
    sums = np.zeros(len(counts) + 1)
    np.cumsum(counts, dtype=np.float64, out=sums[1:])
    means = np.zeros(0)
    if len(counts) >= MEAN:
        means = (sums[MEAN:] - sums[:-MEAN]) / (MEAN * FINE)
    means = np.concatenate([sums[1:MEAN][: len(counts)] / FINE, means])
    peaks = highest(means[1:], lead)
    recent = min(len(counts), DAY)
    mean = (sums[-1] - sums[-1 - recent]) / (recent * FINE) if recent else 0.0
    return History(sums, peaks, lead, float(mean))


def linked(past: History, part: float) -> History:
    """The same with another rate added before logarithms: little, and changes count as factors; much, as such."""
    return replace(past, least=max(part * past.mean, 1 / (MEAN * FINE)))


def highest(values: Floats, span: int) -> Floats:
    """The highest of every ``span`` neighbours; by doubling, log2(span) passes."""
    if len(values) < span or span < 1:
        return np.zeros(0)
    done = 1
    while done < span:
        step = min(done, span - done)
        values = np.maximum(values[:-step], values[step:])
        done += step
    return values
