"""One rollout that runs: its evidence, and its part in the way of requests."""

from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

from msgspec import Struct

from penstock.core.ticket import Ticket
from penstock.core.types import ModelState, Reply
from penstock.metering.accounts import Accounts
from penstock.rollout.columns import Rates
from penstock.rollout.compare import COMPARISONS, comparison
from penstock.rollout.course import Course
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.evidence.state import Bound
from penstock.rollout.feedback import Memory
from penstock.rollout.gleaning import Gleaning
from penstock.rollout.mirror import Mirror, Pair
from penstock.rollout.opening import costs
from penstock.rollout.standing import Standing
from penstock.rollout.sticky import key_of
from penstock.rollout.traffic import Traffic
from penstock.rollout.twin import Twin
from penstock.rollout.witness import Witness
from penstock.rollout.words import Guard
from penstock.serving.catalog import Catalog, Live
from penstock.serving.split import Division, Relay, Split

COPIES = "(rollout)"
"""The tenant that copies are charged to."""
WAIT = 1.0
"""Seconds after which nobody waits any longer for a version that was taken back."""
WINDOW = 10.0
"""Seconds of latencies and costs that are compared at once with a baseline's."""
EVERY = 16
"""One in so many answers is looked at for what it says, which takes 2 µs."""


class Scene(Struct, frozen=True):
    """What rollouts share."""

    catalog: Catalog
    accounts: Accounts
    rates: Callable[[], Rates]
    memory: Memory
    """Of requests that feedback may come for."""
    wake: Callable[[], None]
    """Something happened that acts at once."""
    double: Callable[[str, str], Awaitable[Live]]
    """Loads a version of a model once more; raises a PenstockError."""
    part: Callable[[Live], None]
    """Lets go of one."""


class Trial:
    """Lives on the event loop; ``set`` it to its course's stage, and ``tick`` it now and then."""

    def __init__(self, course: Course, scene: Scene, judge: Judge | None = None) -> None:
        """``judge``: with what it knew before a restart. Raises BadSetting for a comparison that is none."""
        terms = course.terms
        targets = course.targets[course.stage]
        bounds = {name: Bound(alarm, targets.get(name)) for name, alarm in course.alarms.items()}
        self.id = course.id
        self.judge = judge or Judge(
            bounds,
            terms.risk,
            sticky=bool(terms.sticky),
            control="baseline" if terms.baseline else "stable",
            slack=terms.slack_ms / 1e3,
        )
        self._itself = course.kind == "aa"
        self._baseline = terms.baseline
        self._window = monotonic()
        self._split_before: Split | None = None
        self.hard: list[tuple[str, str]] = []
        self.traffic = Traffic()
        self.model = course.model
        self._arms = (course.stable, course.candidate)
        self._scene = scene
        self._twin: Twin | None = None
        if self._itself or self._baseline:
            load = partial(scene.double, self.model, course.stable)
            self._twin = Twin(load, scene.part, scene.wake)
        self._salt = course.id.encode()[:16]
        self._key = key_of(terms.sticky)
        self._begun = course.stage
        self._divided: tuple[float, Live | None] | None = None
        self.witness = Witness(self.judge.fold, self._alarm, self._answered)
        self.witness.aside = terms.baseline
        self.witness.stable, self.witness.candidate = course.answered
        self.witness.rescued = course.saved
        self.saved = 0.0
        """When it was written down (monotonic seconds)."""
        foreign = terms.compare not in COMPARISONS
        compare = comparison(terms.compare, terms.tolerance)
        self.mirror = Mirror(self._pair, self.judge.compared, compare, self._alarm, foreign=foreign)
        self.mirror.count = course.mirrored
        self._wanted = terms.mirror
        self.gleaning = Gleaning(self.model, self.id, scene.memory, self.judge)
        self._restarts = (0, -1)
        self._seen = 0
        self._standing = Standing(self.judge)
        self.last = monotonic()
        """When a request was last seen to have come."""

    # -- what the controller sets --------------------------------------------------------------------

    def set(self, course: Course) -> None:
        """Divide the requests, and copy them, as the course has it; evidence begins anew with each stage."""
        weight = course.weight / 100
        if self._begun != course.stage:
            self._begun = course.stage
            self.witness.flush()
            self.judge.begin(course.targets[course.stage])
        self.witness.costs = costs(course.weight, course.terms)
        self.mirror.timed = weight == 0
        self.witness.aside = self._baseline or weight == 0
        usual = 1.0 if weight == 0 else 0.05
        part = usual if self._wanted is None else self._wanted
        copied = course.phase != "loading" and weight < 1 and not self._itself
        self.mirror.part = part if copied else 0.0
        self.witness.every = 1 if self.mirror.part * EVERY > 1 else EVERY
        divided = (weight, self._double)
        if self._divided != divided and not (self._itself and self._double is None):
            self._divided = divided
            self._scene.catalog.divide(self.model, self._division(weight))

    def _division(self, weight: float) -> Division:
        return Division(
            *self._arms,
            weight,
            self.witness,
            self._key,
            self._salt,
            baseline=None if self._itself else self._double,
            double=self._double if self._itself else None,
        )

    def end(self) -> None:
        """Requests are divided no longer; those on their way come to their end."""
        self.witness.flush()
        self.mirror.part = 0.0
        self._split_before = self._split()
        self._scene.catalog.divide(self.model, None)
        if self._twin is not None:
            self._twin.close()

    def wind_up(self, now: float) -> bool:
        """Of a version taken back: whom it keeps waiting, the other answers; whether any are left."""
        split = self._split_before
        for ticket in list(self.witness.flight):
            patience = min(WAIT, (ticket.deadline - ticket.arrived) / 2)
            if split is not None and isinstance(ticket, Relay) and now - ticket.arrived > patience:
                split.give_up(ticket)
        return bool(self.witness.flight)

    # -- the stable version once more ------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Both versions serve, and the double where there is to be one."""
        return all(map(self.up, self._arms)) and (self._twin is None or self._twin.live is not None)

    @property
    def unfit(self) -> str:
        """Why the trial cannot be held."""
        return self._twin.unfit if self._twin is not None else ""

    @property
    def _double(self) -> Live | None:
        return self._twin.live if self._twin is not None else None

    # -- what it hears ---------------------------------------------------------------------------------

    def _alarm(self, guard: str, why: str) -> None:
        self.hard.append((guard, why))
        self._scene.wake()

    def _answered(self, ticket: Ticket, reply: Reply, candidate: bool, odds: float, unit: int) -> None:
        request = ticket.request
        every = self.witness.every
        if not candidate and self.mirror.part and not self.witness.stable % every:
            self.mirror.offer(request, reply, self.witness, every)
        count = self.witness.candidate if candidate else self.witness.stable
        self.gleaning.add(request, reply, candidate, odds, unit, sampled=not count % EVERY)

    # -- now and then ----------------------------------------------------------------------------------

    def tick(self, course: Course) -> None:
        """Count what is late, and fold what there is."""
        now = monotonic()
        self.witness.rates = self._scene.rates()
        if self._twin is not None and self.up(course.stable):
            self._twin.look()
        self.hurry(now)
        self.witness.flush()
        self.gleaning.flush()
        if self._baseline and now - self._window >= WINDOW:
            self._window = now
            self.judge.tick()
        if self.witness.seen != self._seen:
            self._seen, self.last = self.witness.seen, now
        if self.traffic.due(now):
            self.traffic.note(now, {"all": self.witness.seen, "copies": self.mirror.count})
        self._look(course)

    def hurry(self, now: float) -> None:
        """Ask the stable version for what takes the candidate too long; some 0.1 µs a request under way."""
        split = self._split()
        for relay in self.witness.overdue(now, self.judge.threshold()):
            if split is not None:
                split.give_up(relay)

    def _look(self, course: Course) -> None:
        """Whether the candidate is well."""
        live = self._double if self._itself else self._live(course.candidate)
        if live is None:
            return
        if live.executor.trouble:
            self.hard.append(("health", live.executor.trouble))
        mark, before = self._restarts
        restarts = live.executor.restarts
        if mark == id(live) and restarts > before:
            self.hard.append(("crash", f"a process of version {course.candidate} ended"))
        self._restarts = (id(live), restarts)

    def guards(self, course: Course) -> tuple[Guard, ...]:
        """Of every guard, at today's traffic."""
        share = course.weight / 100
        rate = self.traffic.rate("all") * share if share else self.traffic.rate("copies")
        return self._standing.guards(course, rate, self.mirror.broken)

    def up(self, version: str) -> bool:
        """Whether a version serves."""
        return self._live(version) is not None

    def states(self) -> tuple[ModelState, ModelState] | None:
        """Of both versions; None while one of them does not serve."""
        stable, candidate = map(self._live, self._arms)
        return (stable.state, candidate.state) if stable and candidate else None

    def _live(self, version: str) -> Live | None:
        shelf = self._scene.catalog.table.get(self.model)
        return shelf.versions.get(version) if shelf is not None else None

    def _split(self) -> Split | None:
        shelf = self._scene.catalog.table.get(self.model)
        return shelf.split if shelf is not None else None

    def _pair(self) -> Pair | None:
        stable, candidate = (self._live(version) for version in self._arms)
        if stable is None or candidate is None:
            return None
        accounts = tuple(self._scene.accounts.of(self.model, version, COPIES) for version in self._arms)
        priority = min(live.state.spec.queue.max_priority for live in (stable, candidate))
        return Pair(stable.executor, candidate.executor, accounts, priority)  # type: ignore[arg-type]
