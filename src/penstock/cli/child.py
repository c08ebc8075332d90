"""The load generator in a process of its own, so that drawing progress never delays a request."""

import gc
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter

from penstock.cli.load import Plan, run
from penstock.cli.measure import Samples
from penstock.core.errors import PenstockError, Unavailable

TICK = 0.2
"""Seconds between looks at the child; drawing costs about a millisecond of a core."""


def run_in_child(plan: Plan, tick: Callable[[float], None]) -> Samples:
    """Run a plan; ``tick`` is told the seconds so far now and then. Blocks.

    Raises what the child raises, and Unavailable where it died.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(plan, theirs), daemon=True)
    child.start()
    theirs.close()
    began = perf_counter()
    try:
        while not ours.poll(TICK):
            tick(perf_counter() - began)
        result: Samples | PenstockError = ours.recv()
    except EOFError:
        raise Unavailable("the load generator's process died; what it said is above") from None
    finally:
        child.terminate()
        child.join()
        child.close()
        ours.close()
    tick(plan.warmup + plan.duration)
    if isinstance(result, PenstockError):
        raise result
    return result


def _work(plan: Plan, pipe: Connection) -> None:
    """What the child does; the parent alone hears Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.disable()
    try:
        pipe.send(run(plan))
    except PenstockError as error:
        pipe.send(error)
