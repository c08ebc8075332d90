"""One model whose number of instances moves: what is seen of it, and what is remembered."""

import logging
from collections import deque
from collections.abc import Sequence
from math import ceil, floor

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.spec import ModelSpec
from penstock.metering.book import Book
from penstock.scaling.capacity import Capacity, Happened
from penstock.scaling.carrying import Carrying
from penstock.scaling.demand import Demand
from penstock.scaling.needs import Needs
from penstock.scaling.series import Series
from penstock.scaling.store import STARTS, Fresh, Known
from penstock.scaling.types import Decision, Schedule, Seen, Terms
from penstock.scaling.words import History, Told
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.catalog import Live
from penstock.serving.recording import unwrap

TICKS = 2160
"""Ticks that are shown: six hours at 10 s."""
BACK = 5.0
"""Seconds by which the clock may go back unnoticed."""
LONG = 60.0
"""Seconds between two looks after which nobody knows when what came, came."""
ANYTHING = 1e12
"""Rows a second of an instance whose run times are not known."""
UNKNOWN = "what an instance carries is not known before it has run"
TOLD = 100
"""Decisions in memory."""


log = logging.getLogger("penstock.scaling")


class Tick(Struct, frozen=True):
    """One decision and what it was made in."""

    at: float
    rate: float
    forecast: float
    capacity: float
    ready: int
    wanted: int


class Track:
    """Lives on the event loop."""

    def __init__(self, model: str, tick_s: float) -> None:
        self.model = model
        self.series = Series()
        self.missed: float | None = None
        """Part of the requests of the last hours that missed the target; None where there were none."""
        self.decision: Decision | None = None
        self.due = 0.0
        """When it is decided upon next (monotonic seconds)."""
        self.told: deque[Told] = deque(maxlen=TOLD)
        """The newest first."""
        self.needs = Needs()
        self.live: Live | None = None
        """The version that answers; None while it is not in memory."""
        self.carrying: Carrying | None = None
        self.spec = ModelSpec()
        self.most = 1
        self.starts: deque[float] = deque(maxlen=STARTS)
        self._tick_s = tick_s
        self._demand = Demand()
        self._ticks: deque[Tick] = deque(maxlen=TICKS)
        self._looked = 0.0
        self._since = 0.0
        """When the version that answers was first seen."""
        self._kept_to = 0.0
        self._fresh_starts: list[tuple[float, float]] = []
        self._fresh_told: list[Told] = []

    def restore(self, known: Known, series: Series) -> None:
        """What was kept of it, before the first look, and the series made of that."""
        self.series = series
        self._kept_to = max((start + width for start, width, _ in known.buckets), default=0.0)
        self.starts.extend(known.starts)
        self.told.extend(known.decisions)

    # -- what is seen ------------------------------------------------------------------------------

    def look(self, lives: Sequence[Live], cold: int, now: float) -> None:
        """Count what came since the last look; ``lives``: who answers, the stable version first.

        ``cold``: rows so far that found the model not loaded.
        """
        live = lives[0] if lives else None
        if live is not None and live is not self.live:
            self._begin(live, now)
        self.live = live
        self._count(self._demand.rows([_scheduler(each) for each in lives], cold), now)

    def _count(self, rows: int, now: float) -> None:
        """Into each second its part of the time since the last look: a late one is no burst."""
        before, self._looked = self._looked, now
        if now < before - BACK:
            log.warning("model %s: the clock was set back; its history begins anew", self.model)
            self.series, self._kept_to, self._since = Series(), now, min(self._since, now)
        if not before < now <= before + LONG:
            self.series.add(now, rows)
            return
        at = before
        while at < now:
            end = min(now, floor(at) + 1.0)
            self.series.add(at, rows * (end - at) / (now - before))
            at = end

    def _begin(self, live: Live, now: float) -> None:
        self.due, self._since = 0.0, now
        self.spec = live.state.spec
        self.carrying = Carrying(live, _scheduler(live).policy)
        self.most = live.resizing.most if live.resizing is not None else 1
        if live.resizing is None or not live.resizing.shared or not self.starts:
            self.started(live.state.load_seconds, now)

    def started(self, seconds: float, now: float) -> None:
        """An instance, or the model itself, took so long to load and warm up."""
        self.starts.append(seconds)
        self._fresh_starts.append((now, seconds))

    @property
    def startup_s(self) -> float:
        """What an instance takes to come up, in 19 cases of 20; nothing where it shares a loaded session."""
        resizing = self.live.resizing if self.live is not None else None
        if not self.starts or (resizing is not None and resizing.shared):
            return 0.0
        ordered = sorted(self.starts)
        return ordered[ceil(0.95 * len(ordered)) - 1]

    @property
    def wanted(self) -> int:
        """As it was decided last; 0 where nothing was."""
        return self.decision.instances if self.decision is not None else 0

    @property
    def ready(self) -> int:
        if self.live is None:
            return 0
        return self.live.resizing.ready if self.live.resizing is not None else 1

    @property
    def starting(self) -> int:
        resizing = self.live.resizing if self.live is not None else None
        return resizing.starting if resizing is not None else 0

    def pressed(self, lives: Sequence[Live]) -> bool:
        """Whether so much waits that the next tick is too late."""
        known = self.carrying.known if self.carrying is not None else None
        waiting = sum(each.executor.waiting for each in lives)
        return known is not None and waiting > max(1.0, self.ready * known.carries * known.wait_s / 2)

    def seen(self, lives: Sequence[Live], books: Sequence[Book], now: float) -> Seen:
        """What a decision is made of; while nothing has run, one instance is taken to carry anything."""
        missed, asked = self._demand.outcome(books, self.carrying.target_s if self.carrying else 0.0)
        capacity = self._capacity(books, missed, asked)
        if self.live is not None and self.live.resizing is not None:
            self.needs.look(self.live.resizing.sessions, sum(book.compute.sum for book in books))
        return Seen(
            now=now,
            series=self.series,
            waiting=sum(each.executor.waiting for each in lives),
            ready=self.ready,
            starting=self.starting,
            carries=capacity.carries if capacity is not None else ANYTHING,
            wait_s=capacity.wait_s if capacity is not None else 1.0,
            startup_s=self.startup_s,
            missed=missed,
            asked=asked,
        )

    def _capacity(self, books: Sequence[Book], missed: float, asked: float) -> Capacity | None:
        """As it is known now, after what happened since the last look."""
        if self.carrying is None or self.live is None:
            return self.carrying.known if self.carrying is not None else None
        version = self.live.state.version
        for book in books:
            if book.version == version:
                self.carrying.fed(book)
        if self.carrying.look() is not None and self.decision is not None:
            happened = Happened(self.ready, self.series.rate(10), self.decision.burst, asked, missed)
            self.carrying.learn(happened)
        return self.carrying.known

    @property
    def terms(self) -> Terms:
        """By model.toml, and what there is room for."""
        instances, scaling = self.spec.instances, self.spec.scaling
        # What was loaded a moment ago is not idle, however long ago the last request was.
        fresh = self.live is not None and self._looked - self._since < instances.idle_s
        return Terms(
            least=instances.least if fresh or instances.min is None else instances.min,
            most=self.most,
            idle_s=instances.idle_s,
            budget=scaling.budget,
            hold_s=scaling.hold_s,
            tick_s=self._tick_s,
            feedback=scaling.feedback,
            schedules=tuple(Schedule(each.cron, each.min, each.for_s) for each in scaling.schedule),
        )

    # -- what is remembered --------------------------------------------------------------------------

    def decided(self, decision: Decision, now: float) -> None:
        """Note a decision; those that change nothing are ticks, and no lines of the log."""
        if decision.carries >= ANYTHING:
            decision = replace(decision, carries=0.0, capacity=0.0, note=UNKNOWN)
        before, self.decision = self.decision, decision
        capacity = self.ready * decision.carries
        wanted = decision.instances
        self._ticks.append(Tick(now, decision.rate, decision.forecast, capacity, self.ready, wanted))
        if before is not None and before.instances == wanted:
            return
        told = Told(at=now, had=self.ready, wanted=wanted, by=decision.by, line=decision.line())
        self.told.appendleft(told)
        self._fresh_told.append(told)

    @property
    def history(self) -> History:
        """The last ticks, column by column."""
        return History(**{name: tuple(getattr(tick, name) for tick in self._ticks)
                          for name in History.__struct_fields__})  # fmt: skip

    def take(self, now: float) -> Fresh:
        """What is to be written down."""
        buckets = self.series.buckets(self._kept_to)
        fresh = Fresh(buckets, self._fresh_starts, self._fresh_told)
        self._kept_to, self._fresh_starts, self._fresh_told = now, [], []
        return fresh

    def give_back(self, fresh: Fresh) -> None:
        """It could not be written, and is taken again; what is most of it stays."""
        self._kept_to = min([self._kept_to, *(float(start) for start, _, _ in fresh.buckets)])
        self._fresh_starts = [*fresh.starts, *self._fresh_starts][-STARTS:]
        self._fresh_told = [*fresh.decisions, *self._fresh_told][-TOLD:]


def _scheduler(live: Live) -> Scheduler:
    executor = unwrap(live.executor)
    assert isinstance(executor, Scheduler)  # noqa: S101 - pipelines have no instances
    return executor
