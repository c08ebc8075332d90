"""A rollout's course from stage to stage: what was seen in, orders and the course after it out; pure."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.spec import Rollout
from penstock.rollout.words import Guard, Kind, Phase, Stage

QUIET = 10.0
"""Seconds without a request after which a stage says that it has no evidence."""
ONLY_TOLD = ("shadow", "ab")
"""Plans that no guard but the hard ones ends: they report."""


class Course(Struct, frozen=True, kw_only=True):
    """One rollout, with all that has to survive a restart; times are seconds since the epoch."""

    id: str
    model: str
    stable: str
    candidate: str
    kind: Kind
    terms: Rollout
    by: str
    began: float
    why: str = ""
    stages: tuple[Stage, ...] = ()
    targets: tuple[Mapping[str, float | None], ...] = ()
    """By stage: under which each guard passes; None, or absent: it need not."""
    alarms: Mapping[str, float] = {}
    """Over which each guard fails."""
    hold: float = 0.0
    """Seconds that a stage lasts at least."""
    prints: tuple[str, str] = ("", "")
    """Of the files of both versions when it began."""
    phase: Phase = "loading"
    stage: int = 0
    says: str = ""
    ended: float | None = None
    guards: tuple[Guard, ...] = ()
    """As they stood when it ended."""
    answered: tuple[int, int] = (0, 0)
    """Requests that the stable version and the candidate answered."""
    saved: int = 0
    mirrored: int = 0

    @property
    def running(self) -> bool:
        return self.phase in ("loading", "running", "paused")

    @property
    def weight(self) -> float:
        """Percent that the candidate is to get now."""
        if self.phase == "promoted":
            return 100.0
        dividing = self.phase in ("running", "paused") and self.stages
        return self.stages[self.stage].weight if dividing else 0.0

    @property
    def last(self) -> bool:
        """Whether no stage follows."""
        return self.stage >= len(self.stages) - 1


class Seen(Struct, frozen=True, kw_only=True):
    """What is known of one rollout now."""

    now: float
    stable_up: bool
    candidate_up: bool
    guards: tuple[Guard, ...] = ()
    hard: tuple[tuple[str, str], ...] = ()
    """Guards that act at once, and what happened."""
    lacking: str = ""
    """Why the candidate cannot come up, or cannot stand in for the stable version."""
    changed: str = ""
    """The version whose files have changed."""
    unfit: str = ""
    """Why the trial cannot be held, which is no fault of the candidate's."""
    quiet: float = 0.0
    """Seconds since the last request that names no version."""


class Promote(Struct, frozen=True):
    """The candidate answers from now on, and the old version goes."""

    by: str
    why: str


class Rollback(Struct, frozen=True):
    """The candidate goes; ``bad``: it is not rolled out again by itself."""

    by: str
    why: str
    bad: bool = True


class Note(Struct, frozen=True):
    """One line for the audit log."""

    by: str
    what: str
    why: str = ""


Order: TypeAlias = Promote | Rollback | Note
Decision: TypeAlias = tuple[list[Order], Course]


def decide(course: Course, seen: Seen) -> Decision:
    """The next orders; none where it has ended."""
    if not course.running:
        return [], course
    if seen.changed:
        why = f"the files of version {seen.changed} changed while it was on trial"
        return _rollback(course, seen.now, "files", why, bad=False)
    if seen.unfit:
        return _rollback(course, seen.now, "penstock", seen.unfit, bad=False)
    if seen.lacking:
        return _rollback(course, seen.now, "guard load", seen.lacking)
    if course.phase == "loading":
        return _load(course, seen)
    for guard, why in seen.hard:
        return _rollback(course, seen.now, f"guard {guard}", why)
    if not seen.candidate_up or not seen.stable_up:
        gone = course.candidate if not seen.candidate_up else course.stable
        return [], replace(course, says=f"version {gone} does not serve at present; version "
                           f"{course.stable if gone == course.candidate else 'none'} answers")  # fmt: skip
    failed = [guard for guard in seen.guards if guard.verdict == "fail"]
    if failed and course.kind not in ONLY_TOLD and course.weight < 100:
        worst = max(failed, key=lambda guard: guard.against)
        return _rollback(course, seen.now, f"guard {worst.name}", worst.why)
    if course.phase == "paused":
        return [], replace(course, says=f"paused at {show(course.weight)} of the requests")
    return _stay_or_go(course, seen, failed)


def _load(course: Course, seen: Seen) -> Decision:
    if not (seen.candidate_up and seen.stable_up):
        waits = course.candidate if not seen.candidate_up else course.stable
        return [], replace(course, says=f"version {waits} is loading")
    course = _enter(replace(course, phase="running"), course.stage, seen.now)
    return [Note(course.by, "stage", _stage_line(course))], course


def _stay_or_go(course: Course, seen: Seen, failed: Sequence[Guard]) -> Decision:
    stage = course.stages[course.stage]
    spent = seen.now - stage.began if stage.began is not None else 0.0
    if course.kind in ONLY_TOLD:
        told = f"; {failed[0].why}" if failed else ""
        return [], replace(course, says=f"runs until it is told to promote or to roll back{told}")
    targets = course.targets[course.stage] if course.stage < len(course.targets) else {}
    open_ = [
        guard for guard in seen.guards if guard.verdict != "pass" and targets.get(guard.name) is not None
    ]
    if not open_ and spent >= course.hold and seen.quiet < spent:  # no traffic is no evidence
        return _go_on(course, seen.now)
    if spent > course.terms.patience_s and open_:
        return _inconclusive(course, seen, open_)
    return [], replace(course, says=_waits_for(course, seen, open_, spent))


def _waits_for(course: Course, seen: Seen, open_: Sequence[Guard], spent: float) -> str:
    if seen.quiet >= min(QUIET, spent):
        return f"no requests for {seen.quiet:.0f} s, which is no evidence: it holds"
    if not open_:
        return f"all is well; the stage lasts {course.hold - spent:.0f} s more"
    slowest = max(open_, key=lambda guard: guard.needs_s or guard.needs or 0)
    return slowest.why or f"guard {slowest.name} has not passed yet"


def _inconclusive(course: Course, seen: Seen, open_: Sequence[Guard]) -> Decision:
    names = ", ".join(guard.name for guard in open_)
    why = f"no verdict of {names} within {course.terms.patience_s:g} s"
    match course.terms.inconclusive:
        case "rollback":
            return _rollback(course, seen.now, "patience", why, bad=False)
        case "promote":
            return _go_on(course, seen.now, why)
    return [], replace(course, says=f"{why}: it holds; promote or roll back by hand")


def _go_on(course: Course, now: float, why: str = "") -> Decision:
    if course.kind == "aa":
        return _promote(course, now, "guards", "none of them alarms where both versions are the same")
    if course.last:
        return _promote(course, now, "guards", why or "every guard has passed")
    course = _enter(course, course.stage + 1, now)
    return [Note("guards", "stage", why or _stage_line(course))], course


def _enter(course: Course, at: int, now: float) -> Course:
    stages = list(course.stages)
    if at and stages[at - 1].ended is None:
        stages[at - 1] = replace(stages[at - 1], ended=now)
    if stages[at].began is None:
        stages[at] = replace(stages[at], began=now)
    return replace(course, stage=at, stages=tuple(stages), says="")


def _stage_line(course: Course) -> str:
    weight = course.weight
    return f"{show(weight)} of the requests" if weight else "copies of requests alone"


def _end(course: Course, now: float, phase: Phase, says: str) -> Course:
    stages = list(course.stages)
    if course.stage < len(stages) and stages[course.stage].began is not None:
        stages[course.stage] = replace(stages[course.stage], ended=now)
    return replace(course, phase=phase, says=says, ended=now, stages=tuple(stages))


def _promote(course: Course, now: float, by: str, why: str) -> Decision:
    says = f"version {course.candidate} answers now: {why}"
    return [Promote(by, why), Note(by, "promote", why)], _end(course, now, "promoted", says)


def _rollback(course: Course, now: float, by: str, why: str, bad: bool = True) -> Decision:
    says = f"version {course.stable} stays: {why}"
    bad = bad and course.kind != "aa"
    if course.kind == "aa" and by.startswith("guard"):
        says = f"{by} alarms though both versions are the same: {why}; have a baseline, or wider margins"
    return [Rollback(by, why, bad), Note(by, "rollback", why)], _end(course, now, "rolled-back", says)


# -- by hand ---------------------------------------------------------------------------------------


def pause(course: Course, by: str, why: str) -> Decision:
    """It stays at its stage; guards go on."""
    return [Note(by, "pause", why)], replace(course, phase="paused", says="paused")


def resume(course: Course, by: str, why: str) -> Decision:
    """It goes on; what it waited meanwhile counts."""
    return [Note(by, "resume", why)], replace(course, phase="running", says="")


def promote(course: Course, now: float, by: str, why: str) -> Decision:
    """At once, whatever the guards say."""
    return _promote(course, now, by, why or "by hand")


def rollback(course: Course, now: float, by: str, why: str) -> Decision:
    """At once; the version is not rolled out again by itself."""
    return _rollback(course, now, by, why or "by hand")


def again(course: Course, now: float) -> Course:
    """Its stage begins anew: the evidence is gone."""
    stages = list(course.stages)
    if stages[course.stage].began is not None:
        stages[course.stage] = replace(stages[course.stage], began=now)
    return replace(course, stages=tuple(stages))


def give_up(course: Course, now: float, why: str) -> Course:
    """It cannot go on."""
    return _end(course, now, "rolled-back", f"version {course.stable} stays: {why}")


def show(percent: float) -> str:
    """``5 %``."""
    return f"{percent:g} %"
