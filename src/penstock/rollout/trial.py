"""One rollout that runs: its evidence, and its part in the way of requests."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic, time

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from penstock.core.errors import one_line
from penstock.core.ticket import Ticket
from penstock.core.types import ModelState, Reply
from penstock.metering.accounts import Accounts
from penstock.rollout.columns import Rates
from penstock.rollout.compare import COMPARISONS, Bins, answer_of, comparison
from penstock.rollout.course import Course
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.evidence.requests import Requests
from penstock.rollout.evidence.state import Bound
from penstock.rollout.feedback import Kept, Memory
from penstock.rollout.mirror import Mirror, Pair
from penstock.rollout.opening import COSTS, costs
from penstock.rollout.sticky import key_of
from penstock.rollout.traffic import Traffic
from penstock.rollout.witness import Witness
from penstock.rollout.words import Guard
from penstock.serving.catalog import Catalog, Live
from penstock.serving.split import Division, Relay, Split

COPIES = "(rollout)"
"""The tenant that copies are charged to."""
SAMPLED = 64
"""Answers whose distribution is told the judge at once."""


JUDGE = 1.0
"""Seconds between two times that all verdicts are worked out."""
WAIT = 1.0
"""Seconds after which nobody waits any longer for a version that was taken back."""
WINDOW = 10.0
"""Seconds of latencies and costs that are compared at once with a baseline's."""
EVERY = 4
"""One in so many answers is looked at for it, which takes 2 µs."""
NO_COST = (
    "a small share makes small batches, which cost more a query; cost is judged at 50 %, by copies alone, "
    "or beside a baseline"
)


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
        self.over = False
        self._split_before: Split | None = None
        self.unfit = ""
        """Why it cannot be held."""
        self._itself = course.kind == "aa"
        self._baseline = terms.baseline
        self._double: Live | None = None
        self._doubling: asyncio.Task[None] | None = None
        self._window = monotonic()
        self.hard: list[tuple[str, str]] = []
        self.traffic = Traffic()
        self.model = self._model = course.model
        self._arms = (course.stable, course.candidate)
        self._scene = scene
        self._salt = course.id.encode()[:16]
        self._key = key_of(terms.sticky)
        self._begun = course.stage
        self._divided: tuple[float, Live | None] | None = None
        self.witness = Witness(self._fold, self._alarm, self._answered)
        self.witness.aside = terms.baseline
        self.witness.stable, self.witness.candidate = course.answered
        self.witness.rescued = course.saved
        self.saved = 0.0
        """When it was written down (monotonic seconds)."""
        foreign = terms.compare not in COMPARISONS
        compare = comparison(terms.compare, terms.tolerance)
        self.mirror = Mirror(self._pair, self.judge, compare, self._alarm, foreign=foreign)
        self.mirror.count = course.mirrored
        self._wanted = terms.mirror
        self._labels = "accuracy" in course.alarms
        self._bins = Bins() if "outputs" in course.alarms else None
        self._binned: list[tuple[int, bool, float, int]] = []
        self._restarts = (0, -1)
        self._seen = 0
        self._judged, self._failed, self._stage = 0.0, self.judge.alarmed(), -1
        self._guards: tuple[Guard, ...] = ()
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
            self._scene.catalog.divide(self._model, self._division(weight))

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
        self.over = True
        self.witness.flush()
        self.mirror.part = 0.0
        self._split_before = self._split()
        self._scene.catalog.divide(self._model, None)
        if self._double is not None:
            self._scene.part(self._double)

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
        return all(map(self.up, self._arms)) and (self._double is not None or not self._needs_double)

    @property
    def _needs_double(self) -> bool:
        return self._itself or self._baseline

    async def _load_double(self) -> None:
        try:
            double = await self._scene.double(self._model, self._arms[0])
        except Exception as error:  # noqa: BLE001 - whatever a model does, the others go on
            self.unfit = f"the old version would not load once more: {one_line(error)}"
            return
        if self.over:
            self._scene.part(double)
        else:
            self._double = double
            self._scene.wake()

    # -- what it hears ---------------------------------------------------------------------------------

    def _fold(self, requests: Requests) -> None:
        self.judge.fold(requests)

    def _alarm(self, guard: str, why: str) -> None:
        self.hard.append((guard, why))
        self._scene.wake()

    def _answered(self, ticket: Ticket, reply: Reply, candidate: bool, odds: float, unit: int) -> None:
        request = ticket.request
        if request.id and self._labels:
            self._remember(request.id, request.tags.get("tenant", ""), reply, candidate, odds, unit)
        every = self.witness.every
        if not candidate and self.mirror.part and not self.witness.stable % every:
            self.mirror.offer(request, reply, self.witness, every)
        if self._bins is not None and 0 < odds < 1:
            self._bin(self._bins, reply, candidate, odds, unit)

    def _remember(self, key: str, tenant: str, reply: Reply, candidate: bool, odds: float, unit: int) -> None:
        """Feedback may come for it."""
        told = answer_of(reply.outputs)
        self._scene.memory.note(key, self._model, self.id, candidate, odds, told, time(), unit, tenant)

    def _bin(self, bins: Bins, reply: Reply, candidate: bool, odds: float, unit: int) -> None:
        if not candidate:
            bins.learn(reply.outputs)
        at = bins.of(reply.outputs)
        if at >= 0:
            self._binned.append((at, candidate, odds, unit >> 11))
        if len(self._binned) >= SAMPLED:
            self._tell_bins()

    def _tell_bins(self) -> None:
        if self._binned:
            bins, candidate, odds, units = map(np.array, zip(*self._binned, strict=True))
            self._binned = []
            self.judge.answered(bins, candidate, odds, units.astype(np.uint64))

    def label(self, found: Sequence[tuple[Kept, bool]]) -> None:
        """What came true of requests, whenever that is known: whether each answer was wrong."""
        self.judge.labelled(
            np.array([wrong for _, wrong in found]),
            np.array([kept.candidate for kept, _ in found]),
            np.array([kept.odds for kept, _ in found]),
            np.array([kept.unit >> 11 for kept, _ in found], np.uint64),
        )

    # -- now and then ----------------------------------------------------------------------------------

    def tick(self, course: Course) -> None:
        """Count what is late, and fold what there is."""
        now = monotonic()
        self.witness.rates = self._scene.rates()
        if self._needs_double and self._doubling is None and self.up(course.stable):
            self._doubling = asyncio.create_task(self._load_double())
        self.hurry(now)
        self.witness.flush()
        self._tell_bins()
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
        """As they stood a second ago at most; at once where one of them has failed."""
        now = monotonic()
        if now - self._judged > JUDGE or self._failed != self.judge.alarmed() or self._stage != course.stage:
            self._judged, self._failed, self._stage = now, self.judge.alarmed(), course.stage
            self._guards = self.verdicts(course)
        return self._guards

    def verdicts(self, course: Course) -> tuple[Guard, ...]:
        """Of every guard, at today's traffic; takes some 2 ms."""
        share = course.weight / 100
        rate = self.traffic.rate("all") * share if share else self.traffic.rate("copies")
        guards = self.judge.verdicts(rate)
        if self.mirror.broken:
            guards = tuple(
                replace(guard, why=self.mirror.broken) if guard.name == "answers" else guard
                for guard in guards
            )
        if not self.witness.costs:
            guards = tuple(
                replace(guard, verdict="off", why=NO_COST, needs=None, needs_s=None)
                if guard.name in COSTS and guard.verdict != "fail"
                else guard
                for guard in guards
            )
        return guards

    def up(self, version: str) -> bool:
        """Whether a version serves."""
        return self._live(version) is not None

    def states(self) -> tuple[ModelState, ModelState] | None:
        """Of both versions; None while one of them does not serve."""
        stable, candidate = map(self._live, self._arms)
        return (stable.state, candidate.state) if stable and candidate else None

    def _live(self, version: str) -> Live | None:
        shelf = self._scene.catalog.table.get(self._model)
        return shelf.versions.get(version) if shelf is not None else None

    def _split(self) -> Split | None:
        shelf = self._scene.catalog.table.get(self._model)
        return shelf.split if shelf is not None else None

    def _pair(self) -> Pair | None:
        stable, candidate = (self._live(version) for version in self._arms)
        if stable is None or candidate is None:
            return None
        accounts = tuple(self._scene.accounts.of(self._model, version, COPIES) for version in self._arms)
        priority = min(live.state.spec.queue.max_priority for live in (stable, candidate))
        return Pair(stable.executor, candidate.executor, accounts, priority)  # type: ignore[arg-type]
