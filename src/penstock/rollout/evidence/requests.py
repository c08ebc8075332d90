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

    __slots__ = ("code", "odds", "totals")

    def __init__(self, candidate: Bools, odds: Floats) -> None:
        """Odds are the same for most of a chunk, so what depends on them alone is worked out once for each."""
        if len(odds) and odds.min() == odds.max():
            self.odds: Floats = odds[:1]
            self.code: Ints = candidate.astype(np.int64)
        else:
            self.odds, which = np.unique(odds, return_inverse=True)
            self.code = 2 * which.astype(np.int64) + candidate
        self.totals = self.count(slice(None))

    def count(self, events: Bools | slice) -> Floats:
        """Events by odds and arm, [2 × odds]: stable's and the candidate's of the lowest odds first."""
        return np.bincount(self.code[events], minlength=2 * len(self.odds)).astype(np.float64)
