"""Versions brought in and taken out: opened, put into the catalog, drained, closed."""

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic

from penstock.core.errors import PenstockError, Unsupported, one_line
from penstock.core.ports import Place
from penstock.metering.book import Book
from penstock.metering.ledger import Ledger
from penstock.repository.versions import natural
from penstock.repository.watch import Load
from penstock.serving.bringup import bring_up
from penstock.serving.catalog import Catalog, Live
from penstock.serving.footprint import Growth
from penstock.serving.loading import aside
from penstock.serving.opening import Before, Ground
from penstock.serving.pipeline.supply import Supply
from penstock.serving.residency import Residency
from penstock.serving.roster import Roster
from penstock.serving.variant import gains
from penstock.serving.wording import how

log = logging.getLogger("penstock.serving")


class Staging:
    """Lives on the event loop, at the lifecycle's side; writes the catalog."""

    def __init__(
        self,
        catalog: Catalog,
        ledger: Ledger,
        roster: Roster,
        residency: Residency,
        supply: Supply,
        place: Place | None = None,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._roster = roster
        self._residency = residency
        self._supply = supply
        self._ground = Ground(asyncio.Lock(), place)
        self.counts: Mapping[str, int] = {}
        """By model, the number of instances to begin with, where it follows the traffic; swapped whole."""
        self.doubles: set[Live] = set()
        """Versions that are loaded once more, beside those that serve."""
        self._growth = Growth()

    async def bring(self, order: Load) -> str:
        """Load a version and let it serve; the reason why not, or nothing."""
        key = (order.model, order.version)
        book = self._ledger.book(*key)
        start = monotonic()
        try:
            found = await gains(order.path)  # first: what is loaded must not be lost to a cancellation
            live = await self._bring_up(order, book)
        except Exception as error:  # noqa: BLE001 - whatever a model does, the others go on
            self._ledger.forget(*key)
            self._ledger.swaps.loaded(order.model, "error", monotonic() - start)
            reason = str(error) if isinstance(error, PenstockError) else one_line(error)
            log.error("model %s version %s is not served: %s", *key, reason)
            self._ledger.events.note(*key, "failed", reason)
            return reason
        book.waiting = lambda: live.executor.waiting
        self._ledger.swaps.loaded(order.model, "ok", monotonic() - start)
        if found:
            self._ledger.events.note(*key, "optimized", found)
        self._go_live(live)
        return ""

    async def _bring_up(self, order: Load, book: Book) -> Live:
        if order.spec.steps:
            return self._residency.came(await self._supply.bring_up(order, book), order, book, None)
        with self._growth.over() as grown:
            known = self._residency.inventory.warmth(order)
            serving = self._catalog.default(order.model)
            beside = serving.state.isolation if serving is not None else ""
            start = max(self.counts.get(order.model, 0), _instances(serving))
            before = Before(known, beside, start)
            live = await bring_up(order.spec, order.version, order.path, book, self._ground, before)
            return self._residency.came(live, order, book, grown())

    def _go_live(self, live: Live) -> None:
        state = live.state
        versions = [one.state.version for one in self._catalog if one.state.name == state.name]
        before = self._catalog.default(state.name)
        old = self._catalog.put(live, sorted({*versions, state.version}, key=natural))
        said = f"{how(state, live.executor.cap)}, in {state.load_seconds:.2f} s"
        self._ledger.events.note(state.name, state.version, "loaded", said)
        log.log(
            logging.WARNING if state.isolation and not state.run_ms else logging.INFO,
            "model %s version %s is live: %s, loaded in %.2f s%s",
            state.name,
            state.version,
            how(state, live.executor.cap),
            state.load_seconds,
            f" ({state.reason})" if state.reason else "",
        )
        if old is not None:
            self._ledger.events.note(state.name, state.version, "replaced", "by its files or settings anew")
            self.retire(old)
        self._turned(state.name, before)

    def _turned(self, model: str, before: Live | None) -> None:
        """Note it where another version answers now for those who name none."""
        now = self._catalog.default(model)
        old = before.state.version if before is not None else ""
        new = now.state.version if now is not None else ""
        if not new or old == new:
            return
        self._ledger.events.note(model, new, "live", f"instead of version {old}" if old else "")
        if old:
            self._ledger.events.note(model, old, "replaced", f"by version {new}")

    def retire(self, live: Live) -> None:
        """Take a version out; what it has accepted is answered before it is closed."""
        before = self._catalog.default(live.state.name)
        self._catalog.take_if(live)
        self._turned(live.state.name, before)
        if live not in self._roster.retiring:
            self._roster.retiring[live] = asyncio.create_task(self._drain(live))

    async def double(self, model: str, version: str) -> Live:
        """Load a version that serves once more; it answers only those who are sent to it.

        Raises Unsupported where there is no room to be had for it, and LoadFailed.
        """
        order = self._residency.inventory.order(model, version)
        if order is None or order.spec.steps:
            raise Unsupported(f"version {version} of model {model!r} cannot be loaded twice: a pipeline has "
                              "nothing of its own to load")  # fmt: skip
        if self._residency.limited:
            raise Unsupported("with memory.limit no version is loaded twice; leave the baseline out")
        book, serving = self._ledger.book(model, version), self._catalog.peek(model, version)
        known = serving.warmth if serving is not None else None  # or the two would be laid out by luck
        try:
            before = Before(known, start=_instances(serving))
            live = await bring_up(order.spec, version, order.path, book, self._ground, before)
        except BaseException:
            self._ledger.forget(model, version)
            raise
        self.doubles.add(live)
        return live

    def part(self, live: Live) -> None:
        """Drain and close a double."""
        if live in self.doubles:
            self.doubles.discard(live)
            self._roster.retiring[live] = asyncio.create_task(self._drain(live, double=True))

    async def _drain(self, live: Live, *, double: bool = False) -> None:
        if live.resizing is not None:
            live.resizing.halt()
        await live.executor.drain()
        if live.resizing is not None:
            await live.resizing.settled()
        live.executor.close()
        with self._growth.over():
            await aside(live.close)
        self._ledger.forget(live.state.name, live.state.version)
        if not double:
            self._ledger.events.note(live.state.name, live.state.version, "unloaded")
        del self._roster.retiring[live]
        self._residency.went(live)


def _instances(live: Live | None) -> int:
    """Those of a version that serves; 0 where their number does not move."""
    return live.resizing.ready if live is not None and live.resizing is not None else 0
