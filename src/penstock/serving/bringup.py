"""One version from its files to serving: open → measure → lay out over the cores → policy → live."""

import asyncio
from functools import partial
from math import inf
from pathlib import Path
from time import perf_counter

from penstock.core.ports import BatchPolicy, Recorder
from penstock.core.spec import Batching, ModelSpec
from penstock.core.types import ModelState
from penstock.scheduling.policy import make
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.catalog import Live
from penstock.serving.check import Check
from penstock.serving.footprint import resident
from penstock.serving.opening import Before, Ground, open_sessions
from penstock.serving.recording import wrap
from penstock.serving.resizing import Resizing
from penstock.serving.warmup import Warm


async def bring_up(
    spec: ModelSpec, version: str, path: Path, recorder: Recorder, ground: Ground, before: Before
) -> Live:
    """Ready to serve.

    Raises LoadFailed or BadSetting with the reason, and leaves nothing behind.
    """
    began = perf_counter()
    opened = await open_sessions(spec, path, version, ground, before)
    session, warmth = opened.sessions[0], opened.warmth
    try:
        scheduler = Scheduler(
            opened.sessions,
            _policy(spec, warmth),
            spec,
            version,
            batched=warmth.batched,
            inline=warmth.isolation == "inline",
            recorder=recorder,
        )
    except BaseException:
        await asyncio.to_thread(opened.close)
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
        instances=len(opened.sessions),
        threads=session.threads,
        run_ms=warmth.run_seconds * 1e3,
        load_seconds=perf_counter() - began,
    )
    moves = spec.instances.moves and warmth.isolation != "inline"
    return Live(
        state,
        wrap(scheduler, spec.record),
        check,
        opened.close,
        partial(resident, opened.sessions),
        warmth,
        Resizing(f"model {spec.name} version {version}", scheduler, opened) if moves else None,
    )


def _policy(spec: ModelSpec, warmth: Warm) -> BatchPolicy:
    """The policy, told what the warm-up measured; a model that cannot batch needs none."""
    batching = spec.batching if warmth.batched else Batching(policy="none")
    policy = make(batching, spec.target.p99_ms / 1e3 or inf)
    for rows, seconds in warmth.samples:
        policy.learn(rows, seconds)
    return policy
