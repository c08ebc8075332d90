"""Versions through their lives: load → live → drain → close, as the repository and the admin say."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from math import inf
from time import monotonic
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import (
    LoadFailed,
    PenstockError,
    UnknownModel,
    Unsupported,
)
from penstock.core.loop import Runner
from penstock.core.ports import Place
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState, Statistics, Tensors
from penstock.metering.ledger import Ledger
from penstock.repository import watch
from penstock.repository.layout import ModelFolder
from penstock.repository.local import LocalStore
from penstock.serving.catalog import Catalog, Live
from penstock.serving.cold import Cold
from penstock.serving.gateway import Gateway
from penstock.serving.memory import Rules
from penstock.serving.override import instead, override
from penstock.serving.pipeline.supply import Supply, read
from penstock.serving.recording import join, recording_of
from penstock.serving.residency import Deeds, Residency
from penstock.serving.roster import Roster
from penstock.serving.staging import Staging

log = logging.getLogger("penstock.serving")

Seen = tuple[Mapping[str, ModelFolder], float]
"""A scan, and the monotonic seconds at which it was made."""


class Lifecycle:
    """A control ``Loop`` over the repository, and the ``Models`` that doors ask; writes the catalog."""

    name = "repository"

    def __init__(
        self,
        store: LocalStore,
        catalog: Catalog,
        ledger: Ledger,
        *,
        poll: float = 1.0,
        settle: float = 1.0,
        rules: Rules | None = None,
        place: Place | None = None,
    ) -> None:
        """``poll``: seconds between scans; ``settle``: seconds for which files must be unchanged.

        ``rules``: the limit on memory; without them, there is none.
        ``place``: where else than on this machine models may run.
        """
        self.every = poll
        self._store = store
        self._catalog = catalog
        self._ledger = ledger
        self._settle = settle
        self._runner: Runner[Seen, watch.Memory, watch.Order] = Runner(self, {})
        self._roster = Roster(catalog)
        self._overrides: dict[str, ModelSpec] = {}
        deeds = Deeds(self._bring, self._evict, self._lost, lambda: list(self._roster.retiring))
        self._residency = Residency(rules or Rules(), catalog, ledger.swaps, deeds)
        self._roster.cold = self._residency.states
        self.cold = Cold(catalog, self._residency)
        """For the gateway: models that their first request loads."""
        gateway = Gateway(catalog, ledger.refused, self.cold)
        self._supply = Supply(catalog, self._roster, self._residency, self.cold, gateway)
        self._staging = Staging(catalog, ledger, self._roster, self._residency, self._supply, place)
        self.direct: Callable[[Mapping[str, ModelFolder]], Mapping[str, ModelFolder]] = dict
        """Makes of a scan what is to be seen of it: rollouts say which versions are wanted."""
        self.loaded: Callable[[], object] = bool
        """Told when a version has been loaded, or would not load."""
        self.double, self.part = self._staging.double, self._staging.part
        """For comparisons: load a version once more, and let go of it."""
        self._tasks: list[asyncio.Task[None]] = []
        """Those that watch."""
        self._looks: set[asyncio.Task[None]] = set()
        self._started = False
        self._closing = False

    # -- life of its own -------------------------------------------------------------------------

    async def start(self, *, watching: bool = True) -> None:
        """Load all that is there; raises BadSetting if the repository cannot be read."""
        while True:  # what fails to load may leave an older version to be loaded in its place
            orders, self._runner.memory = watch.decide(*await self._scan(), 0.0)
            if not orders and not self._roster.loading:
                break
            await self._carry_out(self._residency.sorted(orders))
            if self._roster.loading:  # pipelines whose models have come
                await asyncio.wait(self._roster.loading.values())
        self._residency.check_names(self._roster.seen)
        self._started = True
        if watching:
            self._tasks = [asyncio.create_task(self._runner.run()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        """Drain and close every version; the doors have stopped before."""
        self._closing = True
        for task in (*self._tasks, *self._looks, *self._roster.loading.values()):
            task.cancel()
        await self._residency.close()
        for live in list(self._catalog):
            self._staging.retire(live)
        for live in list(self._staging.doubles):
            self._staging.part(live)
        await asyncio.gather(*self._roster.retiring.values(), return_exceptions=True)

    def lame(self) -> None:
        """Readiness goes red; everything else goes on."""
        self._closing = True

    async def rescan(self) -> None:
        """See at once what has come into the repository; nothing is loaded for it."""
        await self._scan()

    def look_again(self, model: str) -> None:
        """Other versions of a model are wanted than before."""
        self._runner.wake()
        if self._started and not self._tasks:  # nobody watches
            task = asyncio.create_task(self._look_at(model))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look_at(self, model: str) -> None:
        await self._scan()
        if model in self._runner.memory:
            await self._order(model, self._roster.seen.get(model), self._runner.memory)

    def begin_with(self, counts: Mapping[str, int]) -> None:
        """By model, how many instances to load, where their number follows the traffic."""
        self._staging.counts = counts

    def room(self) -> float:
        """Bytes that may be taken for more instances, within what is free and within ``memory.limit``."""
        return self._residency.room()

    def park(self, model: str, why: str) -> None:
        """Unload a model that is not needed until a request asks for it.

        Not while a version is on trial, nor one that is kept, or whose files would not load again.
        """
        if self._catalog.peek(model) is None or self._catalog.divided(model):
            return
        if not self._residency.inventory.stays(model):
            self._residency.park(model, why)

    def unpark(self, model: str) -> None:
        """Load a cold model before it is asked for, where there is room without anybody going."""
        if self._residency.holds(model) and self._residency.has_room(model):
            self._residency.nudge(model)

    def retry(self, model: str, version: str) -> None:
        """Try a version again that would not load."""
        if self._roster.failed.pop((model, version), None) is not None:
            self._runner.memory = watch.again(self._runner.memory, model, version)

    def why_not(self, model: str, version: str) -> str:
        """Why a version would not load; empty where nothing is known against it."""
        return self._roster.failed.get((model, version), (None, ""))[1]

    async def _listen(self) -> None:
        async for _ in self._store.changes():
            self._runner.wake()

    def expire(self, now: float) -> bool:
        """Answer whoever's deadline has passed, in every version; whether any of them is at work."""
        lives = (*self._catalog, *self._staging.doubles, *self._roster.retiring)
        busy = [live.executor for live in lives if not live.executor.idle]
        for executor in busy:
            executor.expire(now)
        return bool(busy)

    # -- the loop --------------------------------------------------------------------------------

    async def observe(self) -> Seen:
        scan, _, now = await self._scan()
        self._residency.shrink()
        return scan, now

    async def _scan(self) -> tuple[Mapping[str, ModelFolder], watch.Memory, float]:
        self._roster.saw(self.direct(await asyncio.to_thread(self._store.scan)))
        self._tell()
        return self._roster.seen, self._runner.memory, monotonic()

    def _tell(self) -> None:
        self._roster.tell(self._held())

    def _held(self) -> set[str]:
        """Models that were unloaded over the API."""
        return {name for name, memory in self._runner.memory.items() if memory.held}

    def decide(self, seen: Seen, memory: watch.Memory, /) -> tuple[list[watch.Order], watch.Memory]:
        scan, now = seen
        return watch.decide(scan, memory, now, self._settle)

    async def act(self, order: watch.Order, /) -> None:
        """Begins it; a slow load keeps nothing else waiting."""
        match order:
            case watch.Load(model, version):
                task = asyncio.create_task(self._load(order))
                self._roster.loading[model, version] = task
                self._roster.failed.pop((model, version), None)
            case watch.Unload(model, version):
                self._residency.dropped(model, version)
                live = self._catalog.peek(model, version)
                if live is not None:
                    self._staging.retire(live)
                    log.info("model %s version %s: unloading", model, version)
                    await self._tell_pipelines(model)
            case watch.Report(model, reason):
                if reason:
                    log.error("model %s: %s", model, reason)
                else:
                    log.info("model %s: its folder is in order again", model)
            case watch.Forget(model):
                self._roster.forget(model)
                self._residency.forget(model)
                self._overrides.pop(model, None)

    async def _carry_out(self, orders: Sequence[watch.Order]) -> None:
        """Begin orders and wait until what they load is live or has failed."""
        for order in orders:
            await self.act(order)
        keys = [(order.model, order.version) for order in orders if isinstance(order, watch.Load)]
        tasks = [self._roster.loading[key] for key in keys if key in self._roster.loading]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, order: watch.Load) -> None:
        key = (order.model, order.version)
        order = instead(order, self._overrides.get(order.model))
        try:
            order, reason = await read(order)
            self._residency.ordered(order)
            if reason:
                self._ledger.events.note(*key, "failed", reason)
            else:
                async with self._residency.turn(order):
                    reason = await self._bring_or_put_off(order)
            if reason:
                self._roster.failed[key] = (order.spec, reason)
                self._residency.failed(*key)
                self._runner.memory = watch.failed(self._runner.memory, order)
            else:
                self._runner.memory = watch.applied(self._runner.memory, order)
                self._residency.settle(order.model)
        finally:
            self._roster.loading.pop(key, None)
            self._tell()
            self._runner.wake()
            self.loaded()

    async def _bring_or_put_off(self, order: watch.Load) -> str:
        try:
            admitted = await self._residency.admits(order)
        except LoadFailed as error:
            log.error("model %s version %s is not served: %s", order.model, order.version, error)
            self._ledger.events.note(order.model, order.version, "failed", str(error))
            return str(error)
        return await self._bring(order) if admitted else ""

    async def _bring(self, order: watch.Load) -> str:
        """Load a version and let it serve; the reason why not, or nothing."""
        reason = await self._staging.bring(order)
        if not reason:
            await self._tell_pipelines(order.model)
        return reason

    def _evict(self, live: Live, why: str) -> None:
        self._ledger.events.note(live.state.name, live.state.version, "evicted", why)
        self._staging.retire(live)

    async def _tell_pipelines(self, model: str) -> None:
        """Bring those up, or up anew, for which another version of a model matters."""
        for name, version in self._supply.affected(model):
            folder = self._roster.seen.get(name)
            if folder is None or name in self._held():
                continue
            memory = watch.again(self._runner.memory, name, version)
            orders, after = watch.decide_one(name, folder, memory[name], monotonic(), 0.0)
            self._runner.memory = {**memory, name: after}
            for order in orders:
                await self.act(order)

    async def _lost(self, order: watch.Load, reason: str) -> None:
        """A version that was put off will not be loaded; an older one may take its place."""
        model, folder = order.model, self._roster.seen.get(order.model)
        self._residency.dropped(model, order.version)
        if folder is not None and model in self._runner.memory:
            self._roster.failed[model, order.version] = (order.spec, reason)
            await self._order(model, folder, watch.lost(self._runner.memory, order))
        self._tell()

    # -- what doors ask --------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        if not self._started or self._closing:
            return False
        wanted = self._roster.seen.keys() - self._held()
        serving = all(self._catalog.default(name) or self._residency.ready(name) for name in wanted)
        return serving and not any(live.executor.trouble for live in self._catalog)

    @property
    def memory_limit(self) -> int:
        return self._ledger.swaps.limit

    def state(self, model: str, version: str = "") -> ModelState:
        return self._roster.state(model, version)

    def states(self) -> list[ModelState]:
        return self._roster.states()

    def statistics(self, model: str = "", version: str = "") -> Sequence[Statistics]:
        if model:
            self.state(model, version)
        return self._ledger.statistics(model, version)

    async def describe(self, model: str, version: str = "") -> ModelState:
        state = self.state(model, version)
        if state.state == "COLD" and not state.platform:
            await self.cold.load(model, version, 1, inf)
        return self.state(model, version)

    async def samples(self, model: str, version: str = "") -> Sequence[Tensors]:
        state = self.state(model, version)
        if not state.spec.record.requests:
            raise Unsupported(
                f"model {model!r} keeps no requests; set 'requests' under [record] in its model.toml"
            )
        live = self._catalog.peek(model, state.version)
        recording = recording_of(live.executor) if live is not None else None
        kept = recording.inputs() if recording is not None else []
        return await asyncio.to_thread(join, kept, batched=state.batched)

    async def load(self, model: str, parameters: Mapping[str, Any] | None = None) -> None:
        spec = override(model, parameters or {})
        await self._scan()
        folder = self._roster.seen.get(model)
        if folder is None:
            raise UnknownModel(
                f"no model {model!r} in the repository; have {', '.join(sorted(self._roster.seen))}"
            )
        if folder.spec is None or not folder.versions:
            raise LoadFailed(f"model {model!r} cannot be loaded: {folder.error}")
        if spec is None:
            self._overrides.pop(model, None)
        else:
            self._overrides[model] = spec
            folder = replace(folder, spec=spec)
        await self._order(model, folder, watch.release(self._runner.memory, model))
        failures = self._roster.failures(model)
        if self._residency.holds(model) and not failures:
            await self._warm(model)
        if self._catalog.default(model) is None or failures:
            raise LoadFailed("; ".join(failures) or f"model {model!r} is not serving")

    async def _warm(self, model: str) -> None:
        """Load what the memory budget has put off; others go where there is no room."""
        try:
            await self.cold.load(model, "", 1, inf)
        except PenstockError as error:
            raise LoadFailed(str(error)) from None

    async def unload(self, model: str) -> None:
        if model not in self._roster.seen and self._catalog.default(model) is None:
            raise UnknownModel(f"no model {model!r}; have {', '.join(sorted(self._roster.seen))}")
        retiring = [live for live in self._catalog if live.state.name == model]
        await self._order(model, self._roster.seen.get(model), watch.hold(self._runner.memory, model))
        self._tell()
        await asyncio.gather(
            *(self._roster.retiring[live] for live in retiring if live in self._roster.retiring)
        )

    async def _order(self, model: str, folder: ModelFolder | None, memory: watch.Memory) -> None:
        orders, after = watch.decide_one(model, folder, memory[model], monotonic(), 0.0)
        self._runner.memory = {**memory, model: after}
        first = [order for order in orders if self._answers(order)]
        for some in (first, [order for order in orders if order not in first]):
            await self._carry_out(some)

    def _answers(self, order: watch.Order) -> bool:
        """Whether it loads the version that is to answer, before which no other one is to be there."""
        return isinstance(order, watch.Load) and order.version == self._catalog.chosen(order.model)
