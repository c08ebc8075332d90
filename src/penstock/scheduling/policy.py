"""Batch policies by name, and the three classical ones: none, fixed and AIMD."""

from collections.abc import Sequence
from typing import cast

from penstock.core.importing import find
from penstock.core.ports import BatchPolicy, Line, Take, Wait, Waiting
from penstock.core.spec import Batching

POLICIES = {
    "none": "penstock.scheduling.policy:Single",
    "fixed": "penstock.scheduling.policy:Fixed",
    "aimd": "penstock.scheduling.policy:Aimd",
    "slo": "penstock.scheduling.slo:Slo",
}

LARGEST = 64
"""Most rows in a batch when the settings leave it open."""


def make(batching: Batching, target: float) -> BatchPolicy:
    """The policy that the settings name, made as ``Class(batching, target)``.

    ``target`` is the latency to hold in seconds, ``inf`` for none.
    Raises BadSetting for a name that is not known.
    """
    return cast(BatchPolicy, find(batching.policy, POLICIES, "batch policy")(batching, target))


def fit(waiting: Sequence[Waiting], rows: int, start: int = 0) -> int:
    """How many requests from ``start`` on make a batch of at most ``rows``; the first always does."""
    room = rows - waiting[start].rows
    end = start + 1
    while end < len(waiting) and waiting[end].rows <= room:
        room -= waiting[end].rows
        end += 1
    return end - start


def expired(waiting: Sequence[Waiting], now: float) -> int:
    """How many requests at the head are past their deadline."""
    for index, request in enumerate(waiting):
        if request.deadline >= now:
            return index
    return len(waiting)


class Single:
    """One request at a time, in order."""

    cap = 1

    def __init__(self, batching: Batching, target: float) -> None: ...

    def decide(self, line: Line, /) -> Take | Wait:
        skip = expired(line.waiting, line.now)
        return Take(1 if skip < len(line.waiting) else 0, skip)

    def learn(self, rows: int, seconds: float, /) -> None: ...

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True


class Fixed:
    """Preferred sizes and a maximum delay, as Triton's dynamic batcher.

    The largest preferred size that is there runs at once.
    Fewer rows wait until the oldest has waited ``max_delay_ms``, then all run, up to ``max_rows``.
    Without preferred sizes the only one is ``max_rows``.
    """

    def __init__(self, batching: Batching, target: float) -> None:
        self.cap = batching.max_rows or max(batching.preferred, default=LARGEST)
        preferred = {size for size in batching.preferred if size <= self.cap}
        self._preferred = sorted(preferred or {self.cap}, reverse=True)
        self._delay = batching.max_delay_ms / 1e3

    def decide(self, line: Line, /) -> Take | Wait:
        waiting = line.waiting
        skip = expired(waiting, line.now)
        if skip == len(waiting):
            return Take(0, skip)
        there = 0
        for request in waiting[skip : skip + self.cap]:
            there += request.rows
        for size in self._preferred:
            if there >= size:
                return Take(fit(waiting, size, skip), skip)
        until = waiting[skip].arrived + self._delay
        if line.now >= until:
            return Take(fit(waiting, self.cap, skip), skip)
        return Take(0, skip) if skip else Wait(until)

    def learn(self, rows: int, seconds: float, /) -> None: ...

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True


class Aimd:
    """Additive increase, multiplicative decrease of the batch size, as Clipper (NSDI 2017, section 4.3).

    A full batch that ran within the target lets the next be two rows larger.
    One that ran longer makes it a tenth smaller.
    """

    def __init__(self, batching: Batching, target: float) -> None:
        self._most = batching.max_rows or LARGEST
        self._target = target
        self._size = 1.0

    @property
    def cap(self) -> int:
        return int(self._size)

    def decide(self, line: Line, /) -> Take | Wait:
        skip = expired(line.waiting, line.now)
        if skip == len(line.waiting):
            return Take(0, skip)
        return Take(fit(line.waiting, self.cap, skip), skip)

    def learn(self, rows: int, seconds: float, /) -> None:
        if seconds > self._target:
            self._size = max(1.0, self._size * 0.9)
        elif rows >= self.cap:
            self._size = min(float(self._most), self._size + 2)

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True
