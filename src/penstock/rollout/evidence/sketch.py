"""The stable arm's latencies in logarithmic bins, and the threshold over which one counts as slow."""

from collections.abc import Sequence
from math import inf, log

import numpy as np
from msgspec import Struct

from penstock.rollout.evidence.requests import Floats

LOW, BIN, BINS = 1e-6, log(1.01), 2100
"""From 1 µs to 1,190 s in steps of 1 %; the first bin takes all that is shorter, the last what is longer."""
REFRESH, DECAY = 2000, 0.9
"""Requests after which thresholds are read anew, and what the older ones then count for: a memory of some
20,000 requests.
"""
START = 100
"""Requests before the first reading; the next ones come when there are twice as many, up to ``REFRESH``."""
GROWS = 1.5
"""By which a threshold rises while more of the stable arm is over it than the quantile leaves, and by how
much is not known, as requests are decided when their age passes it.
"""


def due(fresh: int, held: float) -> bool:
    """Is it time to read anew, with so many values that no reading has seen?"""
    return fresh >= min(REFRESH, max(START, held))


class Sketch(Struct):
    """Counts by bin, and the quantiles read from them, which do not change while a chunk is judged."""

    shares: tuple[float, ...]
    counts: Floats
    fresh: int = 0
    """Values that came since the last reading."""
    beyond: float = 0.0
    """Of all counted, those known only to be over every threshold."""
    thresholds: list[float] = []
    """Seconds, for each of the shares; inf: not known yet."""

    def refresh(self) -> bool:
        """Reads the thresholds anew if it is time for that."""
        held = float(self.counts.sum()) + self.beyond
        if not due(self.fresh, held - self.fresh):
            return False
        running = np.cumsum(self.counts)
        self.thresholds = [
            self._read(running, share, held, was)
            for share, was in zip(self.shares, self.thresholds, strict=True)
        ]
        self.counts *= DECAY
        self.beyond *= DECAY
        self.fresh = 0
        return True

    def _read(self, running: Floats, share: float, held: float, was: float) -> float:
        if held < 5 / (1 - share):  # too few beyond the quantile to tell it
            return inf
        rank = share * held
        if rank > running[-1]:
            return min(GROWS * was, edge(BINS)) if was < inf else edge(BINS)
        at = int(np.searchsorted(running, rank))
        before = float(running[at - 1]) if at else 0.0
        inside = (rank - before) / max(float(running[at]) - before, 1e-9)
        return edge(at + min(1.0, max(0.0, inside)))

    def add(self, seconds: Floats) -> None:
        """Latencies of the stable arm, none of them nan; inf: over every threshold."""
        known = seconds[seconds < inf]
        where = np.log(np.maximum(known, LOW) / LOW) / BIN
        self.counts += np.bincount(np.minimum(where.astype(np.int64), BINS - 1), minlength=BINS)
        self.beyond += len(seconds) - len(known)
        self.fresh += len(seconds)

    def over(self, seconds: float) -> float:
        """Part of the values over so many seconds."""
        held = float(self.counts.sum()) + self.beyond
        if not held or not seconds < inf:
            return 0.0
        at = int(min(BINS, max(0.0, log(max(seconds, LOW) / LOW) / BIN)))
        return float(self.counts[at + 1 :].sum() + self.beyond) / held


def edge(at: float) -> float:
    return float(LOW * np.exp(at * BIN))


def sketch(shares: Sequence[float]) -> Sketch:
    return Sketch(tuple(shares), np.zeros(BINS), thresholds=[inf] * len(shares))
