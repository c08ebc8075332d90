"""Counters of replicas that come and go, as the requests of each second."""

from collections.abc import Mapping, Sequence
from math import floor, inf

from msgspec import Struct

from penstock.cluster.scaler.point import Point

FORGET_S = 900.0
"""A replica that has not been seen for so long is a new one when it comes back."""


class Look(Struct, frozen=True, kw_only=True):
    """All replicas at one moment."""

    now: float
    """Unix seconds."""
    every_s: float
    """Between two points of one replica."""
    points: Mapping[str, Sequence[Point]]
    """By replica, oldest first; those of the last look may be among them."""
    silent: frozenset[str] = frozenset()
    """Replicas that there are, and that did not answer."""
    demand: float | None = None
    """Requests/s of all callers, where that is counted before the replicas."""


class Flow:
    """``take`` looks; ``finished`` gives the seconds that no look can add to any more."""

    def __init__(self) -> None:
        self._last: dict[str, Point] = {}
        self._pending: dict[int, float] = {}
        self.begin = 0
        """Unix seconds before which everything is known from elsewhere."""
        self._done = -inf
        self._looked = 0.0
        self._asked = self._missed = 0.0

    def take(self, look: Look) -> None:
        for replica, points in look.points.items():
            for each in points:
                self._step(replica, each, look)
        since = self._looked or self.begin
        if look.demand is not None and since:
            self._spread(since, look.now, look.demand * (look.now - since))
        self._last = {name: each for name, each in self._last.items() if look.now - each.at < FORGET_S}
        self._looked = look.now

    def _step(self, replica: str, now: Point, look: Look) -> None:
        before = self._last.get(replica)
        if before is not None and now.at <= before.at:
            return
        self._last[replica] = now
        if before is None:
            if not self._looked or not now.started or now.started < self._looked:
                return  # it ran before it was watched, and who knows when it was asked
            before = Point(at=max(now.started, now.at - look.every_s), started=now.started)
        elif abs(now.started - before.started) > 1.0:
            before = Point(at=max(before.at, now.started), started=now.started)
        asked = _grown(before.asked, now.asked)
        self._asked += asked
        self._missed += _grown(before.missed, now.missed)
        if look.demand is None:
            self._spread(before.at, now.at, asked)

    def _spread(self, since: float, until: float, count: float) -> None:
        """Evenly over the time between; what is long past is dropped, not counted as if it came now."""
        if count <= 0 or until <= since:
            return
        for second in range(floor(since), floor(until) + 1):
            part = (min(until, second + 1) - max(since, second)) / (until - since)
            if part > 0 and second >= max(self._done - 2, self.begin):
                self._pending[second] = self._pending.get(second, 0.0) + count * part

    def finished(self, until: float) -> list[tuple[int, float]]:
        """Seconds that ended by then, each with its requests, oldest first; once each, but for latecomers."""
        seconds = sorted(second for second in self._pending if second + 1 <= until)
        self._done = max(self._done, floor(until))
        return [(second, self._pending.pop(second)) for second in seconds]

    def outcomes(self) -> tuple[float, float]:
        """Requests that missed the target, and all, since this was asked last."""
        found = self._missed, self._asked
        self._missed = self._asked = 0.0
        return found


def _grown(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """What was added; a counter that is less than before began anew."""
    return sum(value - old if value >= (old := before.get(key, 0.0)) else value for key, value in now.items())


def settled(look: Look) -> float:
    """Until when everything is counted: the newest point of the replica that is furthest behind."""
    newest = [points[-1].at for points in look.points.values() if points]
    fresh = [at for at in newest if look.now - at < 2.5 * look.every_s]
    return min(fresh, default=look.now)
