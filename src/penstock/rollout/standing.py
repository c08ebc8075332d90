"""How the guards of one rollout stand, worked out no more often than anybody wants to know."""

from time import monotonic

from msgspec.structs import replace

from penstock.rollout.course import Course
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.opening import COSTS, costs
from penstock.rollout.words import Guard

EVERY = 1.0
"""Seconds between two times that all verdicts are worked out, which takes some 2 ms."""
NO_COST = (
    "a small share makes small batches, which cost more a query; cost is judged at 50 %, by copies alone, "
    "or beside a baseline"
)


class Standing:
    """Lives on the event loop, at a trial's side."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._at = 0.0
        self._for: object = None
        self._guards: tuple[Guard, ...] = ()

    def guards(self, course: Course, rate: float, broken: str) -> tuple[Guard, ...]:
        """As they stood a second ago at most; at once where one of them has failed, or a stage has begun.

        ``rate``: requests of the candidate a second; ``broken``: why answers cannot be compared.
        """
        now, for_ = monotonic(), (course.stage, self._judge.alarmed())
        if now - self._at > EVERY or for_ != self._for:
            self._at, self._for = now, for_
            costly = costs(course.weight, course.terms)
            self._guards = tuple(_told(guard, costly, broken) for guard in self._judge.verdicts(rate))
        return self._guards


def _told(guard: Guard, costly: bool, broken: str) -> Guard:
    """With what the judge cannot know."""
    if guard.name == "answers" and broken:
        return replace(guard, why=broken)
    if guard.name in COSTS and not costly and guard.verdict != "fail":
        return replace(guard, verdict="off", why=NO_COST, needs=None, needs_s=None)
    return guard
