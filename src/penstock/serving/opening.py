"""Sessions of one version, opened, measured and laid out: inline, in threads, or in processes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from penstock.core import machine
from penstock.core.errors import InstanceLost, LoadFailed, PenstockError, one_line
from penstock.core.importing import find
from penstock.core.ports import Apart, Engine, Place, Restartable, Session
from penstock.core.spec import Isolation, ModelSpec
from penstock.engines import ENGINES, FILES, usual
from penstock.serving.loading import aside
from penstock.serving.opened import Opened, close
from penstock.serving.synthesize import prepare
from penstock.serving.warmup import SURE, Warm, choose_layout, warm
from penstock.workers.worker import Worker

log = logging.getLogger("penstock.serving")

Given = TypeVar("Given")
Open = Callable[[ModelSpec, int, tuple[int, ...], Callable[[Restartable], object]], Session]
"""Opens one session for a spec with its layout, which instance it is, and the cores to keep to; a
process is handed on as soon as there is one."""


class Ground(Struct, frozen=True, eq=False):
    """What all versions are opened on."""

    measuring: asyncio.Lock
    """Keeps models from disturbing each other's measurements."""
    place: Place | None = None
    """Where else than on this machine there is room."""


class Before(Struct, frozen=True):
    """What is known of a version before it is opened."""

    warmth: Warm | None = None
    """What an earlier load of the same files with the same settings measured, which spares measuring."""
    beside: str = ""
    """Where the version that serves runs."""
    start: int = 0
    """Instances to begin with, where their number follows the traffic; 0: as few as there may be."""


class Leash:
    """A process that loads, which can be let go of at any time, even before there is one."""

    def __init__(self) -> None:
        self._worker: Restartable | None = None
        self._dropped = False

    def hold(self, worker: Restartable) -> None:
        """In the thread that opens it."""
        self._worker = worker
        if self._dropped:
            worker.kill()

    def drop(self) -> None:
        """Its load fails at once."""
        self._dropped = True
        if self._worker is not None:
            self._worker.kill()


async def open_sessions(
    spec: ModelSpec,
    path: Path,
    version: str,
    ground: Ground,
    before: Before = Before(),  # noqa: B008 - frozen
) -> Opened:
    """Warm sessions.

    A model that turns out slow is opened again with the threads that its run time asks for.
    Raises LoadFailed or BadSetting with the reason, and leaves nothing behind.
    """
    name = spec.engine or usual(path.name)
    if not name:
        raise LoadFailed(f"no engine for {path.name}; name one with 'engine', or use {', '.join(FILES)}")
    engine: Engine = find(name, ENGINES, "engine")()
    kind: Isolation = getattr(engine, "isolation", "process")
    place, known = ground.place, before.warmth
    if place is not None and place.takes(spec) and (known is None or known.isolation == place.kind):
        opening: Open = partial(_in_place, place, name, path, version)
        opened = await _elsewhere(place, opening, spec, path, ground, before)
        if opened is not None:
            return opened
    apart = "process" in (spec.isolation, kind if spec.isolation == "auto" else "")
    opening = partial(_in_process, name, path, version) if apart else partial(_in_here, engine, path)
    cores = len(machine.cores())

    async def first(count: int, threads: int) -> tuple[Session, Warm]:
        session = await _one(opening, _sized(spec, count, threads), 0, (), path)
        return session, await _warmed(session, spec, kind, ground, before)

    count, threads = choose_layout(spec.instances, cores, known.run_seconds if known else 0.0)
    session, warmth = await first(count, threads)
    count, wanted = choose_layout(
        spec.instances,
        cores,
        warmth.run_seconds,
        accelerated=_accelerated(session),
        concurrency=getattr(session, "concurrency", 0),
    )
    if wanted != threads and not _accelerated(session):
        await aside(close, session)
        session, warmth = await first(count, wanted)
    if warmth.isolation == "inline":
        count = 1
    begin = _begin(spec, count, before)
    if not apart:
        return Opened([session] * begin, warmth, count)
    begin = _fitting(spec, begin, session)
    return await _more(opening, _sized(spec, count, wanted), session, warmth, path, begin)


async def _elsewhere(
    place: Place, opening: Open, spec: ModelSpec, path: Path, ground: Ground, before: Before
) -> Opened | None:
    """Sessions on other machines; None where the first of them says that it is not worth the way.

    Of two versions side by side, one does not run here and the other there by the luck of a measurement.
    """
    sized = place.sized(spec)
    session = await _one(opening, sized, 0, (), path)
    warmth = await _warmed(session, spec, "process", ground, before)
    if before.warmth is None:
        warmth = replace(warmth, isolation=place.kind)
        sure = {"": 1.0, place.kind: SURE}.get(before.beside, 1 / SURE)
        if warmth.samples and spec.isolation == "auto" and not place.worth(cast(Apart, session), sure):
            log.info("model %s stays on this machine: its batches run for less than the way takes", spec.name)
            await aside(close, session)
            return None
    begin = _begin(spec, sized.instances.count, before)
    return await _more(opening, sized, session, warmth, path, begin)


async def _warmed(session: Session, spec: ModelSpec, kind: Isolation, ground: Ground, before: Before) -> Warm:
    known = before.warmth
    if known is not None:
        return await _limited(session, spec, lambda: _again(session, known), nullcontext())
    warming = partial(warm, session, spec, kind, beside=before.beside)
    return await _limited(session, spec, warming, ground.measuring)


def _begin(spec: ModelSpec, count: int, before: Before) -> int:
    """Instances to begin with, of ``count`` that there may be."""
    return min(max(spec.instances.least, before.start), count) if spec.instances.moves else count


def _accelerated(session: Session) -> bool:
    return not getattr(session, "device", "cpu").lower().startswith("cpu")


def _sized(spec: ModelSpec, count: int, threads: int) -> ModelSpec:
    return replace(spec, instances=replace(spec.instances, count=count, threads=threads))


def _fitting(spec: ModelSpec, wanted: int, session: Session) -> int:
    """As many processes as memory allows, where one of them takes what ``session`` does."""
    each = cast(Apart, session).resident()
    count = machine.affordable(wanted, each, machine.free_memory())
    if count < wanted:
        log.warning(
            "model %s: %d processes instead of %d, as each takes %.0f MiB of memory",
            *(spec.name, count, wanted, each / 2**20),
        )
    return count


async def _more(
    opening: Open, spec: ModelSpec, session: Session, warmth: Warm, path: Path, count: int
) -> Opened:
    """The sessions beside the first, ``count`` in all, side by side."""
    first, threads = cast(Apart, session), spec.instances.threads
    # Where the number moves they do not fill the machine for long.
    pinned = spec.instances.pin and not spec.instances.moves
    places = machine.place(count, threads, machine.cores()) if pinned else [()] * count
    tasks = [asyncio.create_task(_one(opening, spec, at, places[at], path)) for at in range(1, count)]
    ready = partial(prepare, sizes=warmth.sizes, size=warmth.size)
    try:
        workers = [first, *[cast(Apart, await task) for task in tasks]]
        first.keep_to(places[0])
        for worker in workers:
            worker.warm_up = ready
        await asyncio.gather(*(aside(worker.warm) for worker in workers[1:]))
    except BaseException:
        await _close_all(first, tasks)
        raise

    async def another(at: int) -> Session:
        worker = cast(Apart, await _one(opening, spec, at, (), path))
        worker.warm_up = ready
        try:
            await aside(worker.warm)
        except BaseException:
            await _close_all(worker, [])
            raise
        return worker

    return Opened(list(workers), warmth, max(spec.instances.count, count), another)


async def _close_all(first: Apart, tasks: Sequence[asyncio.Task[Session]]) -> None:
    """The first process, and those beside it that are there, or are still to come."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    done = [task.result() for task in tasks if not task.cancelled() and task.exception() is None]
    workers = [first, *(cast(Apart, session) for session in done)]
    for worker in workers:
        worker.kill()
    await asyncio.gather(*(aside(close, worker) for worker in workers))


async def _one(opening: Open, spec: ModelSpec, at: int, cores: tuple[int, ...], path: Path) -> Session:
    """Leaves nothing behind when it is cancelled, either."""
    leash = Leash()
    work = asyncio.ensure_future(aside(opening, spec, at, cores, leash.hold))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        leash.drop()
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            await aside(close, work.result())
        raise
    except PenstockError:
        raise
    except Exception as error:
        raise LoadFailed(f"the engine failed on {path.name}: {one_line(error)}") from error


def _in_here(
    engine: Engine, path: Path, spec: ModelSpec, at: int, cores: tuple[int, ...], begun: object
) -> Session:
    return _unless_it_exits(partial(engine.open, spec, path))


def _unless_it_exits(call: Callable[[], Given]) -> Given:
    """A model that calls ``sys.exit()`` in one of our threads would end the server."""
    try:
        return call()
    except SystemExit as ended:
        raise LoadFailed(f"its code called sys.exit({ended.code!r})") from ended


def _in_process(
    engine: str,
    path: Path,
    version: str,
    spec: ModelSpec,
    at: int,
    cores: tuple[int, ...],
    begun: Callable[[Restartable], object],
) -> Worker:
    alone = _sized(spec, 1, spec.instances.threads)
    return Worker(engine, alone, path, f"{spec.name}-{version}-{at}", cores, begun)


def _in_place(
    place: Place,
    engine: str,
    path: Path,
    version: str,
    spec: ModelSpec,
    at: int,
    cores: tuple[int, ...],
    begun: Callable[[Restartable], object],
) -> Apart:
    return place.open(engine, spec, path, version, f"{spec.name}-{version}-{at}", begun)


def _again(session: Session, known: Warm) -> Warm:
    """The smallest and the largest batch, and no measuring."""
    try:
        prepare(session, sizes=sorted({*known.sizes[:1], *known.sizes[-1:]}), size=known.size)
    except InstanceLost:
        raise
    except Exception as error:  # noqa: BLE001 - requests will show whether it is their fault
        log.warning("a first run failed: %s", one_line(error))
    return known


async def _limited(
    session: Session,
    spec: ModelSpec,
    warming: Callable[[], Warm],
    turn: AbstractAsyncContextManager[object],
) -> Warm:
    """A process that hangs or dies at the warm-up is a model that cannot be loaded."""
    kill: Callable[[], None] | None = getattr(session, "kill", None)
    work: asyncio.Future[Warm] | None = None
    try:
        async with turn:
            work = asyncio.ensure_future(aside(_unless_it_exits, warming))
            async with asyncio.timeout(spec.instances.start_s if kill else None):
                return await asyncio.shield(work)
    except BaseException as error:
        if kill is not None:
            kill()
        if work is not None:
            await asyncio.gather(work, return_exceptions=True)
        await aside(close, session)
        if isinstance(error, InstanceLost):
            raise LoadFailed(f"its process ended at the warm-up: {error}") from None
        if isinstance(error, TimeoutError) and kill is not None:
            limit = spec.instances.start_s
            raise LoadFailed(f"it was not warm after instances.start_s, {limit:.0f} s") from None
        raise
