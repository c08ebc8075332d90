"""The live versions of every model: an immutable table, swapped whole, read by every request."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from penstock.core.errors import ModelNotReady, UnknownModel, UnknownVersion
from penstock.core.ports import Executor
from penstock.core.types import ModelState
from penstock.serving.check import Check
from penstock.serving.resizing import Resizing
from penstock.serving.split import Division, Split
from penstock.serving.warmup import Warm


class Live(Struct, frozen=True, eq=False):
    """A version that serves."""

    state: ModelState
    executor: Executor
    check: Check
    close: Callable[[], None]
    """Gives the memory back; blocks, after the executor was closed."""
    resident: Callable[[], int] = int
    """Resident bytes in processes of its own; 0 where it has none."""
    warmth: Warm | None = None
    """What its warm-up measured; None where there was none."""
    resizing: Resizing | None = None
    """More instances of it, or fewer; None where their number does not move."""


class Shelf(Struct, frozen=True, eq=False):
    """The serving versions of one model; ``default`` answers requests that name none."""

    default: Live
    versions: Mapping[str, Live]
    split: Split | None = None
    """Who answers them in its stead while a version is on trial."""


class Catalog:
    """Written only by the lifecycle and by rollouts, on the event loop."""

    def __init__(self) -> None:
        self.table: Mapping[str, Shelf] = {}
        """By model; never changed in place."""
        self.known: Mapping[str, str] = {}
        """Models that are in the repository but may not be serving, and why not."""
        self._chosen: dict[str, str] = {}
        self._divided: dict[str, Division] = {}

    def find(self, model: str, version: str = "") -> Live:
        """Raises UnknownModel, UnknownVersion, or ModelNotReady for one that is known but not serving."""
        shelf = self.table.get(model)
        if shelf is None:
            if model in self.known:
                raise ModelNotReady(f"model {model!r} is not ready: {self.known[model]}")
            raise UnknownModel(f"no model {model!r}; have {', '.join(sorted(self.table)) or 'none yet'}")
        if not version:
            return shelf.default
        live = shelf.versions.get(version)
        if live is None:
            have = ", ".join(shelf.versions)
            raise UnknownVersion(f"model {model!r} has no version {version!r} serving; have {have}")
        return live

    def peek(self, model: str, version: str = "") -> Live | None:
        """The same, or None."""
        shelf = self.table.get(model)
        if shelf is None:
            return None
        return shelf.versions.get(version) if version else shelf.default

    def put(self, live: Live, order: list[str]) -> Live | None:
        """Swap a version in; returns the one it replaces. ``order`` lists versions, oldest first."""
        shelf = self.table.get(live.state.name)
        versions = dict(shelf.versions) if shelf else {}
        old = versions.get(live.state.version)
        versions[live.state.version] = live
        self._set(live.state.name, versions, order)
        return old

    def take(self, model: str, version: str) -> Live | None:
        """Swap a version out; returns it."""
        shelf = self.table.get(model)
        if shelf is None or version not in shelf.versions:
            return None
        versions = dict(shelf.versions)
        old = versions.pop(version)
        self._set(model, versions, list(versions))
        return old

    def take_if(self, live: Live) -> None:
        """Swap exactly this out, if it still serves."""
        shelf = self.table.get(live.state.name)
        if shelf is not None and shelf.versions.get(live.state.version) is live:
            self.take(live.state.name, live.state.version)

    def choose(self, model: str, version: str) -> None:
        """Have this version answer requests that name none, as long as it serves; empty: the newest."""
        self._chosen.pop(model, None)
        if version:
            self._chosen[model] = version
        self._swap(model)

    def chosen(self, model: str) -> str:
        """What ``choose`` was told last; empty for nothing."""
        return self._chosen.get(model, "")

    def divide(self, model: str, division: Division | None) -> None:
        """Divide the requests that name no version, while both versions serve; None: no longer."""
        self._divided.pop(model, None)
        if division is not None:
            self._divided[model] = division
        self._swap(model)

    def divided(self, model: str) -> bool:
        """Whether a version of it is on trial."""
        return model in self._divided

    def _swap(self, model: str) -> None:
        """The same versions, by what was said since."""
        shelf = self.table.get(model)
        if shelf is not None:
            self._set(model, shelf.versions, list(shelf.versions))

    def _set(self, model: str, versions: Mapping[str, Live], order: list[str]) -> None:
        rank = {version: i for i, version in enumerate(order)}
        table = dict(self.table)
        table.pop(model, None)
        if versions:
            ordered = dict(sorted(versions.items(), key=lambda item: rank.get(item[0], -1)))
            newest = list(ordered.values())[-1]
            default = ordered.get(self._chosen.get(model, ""), newest)
            table[model] = Shelf(default, ordered, self._split(default, ordered))
        self.table = table

    def _split(self, default: Live, versions: Mapping[str, Live]) -> Split | None:
        division = self._divided.get(default.state.name)
        if division is None or division.stable != default.state.version:
            return None
        candidate = division.double or versions.get(division.candidate)
        return Split(default, candidate, division) if candidate is not None else None

    def __iter__(self) -> Iterator[Live]:
        for shelf in self.table.values():
            yield from shelf.versions.values()

    def default(self, model: str) -> Live | None:
        shelf = self.table.get(model)
        return shelf.default if shelf else None
