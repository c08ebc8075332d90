"""Where log lines leave the process: a bounded queue, and a thread that writes it away."""

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import TextIO

CAPACITY = 10_000
"""Lines that may wait for a slow reader; more are dropped and counted."""
GRACE = 1.0
"""Seconds that the lines still waiting get when the process ends."""

Write = Callable[[str], None]


class Outlet(logging.Handler):
    """Formats where the record was made, writes from a thread of its own, drops when that lags."""

    def __init__(self, write: Write, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._write = write
        self._lines: queue.Queue[str | None] = queue.Queue(capacity)
        self._overflowed = 0
        self._broken = 0
        self._thread = threading.Thread(target=self._run, name="penstock-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines dropped, or refused by what they were written to."""
        return self._overflowed + self._broken

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._overflowed += 1
        except Exception:  # noqa: BLE001 - logging's contract: a bad record must not break its maker
            self.handleError(record)

    def flush(self) -> None:
        """Nothing: lines leave as fast as they can, and ``close`` waits for them."""

    def close(self) -> None:
        """Wait until all is written, at most ``GRACE`` seconds; ``logging.shutdown`` calls this at exit."""
        try:
            self._lines.put(None, timeout=GRACE)
        except queue.Full:
            pass
        else:
            self._thread.join(GRACE)
        super().close()

    def _run(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            self._put(line)
            if self._overflowed > told:
                told, before = self._overflowed, told
                self._put(f"({told - before} log lines were dropped: the log's reader is too slow)")

    def _put(self, line: str) -> None:
        try:
            self._write(f"{line}\n")
        except (OSError, ValueError):  # the reader has gone, or the stream is closed
            self._broken += 1


def writer(stream: TextIO) -> Write:
    """Writes to the stream's descriptor where it has one.

    A thread stuck in a stream's own buffer holds its lock, and the interpreter aborts on that at exit.
    """
    try:
        stream.fileno()
    except (AttributeError, OSError):
        return _buffered(stream)
    stream.flush()
    return _raw(stream)


def _raw(stream: TextIO) -> Write:
    def write(text: str) -> None:
        rest = text.encode(errors="backslashreplace")
        while rest:
            # Asked each time: a closed stream raises, where its old number may be another file's by now.
            rest = rest[os.write(stream.fileno(), rest) :]

    return write


def _buffered(stream: TextIO) -> Write:
    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write
