"""Child processes that make or measure: asked in turn, watched for time and memory, and ended."""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from penstock.core import machine
from penstock.core.errors import LoadFailed
from penstock.optimize.messages import Ask, Failed, Tell
from penstock.optimize.samples import Samples
from penstock.workers.process import environment

LOOK = 0.05
"""Seconds between looks at how much memory a child holds."""
LAST_WORDS = 4000

Told = TypeVar("Told", bound=Tell)


class Lost(LoadFailed):
    """A child died, hung, or took too much; what it was asked cannot be done here."""


class Memo:
    """A file that is in memory alone where the system has such, to hand data to children and back.

    Samples may be live traffic, which is not to reach a disk.
    """

    def __init__(self, name: str) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create(name)
        else:  # macOS: a file without a name, gone with its last holder
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())

    @property
    def path(self) -> Path:
        """As this process and its children see it."""
        return Path(f"/dev/fd/{self.fd}")

    def close(self) -> None:
        os.close(self.fd)


class Child:
    """One process; ``ask`` blocks."""

    def __init__(self, folder: Path, threads: int, memory: int, memos: Sequence[Memo] = ()) -> None:
        """``folder`` is its working directory, ``memory`` the bytes that it may hold (0: any)."""
        self._memory = memory
        self._closed = False
        self._decoder: msgspec.json.Decoder[Tell] = msgspec.json.Decoder(Tell)
        with ExitStack() as kept, ExitStack() as theirs:
            self._words = kept.enter_context(tempfile.TemporaryFile(dir=folder))
            lifeline, self._lifeline = os.pipe()
            theirs.callback(os.close, lifeline)
            kept.callback(os.close, self._lifeline)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "penstock.optimize.child", str(lifeline)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                cwd=folder,
                env=environment(os.environ, threads) | {"PYTHONWARNINGS": "ignore"},
                pass_fds=[lifeline, *(memo.fd for memo in memos)],
                start_new_session=True,
            )
            kept.pop_all()
        assert self._process.stdin is not None  # noqa: S101 - they are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._asks, self._answers = self._process.stdin, self._process.stdout

    def ask(self, question: Ask, kind: type[Told], seconds: float) -> Told:
        """The answer to a question; raises LoadFailed with the child's reason.

        Raises Lost where it has none within ``seconds``, holds more memory than it may, or dies; it has
        ended then.
        """
        self.send(question)
        return self.receive(kind, seconds)

    def send(self, question: Ask) -> None:
        """Without waiting for the answer; raises Lost."""
        if self._closed:
            raise Lost("its process has ended before")
        try:
            self._asks.write(msgspec.json.encode(question) + b"\n")
            self._asks.flush()
        except OSError:
            raise Lost(self._died()) from None

    def receive(self, kind: type[Told], seconds: float) -> Told:
        """The answer to what was sent; as ``ask``."""
        end = monotonic() + seconds
        while not select.select([self._answers], [], [], LOOK)[0]:
            held = machine.resident(self._process.pid)
            if self._memory and held > self._memory:
                self.close()
                raise Lost(f"it took more than {self._memory / 2**30:.1f} GiB of memory and was ended")
            if monotonic() > end:
                self.close()
                raise Lost(f"it was not done within {seconds:.0f} s and was ended")
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise Lost(self._died())
        told = self._decoder.decode(line)
        if isinstance(told, Failed):
            raise LoadFailed(told.reason)
        assert isinstance(told, kind)  # noqa: S101 - each question has its kind of answer
        return told

    def _died(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            code = 0
        said = self._said()
        self.close()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"its process ended by {how}" + (f": {said}" if said else "")

    def _said(self) -> str:
        """The last line that it printed, or the first of a crash's trace."""
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - LAST_WORDS))
        lines = [
            line.strip() for line in self._words.read().decode(errors="replace").splitlines() if line.strip()
        ]
        crash = next((line for line in lines if line.startswith("Fatal Python error")), "")
        return (crash or (lines[-1] if lines else ""))[:200]

    def close(self) -> None:
        """End it and what it started, at once; any number of times."""
        if self._closed:
            return
        self._closed = True
        try:
            os.killpg(self._process.pid, 9)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()
        os.close(self._lifeline)
        for stream in (self._asks, self._answers, self._words):
            try:
                stream.close()
            except OSError:
                pass


def saved(samples: Samples, name: str = "samples") -> Memo:
    """Samples where children can read them."""
    memo = Memo(name)
    samples.save(memo.path)
    return memo
