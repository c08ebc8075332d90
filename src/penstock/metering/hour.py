"""A sum over the last hour, kept by minutes."""

from bisect import bisect_left
from collections import deque
from math import fsum

MINUTE = 60.0
MINUTES = 60


class Hour:
    """The minute that runs and the sixty before it, so that no hour, whenever it began, holds more."""

    __slots__ = ("_past", "_settled", "total")

    def __init__(self) -> None:
        self.total = 0.0
        """Add to it what is used now."""
        self._past = deque([0.0] * MINUTES, MINUTES)
        self._settled = 0.0
        """The part of the total that is of earlier minutes."""

    def turn(self, minutes: int) -> None:
        """So many minutes have ended since the last turn."""
        self._past.append(self.total - self._settled)
        self._past.extend([0.0] * (min(minutes, MINUTES + 1) - 1))
        self.total = self._settled = fsum(self._past)

    def put(self, amount: float, back: int) -> None:
        """Add what was used so many minutes ago; what is older than the hour is left out."""
        if back > MINUTES:
            return
        if back:
            self._past[-back] += amount
            self._settled += amount
        self.total += amount

    def until_below(self, limit: float) -> int:
        """Minutes that have to end until the total is below a limit, if nothing is added."""
        minutes = [*self._past, self.total - self._settled]
        ends = range(len(minutes))
        return bisect_left(ends, True, lo=1, key=lambda ended: fsum(minutes[ended:]) < limit)
