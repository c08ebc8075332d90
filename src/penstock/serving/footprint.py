"""How much memory models take: measured where they were loaded before, else estimated from their files."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from penstock.core import machine
from penstock.core.ports import Session
from penstock.engines.memory import trim
from penstock.repository.watch import Load, Print

FACTOR = 1.5
"""Memory over file size where nothing was measured: 1.1 to 1.5 for matrices, up to 4 for convolutions."""
LEAST = 0.5
"""A measurement below this part of the file size found its pages in memory that was free before."""
FIRST = 256 * 1024 * 1024
"""What a framework may take for itself when its first model is loaded."""
RECENT = 8
"""Measurements of which the largest counts."""


def own() -> int:
    """Resident bytes of this process; 0 where the system does not tell (it is Linux that does).

    What was freed is given back first: else some of it counts, and some of what comes next does not.
    """
    trim()
    return machine.resident()


def resident(sessions: Sequence[Session]) -> int:
    """Resident bytes of the processes that sessions have of their own; 0 for sessions in this one."""
    once = {id(session): session for session in sessions}.values()
    return sum(int(session.resident()) for session in once if hasattr(session, "resident"))


class Growth:
    """How much this process grew while something was loaded, where nothing else came or went meanwhile."""

    def __init__(self, read: Callable[[], int] = own) -> None:
        self._read = read
        self._running = 0
        self._begun = 0

    @contextmanager
    def over(self) -> Iterator[Callable[[], int | None]]:
        """The block is told by a function: bytes since its begin, or None where they are not its own."""
        self._begun += 1
        number, alone, before = self._begun, not self._running, self._read()
        self._running += 1
        try:
            yield lambda: self._read() - before if before and alone and self._begun == number else None
        finally:
            self._running -= 1


class Size(Struct, frozen=True):
    """Bytes, those that it takes at the least, and whether they were measured."""

    bytes: int
    least: int = 0
    measured: bool = False


class Sizes:
    """What is known of every version's size, by its files."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[Print, deque[int]]] = {}
        self._frameworks: set[str] = set()

    def expect(self, order: Load) -> Size:
        """Of a version that is not in memory."""
        files, found = self._found.get((order.model, order.version), ((), ()))
        if found and files == order.fingerprint:
            return Size(max(found), min(found), measured=True)
        return Size(round(FACTOR * on_disk(order)), on_disk(order))

    def note(self, order: Load, platform: str, grown: int | None, children: int) -> None:
        """A version was loaded: this process grew by ``grown`` bytes, its own processes have ``children``."""
        key, files = (order.model, order.version), order.fingerprint
        first = platform not in self._frameworks
        self._frameworks.add(platform)
        if children:
            size = children
        elif grown is None or (first and grown - FIRST < FACTOR * on_disk(order)):
            return
        else:
            size = max(grown - FIRST * first, round(LEAST * on_disk(order)), 1)
        before = self._found.get(key)
        if before is None or before[0] != files:
            self._found[key] = before = files, deque(maxlen=RECENT)
        before[1].append(size)

    def forget(self, model: str) -> None:
        """Its folder is gone."""
        self._found = {key: value for key, value in self._found.items() if key[0] != model}


def on_disk(order: Load) -> int:
    """Bytes of a version's files."""
    return sum(max(0, size) for _, size, _ in order.fingerprint[1])
