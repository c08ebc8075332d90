"""What came of requests whose version was drawn by lot: columns, as the statistics take them."""

from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Units: TypeAlias = NDArray[np.uint64]


class Requests(Struct, frozen=True):
    """Columns of equal length, one entry for each request, in the order in which they were decided.

    A copy that runs on one of two versions counts as a request with odds of 0.5.
    """

    candidate: Bools
    """Its arm, by assignment: what failed on the candidate and was answered by stable is the candidate's."""
    odds: Floats
    """Probability with which it was assigned to the candidate; 0 and 1 tell nothing and are passed over."""
    seconds: Floats
    """Latency; inf for failures, time-outs, and what runs longer than ``Judge.threshold``."""
    failed: Bools
    """By an error of ours, not the caller's."""
    timed_out: Bools
    cost: Floats
    """Money (or core-seconds) of its run; nan unknown."""
    joules: Floats
    """nan unknown."""
    unit: Units
    """Hash of the caller who returns to his arm; 0: independent of all others."""
    cold: Bools
    """Within the warm-up, of *either* arm: counts for errors, not for latency and cost."""

    def __len__(self) -> int:
        return len(self.candidate)


class Coins:
    """Which coins a chunk of requests was assigned by, and how each fell."""

    __slots__ = ("candidate", "odds", "totals", "which")

    def __init__(self, candidate: Bools, odds: Floats) -> None:
        """Odds are the same for most of a chunk; what depends on them alone is worked out once for each."""
        self.candidate = candidate
        self.which: Ints | None = None
        if len(odds) and odds.min() == odds.max():
            self.odds: Floats = odds[:1]
        else:
            self.odds, self.which = np.unique(odds, return_inverse=True)
        self.totals = self.count(np.ones(len(odds), np.bool_))

    def count(self, events: Bools) -> Floats:
        """Events by odds and arm, [2 × odds]: stable's and the candidate's of the lowest odds first."""
        if self.which is None:
            mine = np.count_nonzero(events & self.candidate)
            return np.array((np.count_nonzero(events) - mine, mine), np.float64)
        code = 2 * self.which[events] + self.candidate[events]
        return np.bincount(code, minlength=2 * len(self.odds)).astype(np.float64)
