"""What is known of one rollout now, gathered from where it is known."""

from time import monotonic, time

from penstock.rollout import seats
from penstock.rollout.course import Course, Seen
from penstock.rollout.opening import differs
from penstock.rollout.seating import Seating
from penstock.rollout.trial import Trial
from penstock.serving.lifecycle import Lifecycle


def look(course: Course, trial: Trial, seating: Seating, models: Lifecycle) -> Seen:
    """On the event loop; folds in what has come since the last look."""
    trial.tick(course)
    hard, trial.hard = tuple(trial.hard), []
    return Seen(
        now=time(),
        stable_up=trial.up(course.stable) and (trial.ready or not trial.up(course.candidate)),
        candidate_up=trial.up(course.candidate),
        guards=trial.guards(course) if course.phase != "loading" else (),
        hard=hard,
        lacking=_lacking(course, trial, models),
        changed=_changed(course, seating),
        unfit=trial.unfit or _gone(course, trial, seating, models),
        quiet=monotonic() - trial.last,
    )


def _lacking(course: Course, trial: Trial, models: Lifecycle) -> str:
    """Why the candidate will not come up, or cannot stand in for the stable version."""
    if not trial.up(course.candidate):
        return models.why_not(course.model, course.candidate)
    states = trial.states()
    return differs(*states) if states is not None else ""


def _gone(course: Course, trial: Trial, seating: Seating, models: Lifecycle) -> str:
    """Why there is nothing to compare any more."""
    folder = seating.folders.get(course.model)
    for version in (course.stable, course.candidate):
        if folder is None or version not in folder.versions:
            return f"version {version} is no longer in the repository"
    if not trial.up(course.stable) and (reason := models.why_not(course.model, course.stable)):
        return f"version {course.stable} would not load: {reason}"
    return ""


def _changed(course: Course, seating: Seating) -> str:
    """The version whose files are no longer those that the rollout began with."""
    folder = seating.folders.get(course.model)
    if folder is None:
        return ""
    for version, before in zip((course.stable, course.candidate), course.prints, strict=True):
        if version in folder.versions and seats.print_of(folder, version) != before:
            return version
    return ""
