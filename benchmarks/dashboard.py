"""What an open page costs a loaded server: CPU time under an open-loop load, with viewers and without.

The server runs on one core, the load and the viewers on another; rounds are interleaved and differences are
taken round by round.
"""

import argparse
import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson
import uvloop

from benchmarks import fixtures
from benchmarks.machine import report
from benchmarks.served import Served, serving

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 50
AIM = 1.0
"""Percent of one core that a viewer may take of the server."""


class Round(NamedTuple):
    """One stretch of load: the server's CPU as a part of one core, and the load's latencies."""

    cpu: float
    p50_ms: float
    p99_ms: float
    answered: int
    ticks: int


def request(model: str) -> bytes:
    row = np.random.default_rng(1).random((1, 32)).astype(np.float32)
    tensor = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": row.ravel().tolist()}
    body = orjson.dumps({"inputs": [tensor]})
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Load(asyncio.Protocol):
    """One connection: requests leave when they are due, whether or not the last was answered."""

    def __init__(self, took: list[float]) -> None:
        self._took = took
        self._due: deque[float] = deque()
        self._buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of TCP

    def ask(self, data: bytes, due: float) -> None:
        self._due.append(due)
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            size = end + 4 + int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(self._buffer) < size:
                return
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(f"the server refused: {self._buffer[:size]!r}")
            self._buffer = self._buffer[size:]
            self._took.append(perf_counter() - self._due.popleft())

    @property
    def waiting(self) -> int:
        return len(self._due)


async def load(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds that each answer took from when its request was due."""
    loop, took = asyncio.get_running_loop(), list[float]()
    connections: list[Load] = []
    for _ in range(CONNECTIONS):
        _, protocol = await loop.create_connection(lambda: Load(took), "127.0.0.1", port)
        connections.append(protocol)
    start, count = perf_counter(), round(rate * seconds)
    for number in range(count):
        due = start + number / rate
        if (wait := due - perf_counter()) > 0.0005:
            await asyncio.sleep(wait)
        connections[number % CONNECTIONS].ask(requests[number % len(requests)], due)
    while any(each.waiting for each in connections):
        await asyncio.sleep(0.01)
    for each in connections:
        each.transport.close()
    return took


async def view(port: int, seen: list[int]) -> None:
    """Read the page's events as a browser would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(b"GET /penstock/live HTTP/1.1\r\nhost: bench\r\n\r\n")
    try:
        while line := await reader.readline():
            if line.startswith(b"event: tick"):
                seen.append(1)
    finally:
        writer.close()


async def stretch(
    server: Served, requests: Sequence[bytes], rate: float, seconds: float, viewers: int
) -> Round:
    port = urlsplit(server.url).port or 0
    seen: list[int] = []
    watching = [asyncio.create_task(view(port, seen)) for _ in range(viewers)]
    await load(port, requests, rate, 1.0)  # until all is as it will be
    seen.clear()
    before, start = server.cpu(), perf_counter()
    took = await load(port, requests, rate, seconds)
    cpu = (server.cpu() - before) / (perf_counter() - start)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    await asyncio.sleep(1.2)  # in which the server finds that nobody looks any more
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return Round(cpu, float(p50), float(p99), len(took), len(seen))


def measure(
    models: int, rate: float, seconds: float, rounds: int, crowd: Sequence[int]
) -> list[dict[str, Any]]:
    arms: dict[int, list[Round]] = {viewers: [] for viewers in (0, *crowd)}
    with served(models) as (server, requests):
        for turn in range(rounds):
            for viewers in sorted(arms, reverse=bool(turn % 2)):
                arms[viewers].append(uvloop.run(stretch(server, requests, rate, seconds, viewers)))
    return [row(viewers, arms, seconds) for viewers in arms]


@contextmanager
def served(models: int) -> Iterator[tuple[Served, list[bytes]]]:
    names = [f"tiny-{number:03}" for number in range(models)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            fixtures.write(Path(folder) / "models", name, "1", fixtures.tiny())
        with serving(Path(folder) / "models", SERVER_CORE) as server:
            server.wait()
            yield server, [request(name) for name in names]


def row(viewers: int, arms: dict[int, list[Round]], seconds: float) -> dict[str, Any]:
    mine = arms[viewers]
    more = [(one.cpu - none.cpu) * 100 for one, none in zip(mine, arms[0], strict=True)]
    cpu = median(one.cpu for one in mine) * 100
    found: dict[str, Any] = {
        "viewers": viewers,
        "requests a second": round(median(one.answered for one in mine) / seconds),
        "CPU, % of a core": round(cpu, 2),
        "p50, ms": round(median(one.p50_ms for one in mine), 3),
        "p99, ms": round(median(one.p99_ms for one in mine), 3),
    }
    if viewers:
        base = median(one.cpu for one in arms[0]) * 100
        found |= {
            "more, % of a core": round(median(more), 3),
            "least": round(min(more), 3),
            "most": round(max(more), 3),
            "more, % of the server's": round(median(more) / base * 100, 2),
            "ticks": sum(one.ticks for one in mine) // viewers,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds; rough figures")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second over all models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    seconds, rounds, crowd = (4.0, 2, [1]) if options.quick else (20.0, 6, [1, 10])
    rows = measure(options.models, options.rate, seconds, rounds, crowd)
    got = next(each["more, % of a core"] for each in rows if each["viewers"] == 1)
    aim = {"name": "one viewer, % of a core", "aim": f"under {AIM:g}", "got": got, "met": got < AIM}
    title = f"{options.models} models, {options.rate:g} requests a second, {rounds} rounds of {seconds:g} s"
    raise SystemExit(not report(rows, [aim], options.json, title))


if __name__ == "__main__":
    main()
