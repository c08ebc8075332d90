"""``penstock serve`` in a process of its own: what it said, its children, and the CPU that all took."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import orjson

from benchmarks.overhead import cpu_seconds

PATIENCE = 300.0
"""Seconds that start-up may take, which compiles and measures every model."""


class Served:
    """A server that is ready, while the block of ``serving`` lasts."""

    def __init__(self, command: Sequence[str]) -> None:
        self._lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.pid = self._process.pid
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                self._lines.append(orjson.loads(line))
            except ValueError:
                self._lines.append({"message": line.decode(errors="replace").rstrip()})

    def wait(self) -> None:
        """Until it listens; raises RuntimeError with its words if it ends instead."""
        end = time.monotonic() + PATIENCE
        while not self.log("^ready$"):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server is not ready; it said:\n" + "\n".join(self.log()))
            time.sleep(0.05)

    @property
    def url(self) -> str:
        port = next(line["http_port"] for line in list(self._lines) if "http_port" in line)
        return f"http://127.0.0.1:{port}"

    def log(self, pattern: str = "") -> list[str]:
        """Messages that match."""
        said = [str(line.get("message", "")) for line in list(self._lines)]
        return [message for message in said if re.search(pattern, message)]

    def children(self) -> list[int]:
        """The processes of models."""
        lists = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for each in lists for pid in _text(each).split()]

    def cpu(self) -> float:
        """User and system seconds so far of the server and the children that live."""
        return cpu_seconds(self.pid) + sum(cpu_seconds(pid) for pid in self.children())

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a thread that has ended meanwhile
        return ""


@contextmanager
def serving(
    repository: Path, core: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """A server of these models, on one core or on all; not yet ready, so that others may load meanwhile.

    ``settings`` are environment variables.
    """
    ports = ["--http-port", "0", "--grpc-port", "-1"]
    command = [sys.executable, "-m", "penstock", "serve", str(repository), *ports, "--log-format", "json"]
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    clean = [name for name in os.environ if name.startswith("PENSTOCK_")]
    told = {"PENSTOCK_METER_FILE": str(repository.parent / "books.db"), **(settings or {})}
    given = [f"{name}={value}" for name, value in told.items()]
    bare = ["env", *(word for name in clean for word in ("-u", name)), *given]
    server = Served([*bare, *pinned, *command])
    try:
        yield server
    finally:
        server.close()
