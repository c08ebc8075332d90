"""What our autoscaling policy of Ray Serve remembers of a deployment."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from penstock.scaling.decide import Memory
from penstock.scaling.series import Series
from penstock.scaling.types import Decision

_USUAL, _LONGEST = 10.0, 30.0
"""Seconds over which the first lump is spread, as often as Ray Serve's replicas report; and any at most."""
_STARTS = 20
"""Start-ups by which the next one's time is judged."""


class Starting(Struct, frozen=True):
    """How long replicas took to come, and since when one is awaited."""

    since: float = 0.0
    running: int = 0
    took: tuple[float, ...] = ()

    def seen(self, now: float, running: int, wanted: int) -> "Starting":
        """With what is so now."""
        if not self.since:
            return replace(self, since=now, running=running) if wanted > running else self
        if running > self.running:
            took = (*self.took, now - self.since)[-_STARTS:]
            return Starting(now if wanted > running else 0.0, running, took)
        return self if wanted > running else replace(self, since=0.0)

    def seconds(self, usual: float) -> float:
        """Near the worst of late; ``usual`` before any was seen."""
        return sorted(self.took)[int(0.95 * len(self.took))] if self.took else usual


class Spread(Struct, frozen=True):
    """Counts that come every so often in lumps, laid over the seconds until the next: a lump is no burst."""

    owed: float = 0.0
    rate: float = 0.0
    heard: float = 0.0

    def came(self, now: float, count: float) -> "Spread":
        """So many at once."""
        pace = min(_LONGEST, max(1.0, now - self.heard)) if self.heard else _USUAL
        owed = self.owed + count
        return Spread(owed, owed / pace, now)

    def give(self, seconds: float) -> tuple[float, "Spread"]:
        """What of it falls into the time that passed."""
        given = min(self.owed, self.rate * seconds)
        return given, replace(self, owed=self.owed - given)


class State(Struct):
    """What is known between two calls."""

    series: Series
    memory: Memory
    starting: Starting
    at: float
    """Of the last call."""
    waiting: float = 0.0
    counted: Mapping[str, float] = {}
    """Requests by replica, of the last that was heard."""
    spread: Spread = Spread()
    decided: float = 0.0
    decision: Decision | None = None
    saved: float = 0.0
