"""A child process: how it is started, what it prints, how it ended."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from threading import Thread
from typing import IO

from penstock.core import machine
from penstock.engines.require import QUIET as TELEMETRY

log = logging.getLogger("penstock.model")

CHILD = "penstock.workers.child"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Idle compute threads sleep; by default they spin, and eat the event loop's share of the cores."""
LINE = 2000
"""Characters of a printed line that are kept."""
_GRACE = 5.0
_LAST_WORDS = 0.5


class Process:
    """Runs ``penstock.workers.child`` in a session of its own, out of reach of the terminal's Ctrl-C."""

    def __init__(self, name: str, threads: int) -> None:
        """Blocks for some milliseconds."""
        self._name = name
        self._said: deque[str] = deque(maxlen=20)
        self._group_gone = False
        with ExitStack() as theirs, ExitStack() as ours:
            self.socket, channel = socket.socketpair()
            ours.enter_context(self.socket)
            theirs.enter_context(channel)
            lifeline, self._lifeline = _pipe(theirs, ours)
            self.sentinel, alive = _pipe(ours, theirs)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                # -P: what lies in the working directory must not shadow modules before sys.path is set
                [sys.executable, "-P", "-m", CHILD, str(channel.fileno()), str(lifeline), name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(os.environ, threads),
                pass_fds=(channel.fileno(), lifeline, alive),
                start_new_session=True,
            )
            self.pid = self._process.pid
            assert self._process.stdout is not None  # noqa: S101 - it is a pipe
            output = ours.enter_context(self._process.stdout)
            ours.callback(self._end)
            self._listener = Thread(target=self._listen, args=(output,), name=f"{name}-output", daemon=True)
            self._listener.start()
            ours.pop_all()
        self._watch_itself()

    def _watch_itself(self) -> None:
        """What it has forked may outlive it, and hold the pipe that tells of its end."""
        if not hasattr(os, "pidfd_open"):
            return
        try:
            itself = os.pidfd_open(self.pid)
        except OSError:  # a sandbox that does not know it, or too many files: the pipe does, nearly always
            return
        os.close(self.sentinel)
        self.sentinel = itself

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(LINE):
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._said.append(text)
                    log.info("%s: %s", self._name, text)

    def kill(self) -> None:
        """The process and what it started, at once; from any thread, any number of times."""
        ended = self._process.poll() is not None
        if self._group_gone:
            return
        self._group_gone = ended  # from now on its number may become another's
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of one that has ended
            pass

    def ended(self) -> str:
        """How it ended: waits a moment for it to do so, and ends it otherwise."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
            return "it stopped answering and was ended"
        self.kill()
        self._listener.join(_LAST_WORDS)
        return _words(code, tuple(self._said))

    def close(self) -> None:
        """Wait for it to end by itself, then end it and what it started, and let go of everything."""
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            pass
        self._end()
        for fd in (self.sentinel, self._lifeline):
            os.close(fd)

    def _end(self) -> None:
        self.kill()
        self._process.wait()
        self.kill()  # what it has started, if it had ended by itself before

    def resident(self) -> int:
        """Bytes of memory that it holds now; 0 where the system does not tell."""
        return machine.resident(self.pid)


def environment(ours: Mapping[str, str], threads: int) -> dict[str, str]:
    """The child's variables: what the user has set is kept, and threads are as many as it was given."""
    return (
        QUIET
        | {TELEMETRY: "1"}
        | dict.fromkeys(THREAD_VARIABLES, str(threads))
        | dict(ours)
        | {"PYTHONUNBUFFERED": "1"}
    )


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """Its two ends, each closed with a stack."""
    ends = os.pipe()
    reader.callback(os.close, ends[0])
    writer.callback(os.close, ends[1])
    return ends


def _words(code: int, said: Sequence[str]) -> str:
    if code >= 0:
        how = f"exit status {code}"
    else:
        try:
            how = f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            how = f"signal {-code}"
    # Tracebacks end with what matters; faulthandler's begin with it.
    last = next((line for line in said if line.startswith("Fatal Python error")), said[-1] if said else "")
    return f"{how}: {last[:200]}" if last and code != -signal.SIGKILL else how
