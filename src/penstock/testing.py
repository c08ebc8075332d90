"""For your own tests: a clock that stands still, a model without a framework, a server inside the test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from penstock.client import Client
from penstock.engines.echo import EchoEngine
from penstock.server import Server
from penstock.settings import load

__all__ = ["EchoEngine", "ManualClock", "running"]


class ManualClock:
    """A monotonic clock that moves only when told to; call it for the seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds} s")
        self.now += seconds


@contextmanager
def running(repository: Path | str, **settings: Any) -> Iterator[Client]:
    """A client of a server that serves ``repository`` in a thread, on a free port, until the block ends.

    ``settings`` are dotted keys with ``__`` for the dot: ``running(path, watch__settle_s=0.1)``.
    Raises what the server raises when it cannot start.
    """
    flags = {name.replace("__", "."): value for name, value in settings.items()}
    given = {"repository": str(repository), "server.http_port": 0, "server.grpc_port": -1} | flags
    host = _Host(Server(load(None, {}, given)))
    host.start()
    try:
        with Client(f"http://127.0.0.1:{host.server.http_port}") as client:
            yield client
    finally:
        host.stop()


class _Host:
    """A server on a loop of its own in a thread of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="penstock", daemon=True)

    def start(self) -> None:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
