"""Rollouts at work: a control loop over all of them, and what doors ask (``port.Rollouts``)."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time
from typing import TypeAlias
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from penstock.core.errors import InvalidRequest, LoadFailed, ModelNotReady, NotFound, PenstockError
from penstock.core.loop import Runner
from penstock.core.spec import Rollout
from penstock.metering.ledger import Ledger
from penstock.rollout import course as courses
from penstock.rollout import seats
from penstock.rollout.compare import wrong
from penstock.rollout.course import Course, Note, Order, Promote, Rollback, Seen
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.feedback import Memory
from penstock.rollout.keeping import Keeper, Piece
from penstock.rollout.opening import begin, differs
from penstock.rollout.port import Label, Taken, Verb
from penstock.rollout.seating import Seating
from penstock.rollout.status import status
from penstock.rollout.sticky import header_of
from penstock.rollout.store import State
from penstock.rollout.tables import Saved
from penstock.rollout.terms import check
from penstock.rollout.traffic import Traffic
from penstock.rollout.trial import Scene, Trial
from penstock.rollout.witness import Rates
from penstock.rollout.words import Bad, Change, Pin, Status
from penstock.serving.catalog import Catalog
from penstock.serving.lifecycle import Lifecycle

log = logging.getLogger("penstock.rollout")

SAVE = 2.0
"""Seconds between two times that evidence is written down."""
PATIENCE = 5.0
"""Seconds that a command waits until it is written down."""
KEPT = 100
"""Rollouts that have ended and are still shown."""

JUST = 600.0
"""Seconds for which the page shows one that has ended."""

Looks: TypeAlias = Mapping[str, Seen]
Courses: TypeAlias = Mapping[str, Course]
"""The rollout of each model that runs."""
Step: TypeAlias = tuple[str, Course, list[Order]]
"""A model, its course from now on, and what that takes."""


class Controller:
    """A ``core.loop.Loop`` and a ``port.Rollouts``; lives on the event loop."""

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
        self._memory = Memory()
        self._scene = Scene(
            catalog, ledger.accounts, rates, self._memory, self._wake, models.double, models.part
        )
        self._runner: Runner[Looks, Courses, Step] = Runner(self, {})
        self._seating = Seating(catalog, self._versions, self._keep_pin)
        self._trials: dict[str, Trial] = {}
        self._ended: list[Course] = []
        """The newest first."""
        self._traffic = Traffic()
        self._tests: dict[str, float] = {}
        """When each model's guards are tried next (monotonic seconds)."""
        self._saved = 0.0
        self._keeper: Keeper | None = None
        self._state: State | None = None
        self._task: asyncio.Task[None] | None = None
        models.direct = self._seating.direct

    # -- life of its own -------------------------------------------------------------------------

    async def open(self, state: State) -> None:
        """Go on where an earlier server stopped; before models are loaded."""
        running, ended, bad, pins = await asyncio.to_thread(_read, state)
        self._state, self._keeper = state, Keeper(state)
        self._keeper.start()
        self._seating.restore(pins, bad)
        self._ended = [course for saved in ended if (course := _course(saved)) is not None]
        for saved in running:
            course = _course(saved)
            if course is not None and course.model not in self._trials:
                self._go_on(course, saved.evidence)

    def _go_on(self, course: Course, evidence: bytes) -> None:
        judge = None
        try:
            judge = Judge.load(evidence) if evidence else None
        except ValueError as error:
            log.warning("model %s: evidence cannot be read (%s); the stage begins anew", course.model, error)
        try:
            self._enter(course, Trial(course, self._scene, judge))
        except PenstockError as error:
            log.error("model %s: its rollout cannot go on: %s", course.model, error)
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
        for model, trial in self._trials.items():
            trial.witness.flush()
            self._put(self._courses[model])
        if self._keeper is not None:
            await self._keeper.stop(PATIENCE)

    def _wake(self) -> None:
        self._runner.wake()

    @property
    def _courses(self) -> Courses:
        return self._runner.memory

    def _versions(self, model: str) -> tuple[str, str] | None:
        course = self._courses.get(model)
        return (course.stable, course.candidate) if course is not None else None

    def _keep_pin(self, pin: Pin) -> None:
        if self._keeper is not None:
            self._keeper.put(Piece(pin=pin))

    # -- the loop --------------------------------------------------------------------------------

    async def observe(self) -> Looks:
        self._seating.settle()
        self._count()
        self._begin_by_themselves()
        return {model: self._look(self._courses[model], trial) for model, trial in self._trials.items()}

    def _look(self, course: Course, trial: Trial) -> Seen:
        trial.tick(course)
        hard, trial.hard = tuple(trial.hard), []
        return Seen(
            now=time(),
            stable_up=trial.up(course.stable) and (trial.ready or not trial.up(course.candidate)),
            candidate_up=trial.up(course.candidate),
            guards=trial.verdicts(course) if course.phase != "loading" else (),
            hard=hard,
            lacking=self._lacking(course, trial),
            changed=self._changed(course),
            unfit=trial.unfit,
            quiet=monotonic() - trial.last,
        )

    def _lacking(self, course: Course, trial: Trial) -> str:
        """Why the candidate will not come up, or cannot stand in for the stable version."""
        folder = self._seating.folders.get(course.model)
        if folder is None or course.candidate not in folder.versions:
            return f"version {course.candidate} is no longer in the repository"
        if not trial.up(course.candidate):
            return self._models.why_not(course.model, course.candidate)
        if not trial.up(course.stable):
            return ""
        shelf = self._catalog.table[course.model].versions
        return differs(shelf[course.stable].state, shelf[course.candidate].state)

    def _changed(self, course: Course) -> str:
        """The version whose files are no longer those that the rollout began with."""
        folder = self._seating.folders.get(course.model)
        if folder is None:
            return ""
        for version, before in zip((course.stable, course.candidate), course.prints, strict=True):
            if version in folder.versions and seats.print_of(folder, version) != before:
                return version
        return ""

    def _count(self) -> None:
        now = monotonic()
        if self._traffic.due(now):
            counts: dict[str, int] = {}
            for book in self._ledger.books():
                counts[book.model] = counts.get(book.model, 0) + book.request.count
            self._traffic.note(now, counts)

    def _begin_by_themselves(self) -> None:
        for model, version in self._seating.next():
            live = self._catalog.default(model)
            spec = self._seating.folders[model].spec
            if live is None or spec is None:
                continue
            try:
                self._begin(model, live.state.version, version, check(spec.rollout), "model.toml", "it came")
            except PenstockError as error:
                log.error("model %s: version %s is not rolled out: %s", model, version, error)
                self._seating.mark(self._bad(model, version, str(error)))
        for model, folder in self._seating.folders.items():
            if folder.spec is not None and folder.spec.rollout.self_test_h:
                self._test(model, folder.spec.rollout)

    def _test(self, model: str, terms: Rollout) -> None:
        """Try the guards on a model's version against itself, when it is time."""
        live, now = self._catalog.default(model), monotonic()
        due = self._tests.setdefault(model, now + terms.self_test_h * 3600) <= now
        if not due or live is None or model in self._trials or not self._traffic.rate(model):
            return
        self._tests[model] = now + terms.self_test_h * 3600
        version = live.state.version
        own = replace(terms, plan="aa", steps=())
        try:
            self._begin(model, version, version, check(own), "model.toml", "a self-test of the guards")
        except PenstockError as error:
            log.error("model %s: the guards are not tried: %s", model, error)

    def decide(self, seen: Looks, memory: Courses, /) -> tuple[list[Step], Courses]:
        steps: list[Step] = []
        for model, look in seen.items():
            orders, course = courses.decide(memory[model], look)
            steps.append((model, replace(course, guards=look.guards or course.guards), orders))
        after = {model: course for model, course, _ in steps}
        return steps, {**memory, **after}

    async def act(self, order: Step, /) -> None:
        self._carry_out(*order)

    def _carry_out(self, model: str, course: Course, orders: Sequence[Order]) -> None:
        """What is told of a course, at once; nothing here waits."""
        trial = self._trials.get(model)
        if trial is None or trial.id != course.id:
            return
        course = self._tallied(course, trial)
        self._runner.memory = {**self._courses, model: course}
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
            self._seating.mark(bad)
        if course.running:
            trial.set(course)
        if orders or monotonic() - self._saved > SAVE:
            self._put(course, tuple(changes), bad, pin, trial)

    def _leave(self, course: Course, answers: str) -> Pin:
        """It is over: one version answers, and the other goes when it has answered what it has."""
        self._trials.pop(course.model).end()
        self._runner.memory = {model: each for model, each in self._courses.items() if model != course.model}
        self._ended = [course, *self._ended][:KEPT]
        pin = self._seating.pin_of(course.model, answers)
        self._seating.pin(pin)
        self._want_headers()
        self._models.look_again()
        return pin

    def _bad(self, model: str, version: str, why: str) -> Bad:
        folder = self._seating.folders.get(model)
        return Bad(model, version, time(), why, seats.print_of(folder, version) if folder else "")

    def _tallied(self, course: Course, trial: Trial) -> Course:
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
        self._saved = monotonic()
        trial = trial or self._trials.get(course.model)
        evidence = trial.judge.dump() if trial is not None else b""
        saved = Saved(course.id, course.model, msgspec.json.encode(course), evidence, course.ended)
        if self._keeper is not None:
            self._keeper.put(Piece(saved, changes, bad, pin))

    # -- beginning -------------------------------------------------------------------------------

    def _begin(self, model: str, stable: str, version: str, terms: Rollout, by: str, why: str) -> Course:
        folder = self._seating.folder(model, version)
        prints = (seats.print_of(folder, stable), seats.print_of(folder, version))
        rate = self._traffic.rate(model)
        course = begin(
            uuid4().hex[:12], model, (stable, version), terms, rate, time(), by=by, why=why, prints=prints
        )
        trial = Trial(course, self._scene)
        pin = self._seating.pin_of(model, stable)
        self._seating.pin(pin)
        self._enter(course, trial)
        self._put(course, (Change(course.began, model, course.id, by, "start", why),), pin=pin)
        log.info("model %s: version %s is rolled out over %s by %s", model, version, stable, by)
        return course

    def _enter(self, course: Course, trial: Trial) -> None:
        self._trials[course.model] = trial
        self._runner.memory = {**self._courses, course.model: course}
        self._catalog.choose(course.model, course.stable)
        self._want_headers()
        self._models.look_again()

    def _want_headers(self) -> None:
        names = (header_of(course.terms.sticky) for course in self._courses.values())
        self._headers(frozenset(name for name in names if name))

    # -- what doors ask --------------------------------------------------------------------------

    def list(self) -> Sequence[Status]:
        running = [self._status(course) for course in self._courses.values()]
        return [*running, *map(status, self._ended)][:KEPT]

    def shown(self) -> Sequence[Status]:
        """Those that run, and those that ended a moment ago; for the page."""
        since = time() - JUST
        return [one for one in self.list() if one.ended is None or one.ended > since]

    def _status(self, course: Course) -> Status:
        trial = self._trials[course.model]
        return status(self._tallied(course, trial), trial.traffic.rate("all"))

    def get(self, model: str) -> Status:
        course = self._courses.get(model)
        if course is not None:
            return self._status(course)
        ended = next((each for each in self._ended if each.model == model), None)
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
        folder = self._seating.folder(model, version)
        if model in self._trials:
            course = self._courses[model]
            raise InvalidRequest(
                f"version {course.candidate} of model {model!r} is being rolled out; "
                "promote it or roll it back first"
            )
        live = self._catalog.default(model)
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
        if why_bad and self._state is not None:
            self._seating.forgive(model, version)
            await asyncio.to_thread(self._state.forgive, model, version)
        course = self._begin(model, live.state.version, version, check(terms), by, why)
        await self._written()
        return self.get(course.model)

    async def command(self, model: str, verb: Verb, by: str, why: str = "") -> Status:
        course = self._courses.get(model)
        if course is None:
            self._seating.folder(model)
            raise InvalidRequest(f"no rollout of model {model!r} runs; `penstock rollout start` begins one")
        self._carry_out(model, *reversed(_commanded(course, verb, by, why)))  # type: ignore[arg-type]
        self._wake()
        await self._written()
        return self.get(model)

    async def _written(self) -> None:
        if self._keeper is not None:
            await self._keeper.written(PATIENCE)

    async def history(self, model: str, limit: int = 100) -> Sequence[Change]:
        if model:
            self._seating.folder(model)
        await self._written()
        return [] if self._state is None else await asyncio.to_thread(self._state.changes, model, limit)

    def bad(self, model: str) -> Sequence[Bad]:
        return self._seating.bad(model)

    async def feedback(self, labels: Sequence[Label]) -> Taken:
        counted = 0
        for label in labels:
            counted += self._label(label)
        return Taken(counted, len(labels) - counted)

    def _label(self, label: Label) -> bool:
        kept = self._memory.take(label.id, label.model, time())
        trial = self._trials.get(kept.model) if kept is not None else None
        if kept is None or trial is None or trial.id != kept.rollout:
            return False
        tolerance = self._courses[kept.model].terms.tolerance
        mistaken = (
            not label.correct if label.correct is not None else wrong(kept.answer, label.outcome, tolerance)
        )
        trial.label(kept, mistaken)
        return True


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


def _read(state: State) -> tuple[list[Saved], list[Saved], list[Bad], list[Pin]]:
    return state.running(), state.ended(KEPT), state.bad(), state.pins()


def _course(saved: Saved) -> Course | None:
    try:
        return msgspec.json.decode(saved.course, type=Course)
    except msgspec.MsgspecError as error:
        log.warning("rollout %s of model %s cannot be read: %s", saved.id, saved.model, error)
        return None
