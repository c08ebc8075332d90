"""What this process and its children have taken of the machine: processor time and memory."""

import os
from pathlib import Path

from msgspec import Struct

from penstock.core import machine

LOOK = 10
"""Readings of which one looks for children that are new."""


class Taken(Struct, frozen=True):
    """So far, and now."""

    seconds: float
    """User and system time, of children that have ended too."""
    bytes: int
    """Resident; 0 where the system does not tell."""


class Processes:
    """Reading blocks for some 10 µs a child; any thread, one at a time."""

    def __init__(self) -> None:
        self._children: list[int] = []
        self._turn = 0
        self._tick = 1.0 / os.sysconf("SC_CLK_TCK")
        self._most = 0.0

    def read(self) -> Taken:
        """Where the system shows no living children (macOS), they count when they have ended."""
        if self._turn % LOOK == 0:
            self._children = _below(os.getpid())
        self._turn += 1
        own = os.times()
        seconds = own.user + own.system + own.children_user + own.children_system
        children = [(self._cpu(pid), machine.resident(pid)) for pid in self._children]
        # What a child took that ended with nobody waiting for it is told no more.
        self._most = max(self._most, seconds + sum(spent for spent, _ in children))
        return Taken(
            self._most,
            machine.resident() + sum(held for _, held in children),
        )

    def _cpu(self, pid: int) -> float:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            return 0.0
        return sum(map(int, fields[11:15])) * self._tick  # with those of its own that have ended


def _below(pid: int) -> list[int]:
    """Its children and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # a thread that has ended
            continue
        for child in children:
            found += [child, *_below(child)]
    return found
