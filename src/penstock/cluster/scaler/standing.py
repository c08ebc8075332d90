"""How all replicas stand, put together from the newest point of each."""

from statistics import fmean

from msgspec import Struct

from penstock.cluster.scaler.flow import Look
from penstock.cluster.scaler.point import Point


class Standing(Struct, frozen=True, kw_only=True):
    """Numbers that are 0 are not known."""

    ready: int
    starting: int
    """Silent, or without the model ready."""
    known: bool
    """Whether any of them has the model."""
    waiting: float
    """Requests."""
    target_s: float
    run_s: float
    carries: float
    """Requests/s of one replica."""
    startup_s: float


def standing(look: Look) -> Standing:
    """What is longer past than two scrapes counts no more: such a replica is gone, or silent."""
    fresh = {
        name: points[-1]
        for name, points in look.points.items()
        if points and look.now - points[-1].at < 2.5 * look.every_s + 1
    }
    ready = [each for each in fresh.values() if each.ready]
    answered = sum(each.answered for each in fresh.values())
    rows = sum(each.rows for each in fresh.values()) / answered if answered else 1.0
    rows = max(rows, 1.0)
    return Standing(
        ready=len(ready),
        starting=len(fresh) - len(ready) + len(look.silent - fresh.keys()),
        known=any(each.known for each in fresh.values()),
        waiting=sum(each.waiting for each in fresh.values()) / rows,
        target_s=max((each.target_s for each in ready), default=0.0),
        run_s=_mean([each.run_s for each in ready]),
        carries=_mean([each.carries for each in ready]) / rows,
        startup_s=max((each.startup_s for each in ready), default=0.0),
    )


def _mean(values: list[float]) -> float:
    known = [each for each in values if each > 0]
    return fmean(known) if known else 0.0


class Arrivals:
    """How long replicas take from their first appearance until they answer, as the scaler sees it.

    That includes what a replica cannot know of itself, such as fetching its image.
    """

    def __init__(self, kept: int = 20) -> None:
        self._first: dict[str, float] = {}
        self._took: list[float] = []
        self._kept = kept
        self._begun = False

    def note(self, look: Look) -> None:
        ready = {name for name, points in look.points.items() if points and _ready(points[-1])}
        coming = look.silent | (look.points.keys() - ready)
        for name in coming if self._begun else ():
            self._first.setdefault(name, look.now)
        for name in ready & self._first.keys():
            self._took = [*self._took, look.now - self._first.pop(name)][-self._kept :]
        for name in self._first.keys() - coming:
            del self._first[name]
        self._begun = True

    def forget_lost(self, name: str) -> None:
        """One that had been ready before does not start, it is silent."""
        self._first.pop(name, None)

    def p95(self) -> float:
        """Seconds; 0 where none has come yet. Of so few it is nearly the longest."""
        if not self._took:
            return 0.0
        return sorted(self._took)[max(0, round(0.95 * len(self._took)) - 1)]


def _ready(point: Point) -> bool:
    return point.ready
