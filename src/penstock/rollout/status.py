"""A rollout's course as people and machines are shown it; pure."""

from penstock.rollout.course import Course
from penstock.rollout.words import Status


def status(course: Course, rate: float = 0.0) -> Status:
    """``rate``: requests a second that name no version."""
    stable, candidate = course.answered
    return Status(
        id=course.id,
        model=course.model,
        stable=course.stable,
        candidate=course.candidate,
        kind=course.kind,
        phase=course.phase,
        stage=course.stage,
        stages=course.stages,
        weight=course.weight,
        began=course.began,
        ended=course.ended,
        by=course.by,
        says=course.says,
        guards=course.guards,
        answered_stable=stable,
        answered_candidate=candidate,
        saved=course.saved,
        mirrored=course.mirrored,
        rate=rate,
        sticky=course.terms.sticky,
        baseline=course.terms.baseline,
        terms=course.terms,
    )
