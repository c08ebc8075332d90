"""One batch through a real crew on an event loop, its session in a thread of ours or in a child process."""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import uvloop

from benchmarks import fixtures
from benchmarks.machine import Aim, Row
from benchmarks.overhead import aim
from penstock.core.ports import Session
from penstock.core.spec import Instances, ModelSpec
from penstock.core.ticket import Ticket
from penstock.core.types import Request
from penstock.engines.echo import EchoEngine
from penstock.engines.onnx import OnnxEngine
from penstock.scheduling.batch import Ran
from penstock.scheduling.crew import Crew
from penstock.workers.worker import Worker

KIB, MIB = 1 << 10, 1 << 20
REQUESTS = 4
"""In a batch."""
MOST_US, MOST_RATIO = 150, 1.02
SLOW_ROWS = 8
"""Of MEDIUM in a batch, which then runs for over 10 ms."""
SPEC = ModelSpec(name="bench", instances=Instances(count=1, threads=1))


class Lane:
    """A session behind a crew of its own, which is given the same batch again and again."""

    def __init__(self, name: str, session: Session, x: Any) -> None:
        """``x``: the batch's rows, which are spread over its requests."""
        self._loop = asyncio.get_running_loop()
        self._crew = Crew(name, [session], 60.0, self._done, lambda: None)
        parts = np.split(x, REQUESTS)
        self._entries = [Ticket(Request(model=name, inputs={"x": part}), len(part), 0.0) for part in parts]
        self._told: asyncio.Future[None] = self._loop.create_future()
        self._end = 0.0

    async def block(self, batches: int) -> float:
        """Median seconds of so many batches, from their start to the word on the loop that they are done."""
        seconds = []
        for _ in range(batches):
            self._told = self._loop.create_future()
            begun = perf_counter()
            self._crew.start(self._entries, monotonic())
            await self._told
            seconds.append(self._end - begun)
        return median(seconds)

    def _done(self, entries: list[Ticket], started: float, ran: Ran) -> None:
        """The answer is let go of at once, as after it has been written to its callers."""
        self._end = perf_counter()
        if ran.whole:
            self._told.set_result(None)
        else:
            self._told.set_exception(RuntimeError(f"a batch failed: {ran.answers[0]}"))

    def close(self) -> None:
        self._crew.close()


async def compare(thread: Session, process: Session, x: Any, rounds: int, batches: int) -> list[list[float]]:
    """Seconds of a batch, thread and process, round by round; a first round does not count."""
    lanes = [Lane("thread", thread, x), Lane("process", process, x)]
    found: list[list[float]] = [[], []]
    try:
        for number in range(rounds + 1):
            # Whoever goes first in a round finds caches that the other has left.
            for at in (0, 1) if number % 2 else (1, 0):
                seconds = await lanes[at].block(batches)
                if number:
                    found[at].append(seconds)
    finally:
        for lane in lanes:
            lane.close()
    return found


def spread(values: Sequence[float]) -> float:
    """The middle half of the rounds: from the lower to the upper quartile."""
    low, _, high = quantiles(values, n=4)
    return high - low


@contextmanager
def _pair(opened: Callable[[], Session], engine: str, file: Path) -> Iterator[tuple[Session, Session]]:
    """The same model in this process, and in a child."""
    here, there = opened(), Worker(engine, SPEC, file, "bench")
    try:
        yield here, there
    finally:
        there.close()
        here.close()


def echo(rounds: int) -> tuple[list[Row], list[Aim]]:
    """What processes cost a batch of 64 KiB, 1 MiB and 16 MiB in, and as much out."""
    rows: list[Row] = []
    aims: list[Aim] = []
    nowhere = Path()
    for size, batches in ((64 * KIB, 100), (MIB, 60), (16 * MIB, 5)):
        x = np.random.default_rng(0).standard_normal((4 * REQUESTS, size // 16 // REQUESTS), dtype=np.float32)
        with _pair(lambda: EchoEngine().open(SPEC, nowhere), "echo", nowhere) as sessions:
            thread, process = uvloop.run(compare(*sessions, x, rounds, batches))
        more = [(b - a) * 1e6 for a, b in zip(thread, process, strict=True)]
        name = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
        rows.append(_row(f"echo, {name} in and out", thread, process))
        if size == MIB:
            told = f"echo, {name}: µs a batch that a process takes more than a thread"
            aims.append(aim(told, MOST_US, median(more), most=True))
    return rows, aims


def slow(rounds: int) -> tuple[list[Row], list[Aim]]:
    """What is left of that where the batch itself takes over 10 ms."""
    x = np.random.default_rng(0).random((SLOW_ROWS, 3, 64, 64)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = fixtures.write(Path(folder), "medium", "1", fixtures.medium())
        with _pair(lambda: OnnxEngine().open(SPEC, file), "onnx", file) as sessions:
            thread, process = uvloop.run(compare(*sessions, x, rounds, 3))
    got = median(b / a for a, b in zip(thread, process, strict=True))
    name = f"MEDIUM on ONNX Runtime, {SLOW_ROWS} rows"
    told = f"{name} ({median(thread) * 1e3:.0f} ms): process over thread"
    return [_row(name, thread, process)], [aim(told, MOST_RATIO, got, most=True)]


def _row(name: str, thread: Sequence[float], process: Sequence[float]) -> Row:
    pairs = list(zip(thread, process, strict=True))
    ratios = [b / a for a, b in pairs]
    return {
        "a batch": name,
        "thread µs": round(median(thread) * 1e6, 1),
        "± µs": round(spread(thread) * 1e6, 1),
        "process µs": round(median(process) * 1e6, 1),
        "±µs": round(spread(process) * 1e6, 1),
        "process − thread µs": round(median(b - a for a, b in pairs) * 1e6, 1),
        "process / thread": round(median(ratios), 3),
        "± of it": round(spread(ratios), 3),
        "rounds": len(pairs),
    }


def measure(*, quick: bool) -> tuple[list[Row], list[Aim]]:
    """All rows and both aims; the interpreter switches between threads as the server has it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        rows, aims = echo(8 if quick else 60)
        more_rows, more_aims = slow(8 if quick else 60)
    finally:
        sys.setswitchinterval(before)
    return rows + more_rows, aims + more_aims
