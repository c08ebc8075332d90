"""Cold models are loaded when they are asked for; where memory is limited, others make room."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from sys import maxsize
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from penstock.core import machine
from penstock.core.errors import LoadFailed
from penstock.core.schema import nearest
from penstock.core.sizes import show
from penstock.core.types import ModelState
from penstock.metering.book import Book
from penstock.metering.swaps import Swaps
from penstock.repository.watch import Load, Order
from penstock.serving import memory
from penstock.serving.catalog import Catalog, Live
from penstock.serving.inventory import Inventory
from penstock.serving.memory import Rules, Wanted
from penstock.serving.waiting import Waiting

log = logging.getLogger("penstock.memory")

BUSY = 12
"""Models unloaded within a minute from which on the log says that the limit is too tight."""
_MINUTE = 60.0
_ROOM = 5.0
"""Seconds that a reload waits for the room that it asked for."""


class Deeds(Struct, frozen=True):
    """What the lifecycle does for us."""

    bring: Callable[[Load], Awaitable[str]]
    """Load a version; the reason why not, or nothing."""
    retire: Callable[[Live, str], None]
    """Take a version out, for this reason, drain and close it."""
    lost: Callable[[Load, str], Awaitable[None]]
    """A version will not be loaded, for this reason; an older one may take its place."""
    retiring: Callable[[], list[Live]]
    """Versions that are drained at present."""


class Residency:
    """Lives on the event loop; without a limit only those models are cold that were parked."""

    def __init__(self, rules: Rules, catalog: Catalog, swaps: Swaps, deeds: Deeds) -> None:
        self.limited = rules.limit > 0
        swaps.limit = rules.limit
        self._rules = rules = rules if self.limited else replace(rules, limit=maxsize)
        self._catalog = catalog
        self._swaps = swaps
        self._deeds = deeds
        self.inventory = Inventory(rules, catalog, deeds.retiring)
        self._waiting = Waiting()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._pumping: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: deque[tuple[float, Wanted]] = deque()
        self._warned = -inf

    # -- what the lifecycle tells ------------------------------------------------------------------

    def ordered(self, order: Load) -> None:
        """A version is to be served, or its files have changed."""
        self.inventory.ordered(order)
        self._waiting.rested(order.model)
        self._changed.set()

    def sorted(self, orders: Sequence[Order]) -> list[Order]:
        """Of a start: models that are kept come first, while there is room."""
        return sorted(orders, key=lambda order: order.model not in self._rules.keep)

    def check_names(self, models: Collection[str]) -> None:
        """Say so where a model is to be kept that there is not."""
        for name in self._rules.keep:
            if name not in models:
                log.warning("memory.keep: no model %r; %s", name, nearest(name, list(models)))

    def came(self, live: Live, order: Load, book: Book, grown: int | None) -> Live:
        """A version serves from now on; the same, knowing its size (``grown``: by how many bytes we did)."""
        return self.inventory.came(live, order, book, grown, monotonic())

    def failed(self, model: str, version: str) -> None:
        """It would not load; what serves of it goes on, and may not be unloaded to make room.

        Of a version on trial nothing is left.
        """
        shelf = self._catalog.table.get(model)
        if shelf is not None and (version in shelf.versions or not self._catalog.divided(model)):
            self.inventory.stuck(model)
        else:
            self.dropped(model, version)

    def dropped(self, model: str, version: str) -> None:
        """A version is no longer to be served."""
        self.inventory.dropped(model, version)
        self._changed.set()

    def forget(self, model: str) -> None:
        """The model's folder is gone."""
        self.inventory.forget(model)
        self._waiting.rested(model)
        self._swaps.forget(model)
        self._changed.set()

    def went(self, live: Live) -> None:
        """A version has given its memory back."""
        self.inventory.went(live)
        self._changed.set()

    def turn(self, order: Load) -> AbstractAsyncContextManager[None]:
        """Held while a version is loaded: one at a time where memory is limited, for it is measured.

        Pipelines have no memory of their own, and may wait for their steps to be loaded.
        """
        return self._turn if self.limited and not order.spec.steps else nullcontext()

    async def admits(self, order: Load) -> bool:
        """Whether to load it now, rather than at its first request; makes room for a reload.

        Raises LoadFailed for a model that can never be loaded within the limit.
        """
        model = order.model
        if order.spec.steps:
            return True
        if not self.limited:
            return model in self._catalog.table or model not in self.inventory.parked
        need, residents = self.inventory.need(model), self.inventory.residents(monotonic())
        if model in self._catalog.table:
            self._check_trial(model, need)
            await self._make_room(model, need)
            return True
        if reason := memory.too_large(model, need, residents, self._rules):
            raise LoadFailed(reason)
        if model not in self.inventory.parked and memory.fits(need, residents, self._rules):
            return True
        self.inventory.parked.add(model)
        log.info("model %s version %s is cold: the first request for it loads it", model, order.version)
        return False

    def _check_trial(self, model: str, need: int) -> None:
        """Raises LoadFailed where a version on trial is too large to be there beside the one that answers."""
        lives = self._catalog.table[model].versions.values()
        beside = sum(map(self.inventory.size, lives))
        if self._catalog.divided(model) and (reason := self._too_large(model, beside + need)):
            raise LoadFailed(f"no room for two versions: {reason}")

    async def _make_room(self, model: str, need: int) -> None:
        """For a version beside the one that it replaces; where there is none, both are there for a while."""
        going = memory.shrink(self.inventory.residents(monotonic()), self._rules, model, need)
        leaving = {live for name in going for live in self._catalog.table[name].versions.values()}
        for name in going:
            self._evict(name)
        end = monotonic() + _ROOM
        while monotonic() < end and leaving.intersection(self._deeds.retiring()):
            await self._sleep(end)

    def settle(self, model: str) -> None:
        """After a load that nobody waited for: a model that took more than expected becomes cold."""
        if not self.limited or self._ruled_out(model):
            return
        residents = self.inventory.residents(monotonic())
        kept = self._catalog.divided(model) or any(one.kept for one in residents if one.model == model)
        if memory.total(residents) > self._rules.limit and not kept and model in self._catalog.table:
            self._evict(model)

    def shrink(self, spared: str = "") -> None:
        """Unload what is over the limit, because models have grown or are larger than expected."""
        if self.limited:
            for model in memory.shrink(self.inventory.residents(monotonic()), self._rules, spared):
                self._evict(model)

    async def close(self) -> None:
        """Nothing is loaded any more."""
        tasks = [*self._tasks, *([self._pumping] if self._pumping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def has_room(self, model: str) -> bool:
        """Whether a cold model can be loaded without anybody going, and nobody waits for it yet."""
        if any(waited == model for waited, _ in self._waiting.lines()):
            return False
        residents = self.inventory.residents(monotonic())
        return not self.limited or memory.fits(self.inventory.need(model), residents, self._rules)

    def room(self) -> float:
        """Bytes that may be taken for more instances."""
        free = machine.free_memory() * machine.SHARE or inf
        if not self.limited:
            return free
        return min(free, self._rules.limit - memory.total(self.inventory.residents(monotonic())))

    def park(self, model: str, why: str) -> None:
        """Unload a model that is not needed; the next request for it loads it."""
        self.inventory.parked.add(model)
        for live in list(self._catalog.table[model].versions.values()):
            self._deeds.retire(live, why)
        log.info("model %s: unloaded, %s; the next request for it loads it", model, why)

    # -- what requests ask -------------------------------------------------------------------------

    def holds(self, model: str, version: str = "") -> bool:
        """Whether a request that finds nobody will, once the model is loaded."""
        return any(version in ("", order.version) for order in self.inventory.cold(model))

    def states(self) -> Iterator[ModelState]:
        """Of every cold version."""
        return self.inventory.states(self._trouble)

    def _trouble(self, model: str) -> str:
        """Why a request for a cold model would be refused; empty where it would not."""
        return self._waiting.resting(model) or self._too_large(model, self.inventory.need(model))

    def _too_large(self, model: str, size: int) -> str:
        return memory.too_large(model, size, self.inventory.residents(monotonic()), self._rules)

    def ready(self, model: str) -> bool:
        """Whether it is cold, and a request would be tried."""
        return self.holds(model) and not self._trouble(model)

    async def wait(self, model: str, rows: int = 1, deadline: float = inf) -> None:
        """Until a cold model has been loaded; it may be gone again, so look.

        Raises ModelNotReady, Overloaded or DeadlineExceeded (``deadline``: monotonic seconds).
        """
        cold = self.inventory.cold(model)
        if not cold:
            return
        waiter = self._waiting.join(model, rows, deadline, cold[0].spec.queue.max_rows)
        self._changed.set()
        if self._pumping is None or self._pumping.done():
            self._pumping = asyncio.create_task(self._pump())
        began = monotonic()
        try:
            await self._waiting.wait(model, waiter)
        finally:
            self._changed.set()
            if rows:
                self._swaps.waited(model, monotonic() - began)

    def nudge(self, model: str) -> None:
        """Load a cold model although no request waits for it."""
        task = asyncio.create_task(self.wait(model, 0, monotonic() + _MINUTE))
        self._tasks.add(task)
        task.add_done_callback(self._nudged)

    def _nudged(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asks next hears of it

    # -- one thing after another -------------------------------------------------------------------

    async def _pump(self) -> None:
        """Load what is wanted, one model at a time, until nobody waits."""
        while wanted := self._wanted():
            self._changed.clear()
            now = monotonic()
            match memory.decide(self.inventory.residents(now), wanted, self._rules, now):
                case memory.Load(model):
                    await self._load(model)
                case memory.Evict(models):
                    for model in models:
                        self._evict(model)
                case memory.Refuse(model, reason):
                    self._waiting.fail(model, reason)
                case memory.Wait(until):
                    await self._sleep(until)

    async def _sleep(self, until: float) -> None:
        """Until then (monotonic seconds), or until something changes."""
        try:
            async with asyncio.timeout(None if until == inf else max(0.0, until - monotonic())):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def _wanted(self) -> list[Wanted]:
        found: list[Wanted] = []
        for model, deadline in self._waiting.lines():
            if self.inventory.cold(model):
                found.append(Wanted(model=model, bytes=self.inventory.need(model), deadline=deadline))
            else:
                self._waiting.release(model)  # it was loaded otherwise, or is not to be served any more
        return found

    async def _load(self, model: str) -> None:
        """Bring all versions of a cold model up, the newest first."""
        reason = ""
        tried = self.inventory.cold(model)
        for order in tried:
            async with self._turn:
                why = await self._deeds.bring(order)
            if why and not self.inventory.was(order):
                await self._deeds.lost(order, why)
            reason = reason or why
        if model in self._catalog.table:
            await self._loaded(model, reason)
        elif all(order in tried for order in self.inventory.cold(model)):
            self._waiting.fail(model, reason)

    async def _loaded(self, model: str, reason: str) -> None:
        if reason:
            self._waiting.rest(model, reason)  # those who want the version that is missing hear of it
        else:
            self._waiting.rested(model)
            self.inventory.parked.discard(model)
        if not self._ruled_out(model):
            self._waiting.release(model)
            self.shrink(model)
        await asyncio.sleep(0)  # those who waited are let in before anybody can be sent out

    def _ruled_out(self, model: str) -> bool:
        """Whether it turned out too large for the limit, now that it is measured; then it goes.

        Not so while a version is on trial: the one that answers must not go because of it.
        """
        if self._catalog.divided(model):
            return False
        residents = self.inventory.residents(monotonic())
        size = sum(one.bytes for one in residents if one.model == model and not one.leaving)
        reason = self._too_large(model, size)
        if reason:
            log.error("model %s is not served: %s", model, reason)
            self._evict(model)
            self._waiting.fail(model, reason)
        return bool(reason)

    def _evict(self, model: str) -> None:
        now = monotonic()
        lives = list(self._catalog.table[model].versions.values())
        size = sum(map(self.inventory.size, lives))
        self.park(
            model, f"to make room: memory.limit is {show(self._rules.limit)}, and it takes {show(size)}"
        )
        self._swaps.evicted(model)
        self._gone.append((now, Wanted(model=model, bytes=size)))
        self._warn(now)

    def _warn(self, now: float) -> None:
        """Say so, once a minute at most, when models come and go all the time."""
        while self._gone and self._gone[0][0] < now - _MINUTE:
            self._gone.popleft()
        if len(self._gone) < BUSY or now - self._warned < _MINUTE:
            return
        self._warned = now
        gone = [one for _, one in self._gone]
        size, names = memory.working_set(self.inventory.residents(now), gone, now - _MINUTE)
        log.warning(
            "%d models were unloaded within a minute to make room; memory.limit is %s, "
            "and %s would hold the models that were used: %s",
            *(len(gone), show(self._rules.limit), show(size), ", ".join(names)),
        )
