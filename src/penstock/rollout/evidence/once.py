"""Which returning callers were counted already."""

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence.requests import Bools, Ints, Units

SLOTS = 20
"""Bits of a slot's number."""
MOST = 200_000
"""Callers after whom no new one is counted, so that the table stays sparse."""
MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: spreads hashes over slots whatever bits of them chose the arm."""


def _none() -> Bools:
    return np.zeros(0, np.bool_)


class Once(Struct):
    """A table of one bit for each slot, into which callers are hashed.

    Two callers who share a slot count once (a fifth of the new ones at most are lost so); which arm that
    is has nothing to do with the slot, so the odds of those counted stay what they were.
    """

    seen: Bools = field(default_factory=_none)
    count: int = 0

    def first(self, units: Units) -> Bools:
        """Which of these are to be counted: the first of each caller; all whose unit is 0."""
        counted: Bools = units == 0
        back = np.flatnonzero(~counted)
        if not len(back) or self.count >= MOST:
            return counted
        if not len(self.seen):
            self.seen = np.zeros(1 << SLOTS, np.bool_)
        slots = ((units[back] * MIX) >> np.uint64(64 - SLOTS)).astype(np.int64)
        slots, at = np.unique(slots, return_index=True)
        new = ~self.seen[slots]
        self._mark(slots[new])
        counted[back[at[new]]] = True
        return counted

    def _mark(self, slots: Ints) -> None:
        self.seen[slots] = True
        self.count += len(slots)

    def clear(self) -> None:
        self.seen, self.count = _none(), 0
