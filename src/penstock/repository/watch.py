"""What to load and what to unload, from what a repository holds and what has been applied: pure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.spec import ModelSpec
from penstock.repository.layout import Fingerprint, ModelFolder, VersionFolder
from penstock.repository.versions import absent, wanted

Print: TypeAlias = tuple[Fingerprint, Fingerprint]
"""Of the model's settings and of the version's files: either one changing means a reload."""


class Load(Struct, frozen=True):
    """Load or reload a version; answer with ``applied`` or ``failed``, or it is never ordered again."""

    model: str
    version: str
    path: Path
    spec: ModelSpec
    """With what the version's own settings say."""
    fingerprint: Print
    own: Mapping[str, Any] = {}
    """The version's own settings."""
    error: str = ""
    """Why it cannot be loaded: those settings are wrong."""


class Unload(Struct, frozen=True):
    """Drain and close a version; needs no answer."""

    model: str
    version: str


class Report(Struct, frozen=True):
    """Something is wrong with a model's folder, or (empty reason) no longer is."""

    model: str
    reason: str


class Forget(Struct, frozen=True):
    """The model's folder is gone, and every version of it has been ordered to unload."""

    model: str


Order: TypeAlias = Load | Unload | Report | Forget

_STALE: Print = ((), ())


class ModelMemory(Struct, frozen=True):
    """What is known of one model, by version."""

    applied: Mapping[str, Print] = {}
    """What serves."""
    loading: Mapping[str, Print] = {}
    """Ordered, not answered yet."""
    failed: Mapping[str, Print] = {}
    """Would not load; not tried again until the files change."""
    seen: Mapping[str, tuple[Print, float]] = {}
    """The files as last seen, and when they were first seen so."""
    trouble: tuple[str, float] = ("", 0.0)
    """What is wrong with the folder, and since when."""
    reported: str = ""
    gone: float | None = None
    """Since when the folder is no longer there."""
    held: bool = False
    """Unloaded by hand; stays so until released."""


Memory: TypeAlias = Mapping[str, ModelMemory]


def decide(
    seen: Mapping[str, ModelFolder], memory: Memory, now: float, settle: float
) -> tuple[list[Order], Memory]:
    """Orders for all models, by name; loads come before unloads. Times are monotonic seconds.

    A version is loaded once its files have not changed for ``settle`` seconds.
    What serves is unloaded only when what replaces it serves, or when the model's folder is gone.
    """
    orders: list[Order] = []
    after: dict[str, ModelMemory] = {}
    for model in sorted({*seen, *memory}):
        some, then = decide_one(model, seen.get(model), memory.get(model, ModelMemory()), now, settle)
        orders += some
        if not some or not isinstance(some[-1], Forget):
            after[model] = then
    return orders, after


def decide_one(
    model: str, folder: ModelFolder | None, memory: ModelMemory, now: float, settle: float
) -> tuple[list[Order], ModelMemory]:
    """Orders for one model, whose folder is None when it is not there."""
    if folder is None:
        return _gone(model, memory, now, settle)
    memory = replace(memory, gone=None)
    if memory.held:
        return _unload(model, memory, list(memory.applied))
    reports, memory = _report(folder, memory, now, settle)
    if folder.spec is None:
        return reports, replace(memory, seen={})
    memory = _look(folder, memory, now)
    loads, memory = _load(folder, folder.spec, memory, now, settle)
    unloads, memory = _unload(model, memory, _replaced(folder, folder.spec, memory))
    return [*reports, *loads, *unloads], memory


def _gone(model: str, memory: ModelMemory, now: float, settle: float) -> tuple[list[Order], ModelMemory]:
    """A folder may be away for a moment while another takes its place."""
    since = now if memory.gone is None else memory.gone
    memory = replace(memory, gone=since, seen={}, failed={})
    if now - since < settle:
        return [], memory
    unloads, memory = _unload(model, memory, list(memory.applied))
    return unloads if memory.loading else [*unloads, Forget(model)], memory


def _report(
    folder: ModelFolder, memory: ModelMemory, now: float, settle: float
) -> tuple[list[Order], ModelMemory]:
    """Trouble that lasts is reported once; so is its end."""
    reason = folder.error
    if not reason and folder.spec is not None:
        reason = absent(folder.versions, folder.spec.versions)
    trouble = memory.trouble if memory.trouble[0] == reason else (reason, now)
    memory = replace(memory, trouble=trouble)
    if reason == memory.reported or now - trouble[1] < settle:
        return [], memory
    return [Report(folder.name, reason)], replace(memory, reported=reason)


def _look(folder: ModelFolder, memory: ModelMemory, now: float) -> ModelMemory:
    """Note when each version's files were first seen as they are."""
    seen: dict[str, tuple[Print, float]] = {}
    for name, version in folder.versions.items():
        files = (folder.fingerprint, version.fingerprint)
        last = memory.seen.get(name)
        seen[name] = last if last is not None and last[0] == files else (files, now)
    failed = {name: files for name, files in memory.failed.items() if name in seen and files == seen[name][0]}
    return replace(memory, seen=seen, failed=failed)


def _candidates(folder: ModelFolder, spec: ModelSpec, memory: ModelMemory) -> list[str]:
    """The wanted versions among those that serve or may still load, newest first.

    So ``latest`` falls back to the newest version that loads, at a restart too.
    """
    able = [name for name in folder.versions if name in memory.applied or name not in memory.failed]
    return wanted(able, spec.versions)[::-1]


def _load(
    folder: ModelFolder, spec: ModelSpec, memory: ModelMemory, now: float, settle: float
) -> tuple[list[Order], ModelMemory]:
    loading = dict(memory.loading)
    orders: list[Order] = []
    for name in _candidates(folder, spec, memory):
        files, since = memory.seen[name]
        done = name in loading or name in memory.failed or memory.applied.get(name) == files
        if not done and now - since >= settle:
            loading[name] = files
            orders.append(_order(folder, spec, folder.versions[name], files))
    return orders, replace(memory, loading=loading)


def _order(folder: ModelFolder, spec: ModelSpec, one: VersionFolder, files: Print) -> Load:
    return Load(folder.name, one.version, one.path, one.spec or spec, files, one.own, one.error)


def _replaced(folder: ModelFolder, spec: ModelSpec, memory: ModelMemory) -> list[str]:
    """What serves and is not wanted, once all that is wanted serves as its files are or failed to."""
    candidates = _candidates(folder, spec, memory)
    ready = [name for name in candidates if memory.applied.get(name) == memory.seen[name][0]]
    kept = [name for name in candidates if name in memory.applied and name in memory.failed]
    if not candidates or len(ready) + len(kept) < len(candidates):
        return []
    return [name for name in memory.applied if name not in candidates]


def _unload(model: str, memory: ModelMemory, versions: list[str]) -> tuple[list[Order], ModelMemory]:
    applied = {name: files for name, files in memory.applied.items() if name not in versions}
    return [Unload(model, version) for version in versions], replace(memory, applied=applied)


def applied(memory: Memory, order: Load) -> Memory:
    """The order was carried out: this version serves."""

    def change(model: ModelMemory) -> ModelMemory:
        return replace(
            model,
            applied={**model.applied, order.version: order.fingerprint},
            loading=_without(model.loading, order.version),
            failed=_without(model.failed, order.version),
        )

    return _changed(memory, order.model, change)


def failed(memory: Memory, order: Load) -> Memory:
    """The order could not be carried out; what served goes on serving."""

    def change(model: ModelMemory) -> ModelMemory:
        return replace(
            model,
            loading=_without(model.loading, order.version),
            failed={**model.failed, order.version: order.fingerprint},
        )

    return _changed(memory, order.model, change)


def lost(memory: Memory, order: Load) -> Memory:
    """What was put off would not load when its time came: as if it had failed at once."""
    after = failed(memory, order)
    return _changed(
        after, order.model, lambda model: replace(model, applied=_without(model.applied, order.version))
    )


def again(memory: Memory, model: str, version: str) -> Memory:
    """Load a version again although its files are the same, be it serving or failed."""

    def change(before: ModelMemory) -> ModelMemory:
        stale = {name: _STALE if name == version else files for name, files in before.applied.items()}
        return replace(before, applied=stale, failed=_without(before.failed, version))

    return _changed(memory, model, change)


def hold(memory: Memory, model: str) -> Memory:
    """Unload the model and keep it so until ``release`` or until its folder has been gone.

    The next round orders the unloads.
    """
    return _changed(memory, model, lambda before: replace(before, held=True))


def release(memory: Memory, model: str) -> Memory:
    """Let the model load again, and load again what failed and what serves."""

    def change(before: ModelMemory) -> ModelMemory:
        return replace(before, held=False, failed={}, applied=dict.fromkeys(before.applied, _STALE))

    return _changed(memory, model, change)


def _changed(memory: Memory, model: str, change: Callable[[ModelMemory], ModelMemory]) -> Memory:
    return {**memory, model: change(memory.get(model, ModelMemory()))}


def _without(versions: Mapping[str, Print], version: str) -> dict[str, Print]:
    return {name: files for name, files in versions.items() if name != version}
