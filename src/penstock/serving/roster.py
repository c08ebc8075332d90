"""What every version is doing, whether it serves or not: written by the lifecycle, read by doors."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import UnknownModel, UnknownVersion
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState, State
from penstock.repository.layout import ModelFolder
from penstock.repository.versions import natural
from penstock.serving.catalog import Catalog, Live

Key = tuple[str, str]
"""Model and version."""


class Roster:
    """Everything beside the catalog that is known of the repository's models, on the event loop."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.seen: Mapping[str, ModelFolder] = {}
        """The last scan."""
        self.loading: dict[Key, asyncio.Task[None]] = {}
        self.failed: dict[Key, tuple[ModelSpec, str]] = {}
        """What would not load, and why."""
        self.retiring: dict[Live, asyncio.Task[None]] = {}
        self.cold: Callable[[], Iterable[ModelState]] = tuple
        """Those that the next request for them loads."""

    def saw(self, models: Mapping[str, ModelFolder]) -> None:
        """A new scan; what is no longer there has not failed either."""
        self.seen = models
        there = {(name, version) for name, folder in models.items() for version in folder.versions}
        self.failed = {key: why for key, why in self.failed.items() if key in there}

    def forget(self, model: str) -> None:
        """Its folder is gone."""
        self.failed = {key: value for key, value in self.failed.items() if key[0] != model}

    def failures(self, model: str) -> list[str]:
        """Why versions of it would not load."""
        return [reason for (name, _), (_, reason) in self.failed.items() if name == model]

    def tell(self, held: Collection[str]) -> None:
        """Let the catalog know why a model that is in the repository does not serve.

        ``held``: those that were unloaded over the API.
        """
        self._catalog.known = {name: self._why_not(name, name in held) for name in self.seen}

    def _why_not(self, model: str, held: bool) -> str:
        if any(name == model for name, _ in self.loading):
            return "it is loading"
        if held:
            return "it was unloaded; load it again"
        reasons = self.failures(model)
        return reasons[-1] if reasons else self.seen[model].error or "it is about to be loaded"

    def state(self, model: str, version: str = "") -> ModelState:
        """Of that version, or of the live one; raises UnknownModel or UnknownVersion."""
        live = self._catalog.default(model)
        if live is not None and version in ("", live.state.version):
            return now(live, live=True)
        mine = [state for state in self.states() if state.name == model]
        for state in sorted(mine, key=lambda state: state.live)[::-1]:
            if version in ("", state.version):
                return state
        if mine:
            have = ", ".join(state.version for state in mine)
            raise UnknownVersion(f"model {model!r} has no version {version!r}; have {have}")
        raise UnknownModel(f"no model {model!r}; have {', '.join(sorted(self.seen)) or 'none'}")

    def states(self) -> list[ModelState]:
        """Of every version, by name and version."""
        found = {(state.name, state.version): state for state in self._all_states()}
        return [found[key] for key in sorted(found, key=lambda key: (key[0], natural(key[1])))]

    def _all_states(self) -> Iterator[ModelState]:
        """Later ones win: what serves says more than what failed or is on its way."""
        for name, folder in self.seen.items():
            spec = folder.spec or ModelSpec(name=name)
            if not folder.versions:
                yield _absent(spec, "", "UNAVAILABLE", folder.error)
            for version, one in folder.versions.items():
                yield _absent(one.spec or spec, version, "UNAVAILABLE", folder.error or "unloaded")
        for (_, version), (spec, reason) in self.failed.items():
            yield _absent(spec, version, "UNAVAILABLE", reason)
        for live in self.retiring:
            yield replace(now(live, live=False), state="UNLOADING")
        yield from self.cold()
        for name, version in self.loading:
            yield _absent(self._spec(name, version), version, "LOADING", "")
        for live in self._catalog:
            yield now(live, live=self._catalog.default(live.state.name) is live)

    def _spec(self, model: str, version: str) -> ModelSpec:
        folder = self.seen[model]
        one = folder.versions.get(version)
        return (one and one.spec) or folder.spec or ModelSpec(name=model)


def now(one: Live, /, **changes: Any) -> ModelState:
    """The state of what serves, as it is at this moment."""
    executor = one.executor
    size = one.resident() or one.state.memory_bytes
    instances = one.resizing.ready if one.resizing is not None else one.state.instances
    state = replace(
        one.state,
        batch_cap=executor.cap,
        restarts=executor.restarts,
        memory_bytes=size,
        instances=instances,
        **changes,
    )
    trouble = executor.trouble
    return replace(state, state="UNAVAILABLE", reason=trouble) if trouble else state


def _absent(spec: ModelSpec, version: str, state: State, reason: str) -> ModelState:
    return ModelState(name=spec.name, version=version, state=state, reason=reason, spec=spec)
