"""What doors ask of rollouts, and tell them (``port.Rollouts``)."""

import asyncio
from collections.abc import Sequence
from time import time

from penstock.core.errors import InvalidRequest, LoadFailed, ModelNotReady, NotFound
from penstock.core.spec import Rollout
from penstock.rollout import course as courses
from penstock.rollout.answers import wrong
from penstock.rollout.compare import comparison
from penstock.rollout.controller import Controller
from penstock.rollout.course import Course
from penstock.rollout.feedback import Kept
from penstock.rollout.keeping import ENDED
from penstock.rollout.opening import Wanted
from penstock.rollout.port import Label, Taken, Verb
from penstock.rollout.status import status
from penstock.rollout.terms import check
from penstock.rollout.words import Bad, Change, Status

JUST = 600.0
"""Seconds for which the page shows one that has ended."""


class Desk:
    """A ``port.Rollouts`` over a controller; lives on the event loop."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._seating = controller.seating

    def list(self) -> Sequence[Status]:
        running = [self._status(course) for course in self._controller.courses.values()]
        return [*running, *map(status, self._controller.ended)][:ENDED]

    def shown(self) -> Sequence[Status]:
        """Those that run, and those that ended a moment ago; for the page."""
        since = time() - JUST
        return [one for one in self.list() if one.ended is None or one.ended > since]

    def _status(self, course: Course) -> Status:
        trial = self._controller.trials[course.model]
        return status(self._controller.tallied(course, trial), trial.traffic.rate("all"))

    def get(self, model: str) -> Status:
        course = self._controller.courses.get(model)
        if course is not None:
            return self._status(course)
        ended = next((each for each in self._controller.ended if each.model == model), None)
        if ended is not None:
            return status(ended)
        self._seating.folder(model)
        raise NotFound(f"model {model!r} has had no rollout; `penstock rollout start` begins one")

    def terms(self, model: str) -> Rollout:
        spec = self._seating.folder(model).spec
        return spec.rollout if spec is not None else Rollout()

    async def start(
        self, model: str, version: str, terms: Rollout, by: str, why: str = "", force: bool = False
    ) -> Status:
        await self._controller.rescan()  # it may have been put there a moment ago
        folder = self._seating.folder(model, version)
        await asyncio.to_thread(comparison, terms.compare, terms.tolerance)  # which may import a lot
        live = self._controller.default(model)
        if live is None:
            raise ModelNotReady(f"model {model!r} does not serve, so that there is nothing to compare with")
        if live.state.version != version and terms.plan == "aa":
            raise InvalidRequest(
                f"aa is a version against itself: version {live.state.version} of model {model!r} answers now"
            )
        if live.state.version == version and terms.plan != "aa":
            raise InvalidRequest(
                f"version {version} of model {model!r} answers already; give a model.toml "
                '[rollout] plan = "canary" and its new versions are rolled out as they come'
            )
        if folder.versions[version].error:
            raise LoadFailed(folder.versions[version].error)
        why_bad = self._seating.why_bad(model, version)
        if why_bad and not force:
            raise InvalidRequest(
                f"version {version} of model {model!r} was taken back: {why_bad}; --force tries it again"
            )
        wanted = Wanted(model, live.state.version, version, check(terms), by, why)
        course = self._controller.begin(wanted)
        if why_bad:
            self._seating.forgive(model, version)
            await self._controller.ask(lambda state: state.forgive(model, version))
        await self._controller.written()
        return self.get(course.model)

    async def command(self, model: str, verb: Verb, by: str, why: str = "") -> Status:
        course = self._controller.courses.get(model)
        if course is None:
            self._seating.folder(model)
            raise InvalidRequest(f"no rollout of model {model!r} runs; `penstock rollout start` begins one")
        orders, course = _commanded(course, verb, by, why)
        self._controller.carry_out(model, course, orders)
        self._controller.wake()
        await self._controller.written()
        return self.get(model)

    async def history(self, model: str, limit: int = 100) -> Sequence[Change]:
        if model:
            self._seating.folder(model)
        await self._controller.written()
        return await self._controller.ask(lambda state: state.changes(model, limit)) or []

    def bad(self, model: str) -> Sequence[Bad]:
        return self._seating.bad(model)

    async def feedback(self, labels: Sequence[Label], tenant: str = "") -> Taken:
        found: dict[str, list[tuple[Kept, bool]]] = {}
        for label in labels:
            kept = self._controller.memory.take(label.id, label.model, time(), tenant)
            trial = self._controller.trials.get(kept.model) if kept is not None else None
            if kept is not None and trial is not None and trial.id == kept.rollout:
                found.setdefault(kept.model, []).append((kept, self._mistaken(label, kept)))
        for model, told in found.items():
            self._controller.trials[model].gleaning.label(told)
        counted = sum(map(len, found.values()))
        return Taken(counted, len(labels) - counted)

    def _mistaken(self, label: Label, kept: Kept) -> bool:
        if label.correct is not None:
            return not label.correct
        return wrong(kept.answer, label.outcome, self._controller.courses[kept.model].terms.tolerance)


def _commanded(course: Course, verb: Verb, by: str, why: str) -> courses.Decision:
    """Raises InvalidRequest for what does not go together."""
    if verb == "pause" and course.phase == "loading":
        raise InvalidRequest("the rollout is still loading its version; roll it back, or wait")
    if verb == "resume" and course.phase != "paused":
        raise InvalidRequest(f"the rollout is not paused; it is {course.phase}")
    match verb:
        case "pause":
            return courses.pause(course, by, why)
        case "resume":
            return courses.resume(course, by, why)
        case "promote":
            if course.phase == "loading":
                raise InvalidRequest("the version does not serve yet; wait until it is loaded")
            return courses.promote(course, time(), by, why)
        case "rollback":
            return courses.rollback(course, time(), by, why)
