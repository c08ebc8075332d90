"""Rollouts at work: a control loop over all of them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time
from typing import TypeAlias, TypeVar
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from penstock.core.errors import InvalidRequest, PenstockError
from penstock.core.loop import Runner
from penstock.metering.ledger import Ledger
from penstock.rollout import course as courses
from penstock.rollout import seats
from penstock.rollout.columns import Rates
from penstock.rollout.compare import comparison
from penstock.rollout.course import Course, Note, Order, Promote, Rollback, Seen
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.feedback import Memory
from penstock.rollout.keeping import ENDED, Keeper, Piece, course_of, read
from penstock.rollout.looking import look
from penstock.rollout.opening import Wanted, begin
from penstock.rollout.prompts import Prompts
from penstock.rollout.seating import Seating
from penstock.rollout.sticky import header_of
from penstock.rollout.store import State
from penstock.rollout.tables import Saved
from penstock.rollout.terms import check
from penstock.rollout.trial import Scene, Trial
from penstock.rollout.words import Bad, Change, Pin
from penstock.serving.catalog import Catalog, Live
from penstock.serving.lifecycle import Lifecycle

log = logging.getLogger("penstock.rollout")

SAVE = 2.0
"""Seconds between two times that evidence is written down."""
PATIENCE = 5.0
"""Seconds that a command waits until it is written down."""

T = TypeVar("T")
Looks: TypeAlias = Mapping[str, Seen]
Courses: TypeAlias = Mapping[str, Course]
"""The rollout of each model that runs."""
Step: TypeAlias = tuple[str, Course, list[Order]]
"""A model, its course from now on, and what that takes."""


class Controller:
    """A ``core.loop.Loop``; lives on the event loop."""

    name = "rollout"

    def __init__(
        self,
        catalog: Catalog,
        models: Lifecycle,
        ledger: Ledger,
        rates: Callable[[], Rates],
        headers: Callable[[frozenset[str]], None],
        every: float = 0.5,
    ) -> None:
        """``headers`` is told which headers (lower case) of requests are wanted as tags ``header:name``."""
        self.every = every
        self._catalog, self._models, self._ledger = catalog, models, ledger
        self._headers = headers
        self.memory = Memory()
        self._scene = Scene(
            catalog, ledger.accounts, rates, self.memory, self.wake, models.double, models.part
        )
        self._runner: Runner[Looks, Courses, Step] = Runner(self, {})
        self.seating = Seating(catalog, self._versions, self._keep_pin)
        self.trials: dict[str, Trial] = {}
        self.ended: list[Course] = []
        """The newest first."""
        self._leaving: list[Trial] = []
        """Those of versions that were taken back and still have requests."""
        self._prompts = Prompts(catalog, ledger, self.seating, self.trials.__contains__)
        self._keeper: Keeper | None = None
        self._task: asyncio.Task[None] | None = None
        models.direct, models.loaded = self.seating.direct, self.wake

    # -- life of its own -------------------------------------------------------------------------

    async def open(self, state: State) -> None:
        """Go on where an earlier server stopped; before models are loaded."""
        running, ended, bad, pins = await asyncio.to_thread(read, state)
        self._keeper = Keeper(state)
        self._keeper.start()
        self.seating.restore(pins, bad)
        self.ended = [course for saved in ended if (course := course_of(saved)) is not None]
        for saved in running:
            course = course_of(saved)
            if course is not None and course.model not in self.trials:
                self._go_on(course, saved.evidence)

    def _go_on(self, course: Course, evidence: bytes) -> None:
        judge = None
        try:
            judge = Judge.load(evidence) if evidence else None
        except ValueError as error:
            log.warning("model %s: evidence cannot be read (%s); the stage begins anew", course.model, error)
            course = courses.again(course, time())
        try:
            self._enter(course, Trial(course, self._scene, judge))
        except PenstockError as error:
            log.error("model %s: its rollout cannot go on: %s", course.model, error)
            self._put(courses.give_up(course, time(), str(error)))
            return
        log.info("model %s: the rollout of version %s goes on", course.model, course.candidate)

    def run(self) -> None:
        """From now on; after models were loaded."""
        self._task = asyncio.create_task(self._runner.run())

    async def stop(self) -> None:
        """Write down where everything stands; rollouts go on with the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for model, trial in self.trials.items():
            trial.witness.flush()
            self._put(self.courses[model])
        if self._keeper is not None:
            await self._keeper.stop(PATIENCE)

    def wake(self) -> None:
        """Look now."""
        self._runner.wake()

    @property
    def courses(self) -> Courses:
        return self._runner.memory

    def _versions(self, model: str) -> tuple[str, str] | None:
        course = self.courses.get(model)
        return (course.stable, course.candidate) if course is not None else None

    def _keep_pin(self, pin: Pin) -> None:
        if self._keeper is not None:
            self._keeper.put(Piece(pin=pin))

    # -- the loop --------------------------------------------------------------------------------

    def hurry(self, now: float) -> None:
        """Have whom a candidate keeps waiting answered by the stable version; a few dozen times a second.

        In ``every`` seconds many a deadline would have passed.
        """
        for trial in self.trials.values():
            trial.hurry(now)
        self._leaving = [trial for trial in self._leaving if trial.wind_up(now)]

    async def observe(self) -> Looks:
        self.seating.settle()
        self._prompts.count()
        await self._begin_by_themselves()
        found: dict[str, Seen] = {}
        for model, trial in self.trials.items():
            try:
                found[model] = look(self.courses[model], trial, self.seating, self._models)
            except Exception:
                log.exception("model %s: its rollout could not be looked at", model)
        return found

    async def _begin_by_themselves(self) -> None:
        for wanted in list(self._prompts.due()):
            try:
                terms = check(wanted.terms)
                await asyncio.to_thread(comparison, terms.compare, terms.tolerance)  # which may import a lot
                busy = self.courses.get(wanted.model)  # it may have begun meanwhile
                if busy is None or (busy.kind == "aa" and wanted.version != wanted.stable):
                    self.begin(replace(wanted, terms=terms))
            except PenstockError as error:
                log.error("model %s: version %s is not rolled out: %s", wanted.model, wanted.version, error)
                if wanted.version != wanted.stable:
                    self.seating.mark(self._bad(wanted.model, wanted.version, str(error)))

    def decide(self, seen: Looks, memory: Courses, /) -> tuple[list[Step], Courses]:
        steps: list[Step] = []
        for model, now in seen.items():
            orders, course = courses.decide(memory[model], now)
            same = course.stage == memory[model].stage
            steps.append((model, replace(course, guards=now.guards if same else ()), orders))
        after = {model: course for model, course, _ in steps}
        return steps, {**memory, **after}

    async def act(self, order: Step, /) -> None:
        self.carry_out(*order)

    def carry_out(self, model: str, course: Course, orders: Sequence[Order]) -> None:
        """What is told of a course, at once; nothing here waits."""
        trial = self.trials.get(model)
        if trial is None or trial.id != course.id:
            return
        course = self.tallied(course, trial)
        self._runner.memory = {**self.courses, model: course}
        bad, pin, changes = None, None, []
        for order in orders:
            match order:
                case Promote():
                    pin = self._leave(course, course.candidate)
                case Rollback(by, why, marked):
                    pin = self._leave(course, course.stable)
                    bad = self._bad(model, course.candidate, why) if marked else None
                case Note(by, what, why):
                    changes.append(Change(time(), model, course.id, by, what, why))
                    log.info("model %s version %s: %s by %s: %s", model, course.candidate, what, by, why)
        if bad is not None:
            self.seating.mark(bad)
        if course.running:
            trial.set(course)
        if orders or monotonic() - trial.saved > SAVE:
            self._put(course, tuple(changes), bad, pin, trial)

    def _leave(self, course: Course, answers: str) -> Pin:
        """It is over: one version answers, and the other goes when it has answered what it has."""
        trial = self.trials.pop(course.model)
        trial.end()
        if answers == course.stable:
            self._leaving.append(trial)
        self._runner.memory = {model: each for model, each in self.courses.items() if model != course.model}
        self.ended = [course, *self.ended][:ENDED]
        pin = self.seating.pin_of(course.model, answers)
        self.seating.pin(pin)
        self._want_headers()
        self._models.look_again(course.model)
        return pin

    def _bad(self, model: str, version: str, why: str) -> Bad:
        folder = self.seating.folders.get(model)
        return Bad(model, version, time(), why, seats.print_of(folder, version) if folder else "")

    def tallied(self, course: Course, trial: Trial) -> Course:
        """With what it has counted so far."""
        witness = trial.witness
        return replace(
            course,
            answered=(witness.stable, witness.candidate),
            saved=witness.rescued,
            mirrored=trial.mirror.count,
        )

    def _put(
        self,
        course: Course,
        changes: tuple[Change, ...] = (),
        bad: Bad | None = None,
        pin: Pin | None = None,
        trial: Trial | None = None,
    ) -> None:
        trial = trial or self.trials.get(course.model)
        evidence = b""
        if trial is not None and course.running:
            trial.saved, evidence = monotonic(), trial.judge.dump()
        saved = Saved(course.id, course.model, msgspec.json.encode(course), evidence, course.ended)
        if self._keeper is not None:
            self._keeper.put(Piece(saved, changes, bad, pin))

    # -- beginning -------------------------------------------------------------------------------

    def begin(self, wanted: Wanted) -> Course:
        """Of a version over the one that answers, by terms that were checked; raises a PenstockError."""
        model, version = wanted.model, wanted.version
        if (trial := self.trials.get(model)) is not None:
            self._give_way(trial)
        folder = self.seating.folder(model, version)
        prints = (seats.print_of(folder, wanted.stable), seats.print_of(folder, version))
        course = begin(uuid4().hex[:12], wanted, self._prompts.traffic.rate(model), time(), prints)
        trial = Trial(course, self._scene)
        self._models.retry(model, version)
        pin = self.seating.pin_of(model, wanted.stable)
        self.seating.pin(pin)
        self._enter(course, trial)
        self._put(course, (Change(course.began, model, course.id, wanted.by, "start", wanted.why),), pin=pin)
        log.info("model %s: version %s is rolled out over %s by %s", model, version, wanted.stable, wanted.by)
        return course

    def _give_way(self, trial: Trial) -> None:
        """A self-test ends where a rollout begins; raises InvalidRequest where it is a rollout."""
        course = self.courses[trial.model]
        if course.kind != "aa":
            raise InvalidRequest(
                f"version {course.candidate} of model {course.model!r} is being rolled out; "
                "promote it or roll it back first"
            )
        orders, after = courses.rollback(course, time(), "penstock", "a rollout begins")
        self.carry_out(course.model, after, orders)

    def _enter(self, course: Course, trial: Trial) -> None:
        self.trials[course.model] = trial
        self._runner.memory = {**self.courses, course.model: course}
        self._catalog.choose(course.model, course.stable)
        trial.set(course)
        self._want_headers()
        self._models.look_again(course.model)

    def _want_headers(self) -> None:
        names = (header_of(course.terms.sticky) for course in self.courses.values())
        self._headers(frozenset(name for name in names if name))

    # -- for the desk --------------------------------------------------------------------------------

    async def rescan(self) -> None:
        """Know what is in the repository now."""
        await self._models.rescan()

    def default(self, model: str) -> Live | None:
        """The version that answers requests which name none."""
        return self._catalog.default(model)

    async def ask(self, what: Callable[[State], T]) -> T | None:
        """The state database, for a while; None where it does not answer. Raises StateFailed."""
        return await self._keeper.ask(what, PATIENCE) if self._keeper is not None else None

    async def written(self) -> None:
        """Wait, for a while, until all is written down."""
        if self._keeper is not None:
            await self._keeper.written(PATIENCE)
