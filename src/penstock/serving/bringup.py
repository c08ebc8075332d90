"""One version from its files to serving: open → measure → lay out over the cores → policy → live."""

import asyncio
import logging
import os
from math import inf
from pathlib import Path
from time import perf_counter

from msgspec.structs import replace

from penstock.core.errors import LoadFailed, PenstockError, one_line
from penstock.core.importing import find
from penstock.core.ports import BatchPolicy, Engine, Recorder, Session
from penstock.core.spec import Batching, ModelSpec
from penstock.core.types import ModelState
from penstock.engines import ENGINES, FILES, usual
from penstock.scheduling.policy import make
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.catalog import Live
from penstock.serving.check import Check
from penstock.serving.warmup import Warm, choose_layout, warm

log = logging.getLogger("penstock.serving")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def bring_up(
    spec: ModelSpec, version: str, path: Path, recorder: Recorder, measuring: asyncio.Lock
) -> Live:
    """Ready to serve; ``measuring`` keeps models from disturbing each other's measurements.

    Raises LoadFailed or BadSetting with the reason, and leaves nothing behind.
    """
    start = perf_counter()
    engine = _engine(spec, path)
    session, warmth, instances = await _open(engine, spec, path, measuring)
    try:
        policy = _policy(spec, warmth)
        in_loop = warmth.isolation == "inline"
        scheduler = Scheduler(
            [session] * (1 if in_loop else instances),
            policy,
            spec,
            version,
            batched=warmth.batched,
            inline=in_loop,
            recorder=recorder,
        )
    except PenstockError:
        session.close()
        raise
    check = Check(spec.name, session.signature, batched=warmth.batched, max_rows=spec.batching.max_rows)
    state = ModelState(
        name=spec.name,
        version=version,
        state="READY",
        reason="" if warmth.batched or spec.batching.policy == "none" else f"not batched: {warmth.reason}",
        spec=spec,
        platform=session.platform,
        signature=session.signature,
        batched=warmth.batched,
        isolation=warmth.isolation,
        device=getattr(session, "device", "cpu"),
        instances=1 if in_loop else instances,
        threads=session.threads,
        run_ms=warmth.run_seconds * 1e3,
        load_seconds=perf_counter() - start,
    )
    return Live(state, scheduler, check, session.close)


def _engine(spec: ModelSpec, path: Path) -> Engine:
    name = spec.engine or usual(path.name)
    if not name:
        raise LoadFailed(f"no engine for {path.name}; name one with 'engine', or use {', '.join(FILES)}")
    engine: Engine = find(name, ENGINES, "engine")()
    return engine


async def _open(
    engine: Engine, spec: ModelSpec, path: Path, measuring: asyncio.Lock
) -> tuple[Session, Warm, int]:
    """A warm session and how many batches it may run at once.

    A model that turns out slow is opened again with the threads that its run time asks for.
    """
    accelerated = False
    instances, threads = choose_layout(spec.instances, cores(), accelerated=accelerated)
    session, warmth = await _open_once(engine, spec, path, threads, measuring)
    instances, wanted = choose_layout(spec.instances, cores(), warmth.run_seconds, accelerated=accelerated)
    if wanted != threads:
        await asyncio.to_thread(session.close)
        session, warmth = await _open_once(engine, spec, path, wanted, measuring)
    return session, warmth, instances


async def _open_once(
    engine: Engine, spec: ModelSpec, path: Path, threads: int, measuring: asyncio.Lock
) -> tuple[Session, Warm]:
    sized = replace(spec, instances=replace(spec.instances, threads=threads))
    try:
        session = await asyncio.to_thread(engine.open, sized, path)
    except PenstockError:
        raise
    except Exception as error:
        raise LoadFailed(f"the engine failed on {path.name}: {one_line(error)}") from error
    async with measuring:
        return session, await asyncio.to_thread(warm, session, spec)


def _policy(spec: ModelSpec, warmth: Warm) -> BatchPolicy:
    """The policy, told what the warm-up measured; a model that cannot batch needs none."""
    batching = spec.batching if warmth.batched else Batching(policy="none")
    policy = make(batching, spec.target.p99_ms / 1e3 or inf)
    for rows, seconds in warmth.samples:
        policy.learn(rows, seconds)
    return policy
