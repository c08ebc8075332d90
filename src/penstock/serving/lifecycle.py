"""Versions through their lives: load → live → drain → close, as the repository and the admin say."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import (
    LoadFailed,
    PenstockError,
    UnknownModel,
    UnknownVersion,
    Unsupported,
    one_line,
)
from penstock.core.loop import Runner
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState, State, Statistics
from penstock.metering.ledger import Ledger
from penstock.repository import watch
from penstock.repository.layout import ModelFolder
from penstock.repository.local import LocalStore
from penstock.repository.versions import natural
from penstock.serving.bringup import bring_up
from penstock.serving.catalog import Catalog, Live

log = logging.getLogger("penstock.serving")

Seen = tuple[Mapping[str, ModelFolder], float]
"""A scan, and the monotonic seconds at which it was made."""


class Lifecycle:
    """A control ``Loop`` over the repository, and the ``Models`` that doors ask; writes the catalog."""

    name = "repository"

    def __init__(
        self, store: LocalStore, catalog: Catalog, ledger: Ledger, *, poll: float = 1.0, settle: float = 1.0
    ) -> None:
        """``poll``: seconds between scans; ``settle``: seconds for which files must be unchanged."""
        self.every = poll
        self._store = store
        self._catalog = catalog
        self._ledger = ledger
        self._settle = settle
        self._runner: Runner[Seen, watch.Memory, watch.Order] = Runner(self, {})
        self._seen: Mapping[str, ModelFolder] = {}
        self._loading: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failed: dict[tuple[str, str], tuple[ModelSpec, str]] = {}
        self._retiring: dict[Live, asyncio.Task[None]] = {}
        self._overrides: dict[str, ModelSpec] = {}
        self._measuring = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._closing = False

    # -- life of its own -------------------------------------------------------------------------

    async def start(self, *, watching: bool = True) -> None:
        """Load all that is there; raises BadSetting if the repository cannot be read."""
        while True:  # what fails to load may leave an older version to be loaded in its place
            orders, self._runner.memory = watch.decide(*await self._scan(), 0.0)
            if not orders:
                break
            await self._carry_out(orders)
        self._started = True
        if watching:
            self._tasks = [asyncio.create_task(self._runner.run()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        """Drain and close every version; the doors have stopped before."""
        self._closing = True
        for task in (*self._tasks, *self._loading.values()):
            task.cancel()
        for live in list(self._catalog):
            self._retire(live)
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)

    def lame(self) -> None:
        """Readiness goes red; everything else goes on."""
        self._closing = True

    async def _listen(self) -> None:
        async for _ in self._store.changes():
            self._runner.wake()

    def expire(self, now: float) -> None:
        """Answer whoever's deadline has passed, in every version that still serves somebody."""
        for live in (*self._catalog, *self._retiring):
            live.scheduler.expire(now)

    # -- the loop --------------------------------------------------------------------------------

    async def observe(self) -> Seen:
        scan, _, now = await self._scan()
        return scan, now

    async def _scan(self) -> tuple[Mapping[str, ModelFolder], watch.Memory, float]:
        self._seen = await asyncio.to_thread(self._store.scan)
        there = {(name, version) for name, folder in self._seen.items() for version in folder.versions}
        self._failed = {key: why for key, why in self._failed.items() if key in there}
        self._know()
        return self._seen, self._runner.memory, monotonic()

    def _know(self) -> None:
        """Tell the catalog why a model that is in the repository does not serve."""
        self._catalog.known = {name: self._why_not(name) for name in self._seen}

    def _why_not(self, model: str) -> str:
        if any(name == model for name, _ in self._loading):
            return "it is loading"
        reasons = [reason for (name, _), (_, reason) in self._failed.items() if name == model]
        memory = self._runner.memory.get(model)
        if memory is not None and memory.held:
            return "it was unloaded; load it again"
        return reasons[-1] if reasons else self._seen[model].error or "it is about to be loaded"

    def decide(self, seen: Seen, memory: watch.Memory, /) -> tuple[list[watch.Order], watch.Memory]:
        scan, now = seen
        return watch.decide(scan, memory, now, self._settle)

    async def act(self, order: watch.Order, /) -> None:
        """Begins it; a slow load keeps nothing else waiting."""
        match order:
            case watch.Load(model, version):
                task = asyncio.create_task(self._load(order))
                self._loading[model, version] = task
                self._failed.pop((model, version), None)
            case watch.Unload(model, version):
                live = self._catalog.take(model, version)
                if live is not None:
                    self._retire(live)
                    log.info("model %s version %s: unloading", model, version)
            case watch.Report(model, reason):
                log.warning("model %s: %s", model, reason or "its folder is in order again")
            case watch.Forget(model):
                self._failed = {key: value for key, value in self._failed.items() if key[0] != model}
                self._overrides.pop(model, None)

    async def _carry_out(self, orders: Sequence[watch.Order]) -> None:
        """Begin orders and wait until what they load is live or has failed."""
        for order in orders:
            await self.act(order)
        keys = [(order.model, order.version) for order in orders if isinstance(order, watch.Load)]
        tasks = [self._loading[key] for key in keys if key in self._loading]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, order: watch.Load) -> None:
        key = (order.model, order.version)
        spec = self._overrides.get(order.model, order.spec)
        book = self._ledger.book(*key)
        try:
            live = await bring_up(spec, order.version, order.path, book, self._measuring)
        except Exception as error:  # noqa: BLE001 - whatever a model does, the others go on
            self._ledger.forget(*key)
            reason = str(error) if isinstance(error, PenstockError) else one_line(error)
            log.error("model %s version %s is not served: %s", *key, reason)
            self._failed[key] = (spec, reason)
            self._runner.memory = watch.failed(self._runner.memory, order)
        else:
            book.waiting = lambda: live.scheduler.waiting
            self._go_live(live)
            self._runner.memory = watch.applied(self._runner.memory, order)
        finally:
            self._loading.pop(key, None)
            self._know()
            self._runner.wake()

    def _go_live(self, live: Live) -> None:
        state = live.state
        versions = [one.state.version for one in self._catalog if one.state.name == state.name]
        old = self._catalog.put(live, sorted({*versions, state.version}, key=natural))
        log.info(
            "model %s version %s is live: %s, %s, %.3f ms a row, loaded in %.2f s%s",
            state.name,
            state.version,
            _where(state),
            f"batches to {live.scheduler.policy.cap}" if state.batched else "unbatched",
            state.run_ms,
            state.load_seconds,
            f" ({state.reason})" if state.reason else "",
        )
        if old is not None:
            self._retire(old)

    def _retire(self, live: Live) -> None:
        self._catalog.take_if(live)
        if live not in self._retiring:
            self._retiring[live] = asyncio.create_task(self._drain(live))

    async def _drain(self, live: Live) -> None:
        await live.scheduler.drain()
        live.scheduler.close()
        await asyncio.to_thread(live.session.close)
        self._ledger.forget(live.state.name, live.state.version)
        del self._retiring[live]

    # -- what doors ask --------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        if not self._started or self._closing:
            return False
        held = {name for name, memory in self._runner.memory.items() if memory.held}
        serving = all(self._catalog.newest(name) for name in self._seen if name not in held)
        return serving and not any(live.scheduler.broken for live in self._catalog)

    def state(self, model: str, version: str = "") -> ModelState:
        newest = self._catalog.newest(model)
        if newest is not None and version in ("", newest.state.version):
            return _state(newest, live=True)
        mine = [state for state in self.states() if state.name == model]
        for state in reversed(mine):
            if version in ("", state.version):
                return state
        if mine:
            have = ", ".join(state.version for state in mine)
            raise UnknownVersion(f"model {model!r} has no version {version!r}; have {have}")
        raise UnknownModel(f"no model {model!r}; have {', '.join(sorted(self._seen)) or 'none'}")

    def states(self) -> list[ModelState]:
        found = {(state.name, state.version): state for state in self._all_states()}
        return [found[key] for key in sorted(found, key=lambda key: (key[0], natural(key[1])))]

    def _all_states(self) -> Iterator[ModelState]:
        """Later ones win: what serves says more than what failed or is on its way."""
        for name, folder in self._seen.items():
            spec = folder.spec or ModelSpec(name=name)
            if not folder.versions:
                yield _unavailable(spec, "", "UNAVAILABLE", folder.error)
            for version in folder.versions:
                yield _unavailable(spec, version, "UNAVAILABLE", folder.error or "unloaded")
        for (_, version), (spec, reason) in self._failed.items():
            yield _unavailable(spec, version, "UNAVAILABLE", reason)
        for live in self._retiring:
            yield replace(_state(live, live=False), state="UNLOADING")
        for name, version in self._loading:
            yield _unavailable(self._seen[name].spec or ModelSpec(name=name), version, "LOADING", "")
        for live in self._catalog:
            yield _state(live, live=self._catalog.newest(live.state.name) is live)

    def statistics(self, model: str = "", version: str = "") -> Sequence[Statistics]:
        if model:
            self.state(model, version)
        return self._ledger.statistics(model, version)

    async def load(self, model: str, parameters: Mapping[str, Any] | None = None) -> None:
        override = _override(model, parameters or {})
        await self._scan()
        folder = self._seen.get(model)
        if folder is None:
            raise UnknownModel(f"no model {model!r} in the repository; have {', '.join(sorted(self._seen))}")
        if folder.spec is None or not folder.versions:
            raise LoadFailed(f"model {model!r} cannot be loaded: {folder.error}")
        if override is None:
            self._overrides.pop(model, None)
        else:
            self._overrides[model] = override
            folder = replace(folder, spec=override)
        await self._order(model, folder, watch.release(self._runner.memory, model))
        newest = self._catalog.newest(model)
        failures = [reason for (name, _), (_, reason) in self._failed.items() if name == model]
        if newest is None or failures:
            raise LoadFailed("; ".join(failures) or f"model {model!r} is not serving")

    async def unload(self, model: str) -> None:
        if model not in self._seen and self._catalog.newest(model) is None:
            raise UnknownModel(f"no model {model!r}; have {', '.join(sorted(self._seen))}")
        retiring = [live for live in self._catalog if live.state.name == model]
        await self._order(model, self._seen.get(model), watch.hold(self._runner.memory, model))
        self._know()
        await asyncio.gather(*(self._retiring[live] for live in retiring if live in self._retiring))

    async def _order(self, model: str, folder: ModelFolder | None, memory: watch.Memory) -> None:
        orders, after = watch.decide_one(model, folder, memory[model], monotonic(), 0.0)
        self._runner.memory = {**memory, model: after}
        await self._carry_out(orders)


def _state(one: Live, /, **changes: Any) -> ModelState:
    broken = one.scheduler.broken
    return replace(
        one.state,
        batch_cap=one.scheduler.policy.cap,
        reason=f"the batch policy failed: {broken}" if broken else one.state.reason,
        **changes,
    )


def _where(state: ModelState) -> str:
    if state.isolation == "inline":
        return f"in the loop on {state.device}"
    kind = "processes" if state.isolation == "process" else "instances"
    return f"{state.instances} {kind} × {state.threads} threads on {state.device}"


def _unavailable(spec: ModelSpec, version: str, state: State, reason: str) -> ModelState:
    return ModelState(name=spec.name, version=version, state=state, reason=reason, spec=spec)


def _override(model: str, parameters: Mapping[str, Any]) -> ModelSpec | None:
    """The spec in a load request's ``config`` parameter (Triton's ModelConfig as a JSON string)."""
    files = [key for key in parameters if key.startswith("file:")]
    if files:
        raise Unsupported(f"parameter {files[0]!r} is not offered; put the file in the repository")
    config = parameters.get("config")
    if config is None:
        return None
    from penstock.repository import triton

    spec, warnings = triton.from_json(config)
    for warning in warnings:
        log.warning("model %s: %s", model, warning)
    return replace(spec, name=model)
