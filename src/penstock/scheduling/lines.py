"""Who waits: a line for each kind of request that may share batches, and the next batch out of them."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from time import monotonic
from typing import TypeAlias

from penstock.core.ports import BatchPolicy, Line, Take
from penstock.core.ticket import Ticket

WINDOW = 256
"""Requests that a policy looks at; deeper ones change no decision about the next batch."""

Key: TypeAlias = tuple[object, ...]
"""A line's priority first, so that the smallest key is the most urgent; then what its requests share."""


class Lines:
    """``gone`` is told of every request whose caller has left, ``late`` of those that are given up."""

    def __init__(self, gone: Callable[[Ticket], None], late: Callable[[Ticket], None]) -> None:
        self.rows = 0
        """All rows waiting."""
        self._gone = gone
        self._late = late
        self._lines: dict[Key, deque[Ticket]] = {}
        self._alone: deque[Ticket] = deque()

    def __bool__(self) -> bool:
        return bool(self._lines or self._alone)

    def __iter__(self) -> Iterator[Ticket]:
        yield from self._alone
        for line in self._lines.values():
            yield from line

    def add(self, key: Key, entry: Ticket) -> None:
        """To the end of its line."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
        line.append(entry)
        self.rows += entry.rows

    def add_alone(self, entry: Ticket) -> None:
        """Before everybody else, and for a batch of its own."""
        self._alone.append(entry)
        self.rows += entry.rows

    def clear(self) -> list[Ticket]:
        """Send all home; returns them."""
        entries = list(self)
        self._alone.clear()
        self._lines.clear()
        self.rows = 0
        return entries

    def sweep(self) -> None:
        """Let go of all who are over, wherever they stand; forming batches sees only to the front."""
        over = [entry for entry in self if entry.over]
        if not over:
            return
        self._alone = deque(entry for entry in self._alone if not entry.over)
        kept = {key: deque(entry for entry in line if not entry.over) for key, line in self._lines.items()}
        self._lines = {key: line for key, line in kept.items() if line}
        for entry in over:
            self.rows -= entry.rows
            self._gone(entry)

    def form(self, policy: BatchPolicy) -> list[Ticket] | float:
        """The next batch, empty if only late or absent ones were dropped; or until when all lines wait.

        Raises what the policy raises, and ValueError where it takes what is not there.
        """
        if self._alone:
            return self._single()
        until = inf
        for key in self._order():
            line = self._lines[key]
            waiting = self._present(key, line)
            if not waiting:
                return []
            decision = policy.decide(Line(monotonic(), waiting, self.rows))
            if isinstance(decision, Take):
                return self._take(key, line, waiting, decision, policy)
            until = min(until, decision.until)
        return until

    def _single(self) -> list[Ticket]:
        entry = self._alone.popleft()
        self.rows -= entry.rows
        if not entry.over:
            return [entry]
        self._gone(entry)
        return []

    def _order(self) -> list[Key]:
        """Most urgent class first; within a class, the line whose head came first."""
        if len(self._lines) == 1:
            return list(self._lines)
        return sorted(self._lines, key=lambda key: (key[0], self._lines[key][0].arrived))

    def _present(self, key: Key, line: deque[Ticket]) -> list[Ticket]:
        """The front of a line without those whose callers have gone."""
        waiting = list(line) if len(line) <= WINDOW else list(islice(line, WINDOW))
        for entry in waiting:
            if entry.over:
                break
        else:
            return waiting
        kept = [entry for entry in line if not entry.over]
        for entry in line:
            if entry.over:
                self.rows -= entry.rows
                self._gone(entry)
        line.clear()
        line.extend(kept)
        if not line:
            del self._lines[key]
        return kept[:WINDOW]

    def _take(
        self, key: Key, line: deque[Ticket], waiting: list[Ticket], take: Take, policy: BatchPolicy
    ) -> list[Ticket]:
        end = take.skip + take.count
        if not 0 < end <= len(waiting) or take.skip < 0 or take.count < 0:
            raise ValueError(f"{take} is not possible with {len(waiting)} requests waiting")
        cap = policy.cap if len(self._lines) > 1 else 0  # asked now: it may raise
        for _ in range(end):
            line.popleft()
        if not line:
            del self._lines[key]
        taken = 0
        for entry in waiting[:end]:
            taken += entry.rows
        self.rows -= taken
        for entry in waiting[: take.skip]:
            self._late(entry)
        chosen = waiting[take.skip : end]
        if self._lines and chosen and end == len(waiting):
            self._fill(key, chosen, cap)
        return chosen

    def _fill(self, key: Key, chosen: list[Ticket], cap: int) -> None:
        """Give the room left in a batch to less urgent requests that fit it."""
        room = cap - sum(entry.rows for entry in chosen)
        for other in sorted(other for other in self._lines if other[1:] == key[1:] and other != key):
            line = self._lines[other]
            while line and line[0].rows <= room:
                entry = line.popleft()
                self.rows -= entry.rows
                if entry.over:
                    self._gone(entry)
                else:
                    room -= entry.rows
                    chosen.append(entry)
            if not line:
                del self._lines[other]
