"""Which models are in memory and which are cold, what each takes, and what is known of the cold ones."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.types import ModelState
from penstock.metering.book import Book
from penstock.repository.versions import natural
from penstock.repository.watch import Load
from penstock.serving.catalog import Catalog, Live
from penstock.serving.check import Check
from penstock.serving.footprint import Size, Sizes
from penstock.serving.memory import Resident, Rules, total
from penstock.serving.warmup import Warm

Key = tuple[str, str]


class Known(Struct, frozen=True):
    """What a version was when it was in memory."""

    state: ModelState
    check: Check
    warmth: Warm | None = None


class Loaded(Struct, frozen=True):
    """A version in memory: its book, and since when (monotonic seconds)."""

    book: Book
    since: float


class Inventory:
    """Lives on the event loop; ``retiring`` tells which versions are drained at present."""

    def __init__(self, rules: Rules, catalog: Catalog, retiring: Callable[[], list[Live]]) -> None:
        self._rules = rules
        self._catalog = catalog
        self._retiring = retiring
        self._orders: dict[str, dict[str, Load]] = {}
        """What loads each version of each model that is wanted here, be it in memory or cold."""
        self._loaded: dict[Live, Loaded] = {}
        self._known: dict[Key, Known] = {}
        self._sizes = Sizes()
        self._stuck: set[str] = set()
        self.parked: set[str] = set()
        """Models that are cold, or were until the load that is going on."""

    # -- what comes and goes -----------------------------------------------------------------------

    def ordered(self, order: Load) -> None:
        """A version is to be served, or its files have changed."""
        orders = self._orders.setdefault(order.model, {})
        before = orders.get(order.version)
        if before is not None and before.fingerprint != order.fingerprint:
            self._known.pop((order.model, order.version), None)
        orders[order.version] = order

    def dropped(self, model: str, version: str) -> None:
        """A version is no longer to be served."""
        self._orders.get(model, {}).pop(version, None)
        self._known.pop((model, version), None)

    def forget(self, model: str) -> None:
        """The model's folder is gone."""
        for version in self._orders.pop(model, {}):
            self._known.pop((model, version), None)
        self.parked.discard(model)
        self._stuck.discard(model)
        self._sizes.forget(model)

    def stuck(self, model: str) -> None:
        """It serves, but its files would not load again: it must not be unloaded to make room."""
        self._stuck.add(model)

    def stays(self, model: str) -> bool:
        """Whether it must not be unloaded: it is kept, or would not load again."""
        return model in self._rules.keep or model in self._stuck

    def came(self, live: Live, order: Load, book: Book, grown: int | None, now: float) -> Live:
        """A version serves from now on; the same, knowing its size."""
        if not order.spec.steps:
            self._sizes.note(order, live.state.platform, grown, live.resident())
        size = self._expect(order)
        live = replace(
            live, state=replace(live.state, memory_bytes=size.bytes, memory_measured=size.measured)
        )
        self._known[order.model, order.version] = Known(live.state, live.check, live.warmth)
        self._loaded[live] = Loaded(book, now)
        self._stuck.discard(order.model)
        return live

    def went(self, live: Live) -> None:
        """A version has given its memory back."""
        self._loaded.pop(live, None)

    # -- what is cold --------------------------------------------------------------------------------

    def absent(self, model: str) -> list[Load]:
        """What would load the versions that are not in memory: the one that is to answer, then the newest."""
        live, chosen = self._live(model), self._catalog.chosen(model)
        orders = self._orders.get(model, {})
        versions = sorted(orders, key=lambda version: (version == chosen, natural(version)))[::-1]
        return [orders[version] for version in versions if version not in live]

    def cold(self, model: str) -> list[Load]:
        """The same, of a model that a request would load; empty for others."""
        return self.absent(model) if model in self.parked else []

    def _live(self, model: str) -> Mapping[str, Live]:
        shelf = self._catalog.table.get(model)
        return shelf.versions if shelf else {}

    def known(self, model: str, version: str = "") -> Known | None:
        """Of the cold version that would answer; None where it was never in memory."""
        for order in self.cold(model):
            if version in ("", order.version):
                return self._known.get((model, order.version))
        return None

    def order(self, model: str, version: str) -> Load | None:
        """What loads a version that is wanted."""
        return self._orders.get(model, {}).get(version)

    def warmth(self, order: Load) -> Warm | None:
        """What was measured when these files were in memory with these settings, for one that is cold."""
        known = self._known.get((order.model, order.version)) if order.model in self.parked else None
        return known.warmth if known is not None and known.state.spec == order.spec else None

    def was(self, order: Load) -> bool:
        """Whether these files have been in memory."""
        return (order.model, order.version) in self._known

    def states(self, trouble: Callable[[str], str]) -> Iterator[ModelState]:
        """Of every cold version; ``trouble`` says why a model would not be loaded at present."""
        for model in self.parked:
            newest = model not in self._catalog.table
            for order in self.cold(model):
                yield self._state(order, newest, trouble(model))
                newest = False

    def _state(self, order: Load, newest: bool, trouble: str) -> ModelState:
        size = self._expect(order)
        known = self._known.get((order.model, order.version))
        blank = ModelState(name=order.model, version=order.version, state="COLD", spec=order.spec)
        return replace(
            known.state if known else blank,
            state="UNAVAILABLE" if trouble else "COLD",
            reason=trouble or "the next request for it loads it",
            live=newest and not trouble,
            memory_bytes=0 if trouble else size.bytes,
            memory_measured=size.measured,
        )

    # -- what takes how much -------------------------------------------------------------------------

    def size(self, live: Live) -> int:
        """Bytes of a version in memory: of its own processes now, or as it was measured."""
        return live.resident() or live.state.memory_bytes

    def _expect(self, order: Load) -> Size:
        return Size(0) if order.spec.steps else self._sizes.expect(order)

    def need(self, model: str) -> int:
        """Bytes of all its versions that are not in memory.

        Neither an estimate nor one measurement, which what else goes on may have disturbed, rules a model
        out alone: it is tried where the least that it may take is within the limit.
        """
        sizes = [self._expect(order) for order in self.absent(model)]
        kept = total(one for one in self.residents(0.0) if one.kept and one.model != model)
        least = sum(size.least for size in sizes)
        return min(sum(size.bytes for size in sizes), max(least, self._rules.limit - kept))

    def residents(self, now: float) -> list[Resident]:
        """Every model that takes memory, and those that are giving theirs back."""
        shelves = self._catalog.table.items()
        staying = [self._resident(model, list(shelf.versions.values()), now) for model, shelf in shelves]
        going = [self._resident(live.state.name, [live], now) for live in self._retiring()]
        return [*staying, *(replace(one, leaving=True) for one in going)]

    def _resident(self, model: str, lives: list[Live], now: float) -> Resident:
        loaded = [self._loaded[live] for live in lives if live in self._loaded]
        since = max((one.since for one in loaded), default=now)
        # Both versions of a model that has one on trial are wanted all the time.
        idle = not self._catalog.divided(model) and all(live.executor.idle for live in lives)
        return Resident(
            model=model,
            bytes=sum(map(self.size, lives)),
            loaded=since,
            used=max([since, *(one.book.last or 0.0 for one in loaded)]) if idle else now,
            idle=idle,
            load_seconds=sum(live.state.load_seconds for live in lives),
            kept=self.stays(model),
        )
