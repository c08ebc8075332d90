"""Sessions of one version, opened, measured and laid out: inline, in threads, or in processes."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.errors import InstanceLost, LoadFailed, PenstockError, one_line
from penstock.core.importing import find
from penstock.core.ports import Engine, Restartable, Session
from penstock.core.spec import Isolation, ModelSpec
from penstock.engines import ENGINES, FILES, usual
from penstock.serving.synthesize import prepare
from penstock.serving.warmup import Warm, choose_layout, warm
from penstock.workers import machine

log = logging.getLogger("penstock.serving")

Open = Callable[[ModelSpec, int, tuple[int, ...]], Session]
"""Opens one session for a spec with its layout, which instance it is, and the cores to keep to."""


class Opened(Struct, frozen=True, eq=False):
    """What an executor needs: a session for each instance (the same one, where they share it)."""

    sessions: list[Session]
    warmth: Warm
    each: bool
    """Whether the sessions are different ones, each of which is to be closed."""

    def close(self) -> None:
        """Blocks; the processes end side by side."""
        for session in self.sessions if self.each else self.sessions[:1]:
            session.close()


async def open_sessions(spec: ModelSpec, path: Path, version: str, measuring: asyncio.Lock) -> Opened:
    """Warm sessions; ``measuring`` keeps models from disturbing each other's measurements.

    A model that turns out slow is opened again with the threads that its run time asks for.
    Raises LoadFailed or BadSetting with the reason, and leaves nothing behind.
    """
    name = spec.engine or usual(path.name)
    if not name:
        raise LoadFailed(f"no engine for {path.name}; name one with 'engine', or use {', '.join(FILES)}")
    engine: Engine = find(name, ENGINES, "engine")()
    kind: Isolation = getattr(engine, "isolation", "process")
    apart = "process" in (spec.isolation, kind if spec.isolation == "auto" else "")
    opening: Open = partial(_in_process, name, path, version) if apart else partial(_in_here, engine, path)
    cores = machine.cores()

    async def first(count: int, threads: int) -> tuple[Session, Warm]:
        places = _places(spec, count, threads, cores) if apart else [()]
        session = await _one(opening, _sized(spec, count, threads), 0, places[0], path)
        async with measuring:
            return session, await _warm(session, spec, kind)

    count, threads = choose_layout(spec.instances, len(cores))
    session, warmth = await first(count, threads)
    count, wanted = choose_layout(
        spec.instances,
        len(cores),
        warmth.run_seconds,
        accelerated=_accelerated(session),
        concurrency=getattr(session, "concurrency", 0),
    )
    if wanted != threads and not _accelerated(session):
        await asyncio.to_thread(session.close)
        session, warmth = await first(count, wanted)
    if not apart:
        return Opened([session] * (1 if warmth.isolation == "inline" else count), warmth, each=False)
    return await _more(opening, _sized(spec, count, wanted), session, warmth, path)


def _accelerated(session: Session) -> bool:
    return not getattr(session, "device", "cpu").lower().startswith("cpu")


def _sized(spec: ModelSpec, count: int, threads: int) -> ModelSpec:
    return replace(spec, instances=replace(spec.instances, count=count, threads=threads))


def _places(spec: ModelSpec, count: int, threads: int, cores: list[int]) -> list[tuple[int, ...]]:
    return machine.place(count, threads, cores) if spec.instances.pin else [()] * count


async def _more(opening: Open, spec: ModelSpec, first: Session, warmth: Warm, path: Path) -> Opened:
    """The processes beside the first, as many as memory allows, side by side."""
    wanted, threads = spec.instances.count, spec.instances.threads
    resident = cast(Callable[[], int], getattr(first, "resident", lambda: 0))
    count = machine.affordable(wanted, resident(), machine.free_memory())
    if count < wanted:
        log.warning(
            "model %s: %d processes instead of %d, as each takes %.0f MiB of memory",
            *(spec.name, count, wanted, resident() / 2**20),
        )
    places = _places(spec, wanted, threads, machine.cores())
    tasks = [_one(opening, spec, at, places[at], path) for at in range(1, count)]
    opened = await asyncio.gather(*tasks, return_exceptions=True)
    sessions = [first, *(one for one in opened if not isinstance(one, BaseException))]
    failed = [one for one in opened if isinstance(one, BaseException)]
    together = Opened(sessions, warmth, each=True)
    try:
        if failed:
            raise failed[0]
        for session in sessions:
            cast(Restartable, session).warm_up = partial(prepare, sizes=warmth.sizes, size=warmth.size)
        await asyncio.gather(*(asyncio.to_thread(_prepare, one, warmth) for one in sessions[1:]))
    except BaseException:
        await asyncio.to_thread(together.close)
        raise
    return together


def _prepare(session: Session, warmth: Warm) -> None:
    prepare(session, sizes=warmth.sizes, size=warmth.size)


async def _one(opening: Open, spec: ModelSpec, at: int, cores: tuple[int, ...], path: Path) -> Session:
    try:
        return await asyncio.to_thread(opening, spec, at, cores)
    except PenstockError:
        raise
    except Exception as error:
        raise LoadFailed(f"the engine failed on {path.name}: {one_line(error)}") from error


def _in_here(engine: Engine, path: Path, spec: ModelSpec, at: int, cores: tuple[int, ...]) -> Session:
    return engine.open(spec, path)


def _in_process(
    engine: str, path: Path, version: str, spec: ModelSpec, at: int, cores: tuple[int, ...]
) -> Session:
    from penstock.workers.worker import Worker

    alone = _sized(spec, 1, spec.instances.threads)
    return Worker(engine, alone, path, f"{spec.name}-{version}-{at}", cores)


async def _warm(session: Session, spec: ModelSpec, kind: Isolation) -> Warm:
    """Measured; a process that hangs or dies at it is a model that cannot be loaded."""
    work = asyncio.create_task(asyncio.to_thread(warm, session, spec, kind))
    kill = getattr(session, "kill", None)
    try:
        async with asyncio.timeout(spec.instances.start_s if kill else None):
            return await asyncio.shield(work)
    except TimeoutError:
        assert kill is not None  # noqa: S101 - only processes have a time limit
        kill()
        why = f"it was not warm after instances.start_s, {spec.instances.start_s:.0f} s"
    except InstanceLost as lost:
        why = f"its process ended at the warm-up: {lost}"
    await asyncio.wait([work])
    work.exception()
    await asyncio.to_thread(session.close)
    raise LoadFailed(why)
