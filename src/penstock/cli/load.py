"""A load generator that costs little: HTTP/1.1 on bare asyncio protocols, closed or open loop.

Open loop: arrivals are drawn beforehand, and a request's latency counts from the moment at which it
should have been sent, whether or not a connection was free then (no coordinated omission).
"""

import asyncio
import ssl
from collections import Counter, deque
from itertools import cycle
from time import perf_counter
from typing import cast

import httptools
import numpy as np
import uvloop
from msgspec import Struct

from penstock.cli.measure import Samples, arrivals
from penstock.core.errors import Unavailable

RECONNECT = 0.01
"""Seconds before a lost connection is tried again, so that a dead server is not stormed."""


class Plan(Struct, frozen=True, kw_only=True):
    """One level of load."""

    host: str
    port: int
    requests: tuple[bytes, ...]
    """Whole HTTP requests, sent in turn."""
    connections: int
    rate: float = 0.0
    """Requests a second (Poisson); 0: each connection asks again as soon as it is answered."""
    warmup: float = 1.0
    duration: float = 10.0
    patience: float = 2.0
    """Seconds that the last answers are waited for."""
    seed: int = 0
    tls: bool = False
    ca: str = ""


def run(plan: Plan) -> Samples:
    """Load the server as planned; blocks for warm-up, duration and at most ``patience``.

    Raises Unavailable where the connections cannot be opened.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run((Open if plan.rate else Closed)(plan).run())


class Load:
    """What both loops share: connections, the window, and what is written down."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests = cycle(plan.requests)
        self.connections = [Connection(self) for _ in range(plan.connections)]
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.errors: Counter[str] = Counter()
        self.messages: dict[str, bytes] = {}
        self.completed = 0
        self.closing = False
        self.begin = self.start = self.end = float("inf")
        self._tls = ssl.create_default_context(cafile=plan.ca or None) if plan.tls else None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Samples:
        await self._connect_all()
        self.begin = perf_counter()
        self.start = self.begin + self.plan.warmup
        self.end = self.start + self.plan.duration
        self.go()
        await asyncio.sleep(self.end - perf_counter())
        await self._drain()
        samples = self._samples()
        self.closing = True
        for connection in self.connections:
            connection.close()
        for task in self._tasks:
            task.cancel()
        return samples

    def go(self) -> None:
        """Start asking."""
        raise NotImplementedError

    def next(self, connection: "Connection", now: float) -> None:
        """A connection is free: give it something to do."""
        raise NotImplementedError

    def waiting(self) -> list[float]:
        """Intended times of requests that no connection has taken yet."""
        return []

    async def _connect_all(self) -> None:
        for i, connection in enumerate(self.connections):
            try:
                await self._connect(connection)
            except OSError as error:
                raise Unavailable(
                    f"connection {i + 1} of {len(self.connections)} to {self.plan.host}:{self.plan.port} "
                    f"failed ({error}); ask for fewer, or raise the server's limit"
                ) from None

    async def _connect(self, connection: "Connection") -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, self.plan.host, self.plan.port, ssl=self._tls)

    async def _drain(self) -> None:
        until = self.end + self.plan.patience
        # Looking now and then costs the hot path nothing, which keeping count would.
        while perf_counter() < until and (self.waiting() or any(c.pending for c in self.connections)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def answered(self, intended: float, status: int, body: bytes) -> float:
        """Write one answer down; returns the time now."""
        now = perf_counter()
        if status != 200:
            self.failed(intended, str(status), body)
            return now
        if intended >= self.start:
            self.latencies.append(now - intended)
        if self.start <= now < self.end:
            self.completed += 1
        return now

    def failed(self, intended: float, kind: str, body: bytes = b"") -> None:
        """Write down a request that got no good answer."""
        if intended >= self.start:
            self.errors[kind] += 1
            self.messages.setdefault(kind, body)

    def lost(self, connection: "Connection") -> None:
        """Open a lost connection anew."""
        if not self.closing:
            task = asyncio.get_running_loop().create_task(self._reconnect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reconnect(self, connection: "Connection") -> None:
        while not self.closing:
            await asyncio.sleep(RECONNECT)
            try:
                await self._connect(connection)
            except OSError:
                continue
            self.next(connection, perf_counter())
            break

    def _samples(self) -> Samples:
        now = perf_counter()
        asked = [*self.waiting(), *(c.intended for c in self.connections if c.pending)]
        return Samples(
            seconds=self.plan.duration,
            latencies=np.array(self.latencies),
            unanswered=np.array([now - intended for intended in asked if intended >= self.start]),
            completed=self.completed,
            late=np.array(self.late),
            errors=dict(self.errors),
            messages=self.messages,
        )


class Closed(Load):
    """Every connection asks again as soon as it has its answer."""

    def go(self) -> None:
        for connection in self.connections:
            connection.send(perf_counter())

    def next(self, connection: "Connection", now: float) -> None:
        if now < self.end:
            connection.send(now)


class Open(Load):
    """Requests come when they come; one that finds no free connection waits, and its clock runs."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._arrivals = arrivals(plan.rate, plan.warmup + plan.duration, plan.seed).tolist()
        self._at = 0
        self._free: list[Connection] = []
        self._backlog: deque[float] = deque()

    def go(self) -> None:
        self._arrivals = [self.begin + offset for offset in self._arrivals]
        self._free = list(self.connections)
        self._pump()

    def next(self, connection: "Connection", now: float) -> None:
        if self._backlog:
            connection.send(self._backlog.popleft())
        else:
            self._free.append(connection)

    def lost(self, connection: "Connection") -> None:
        if connection in self._free:
            self._free.remove(connection)
        super().lost(connection)

    def waiting(self) -> list[float]:
        return [*self._backlog, *self._arrivals[self._at :]]

    def _pump(self) -> None:
        """Send what is due, then come back: by timer if there is time, else by going round at once.

        Timers are good to a millisecond only, so the last one is spent turning.
        """
        loop = asyncio.get_running_loop()
        arrivals = self._arrivals
        while self._at < len(arrivals):
            intended = arrivals[self._at]
            ahead = intended - perf_counter()
            if ahead > 0:
                if ahead > 0.003:
                    loop.call_later(ahead - 0.002, self._pump)
                else:
                    loop.call_soon(self._pump)
                return
            self._at += 1
            if intended >= self.start:
                self.late.append(-ahead)
            self._dispatch(intended)

    def _dispatch(self, intended: float) -> None:
        if self._free:
            self._free.pop().send(intended)
        else:
            self._backlog.append(intended)


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request on its way."""

    __slots__ = ("_body", "_load", "_parser", "_transport", "intended", "open", "pending")

    def __init__(self, load: Load) -> None:
        self._load = load
        self.intended = 0.0
        self.pending = False
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.open = True

    def send(self, intended: float) -> None:
        """Ask the next question, which should have gone out at ``intended``."""
        self.intended = intended
        self.pending = True
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if not self.pending:
            return self._transport.abort()
        self.pending = False
        body = b"".join(self._body)
        self._body.clear()
        now = self._load.answered(self.intended, self._parser.get_status_code(), body)
        if self._parser.should_keep_alive():
            return self._load.next(self, now)
        self.open = False
        return self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.pending and not self._load.closing:
            self.pending = False
            self._load.failed(self.intended, "connection lost")
        self._load.lost(self)

    def close(self) -> None:
        """Let go without waiting."""
        if self.open:
            self._transport.abort()
