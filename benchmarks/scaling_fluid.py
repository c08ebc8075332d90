"""Instances that come and go under a policy on a simulated clock, before one queue of requests as a fluid."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from benchmarks.scaling_traces import STEPS, Floats, Trace
from penstock.serving.resizing import changes

TICK = 10
"""Seconds."""
TARGET = 0.2
"""Seconds that a request may wait in the queue."""
JITTER = 0.1
"""Of a start-up, either way."""
START = 1_700_006_400
"""Unix seconds at which traces begin: midnight."""


class Look(Struct):
    """What a policy may know at the end of a tick."""

    now: int
    """Seconds since the start of the trace."""
    counts: Floats
    """Requests of each second of the last tick."""
    waiting: float
    ready: int
    starting: int
    served: float
    """Requests answered in the last tick."""
    missed: float
    asked: float
    carries: float
    startup_s: float


class Policy(Protocol):
    """How many instances there should be from now on."""

    def __call__(self, look: Look, /) -> int: ...


class Outcome(Struct):
    """What came of a policy on a trace."""

    asked: float
    missed: float
    hours: float
    """Of instances, from the moment they begin to start."""
    actions: int
    """Instances started or stopped, as orders."""
    counts: NDArray[np.int32]
    """Instances there were, ready or not, at each tick."""
    worst: float
    """Share missed on the worst day."""

    @property
    def share(self) -> float:
        return self.missed / self.asked if self.asked else 0.0


class Line:
    """The queue: what is over capacity waits, and all that waits is served in order."""

    def __init__(self) -> None:
        self.waiting = 0.0

    def pass_(self, arrivals: NDArray[np.float32], capacity: Floats | float) -> tuple[float, float]:
        """Of some steps: requests served, and those that wait longer than the target.

        ``capacity`` is in requests a step.
        """
        begin = self.waiting
        steps = np.cumsum(arrivals - capacity, dtype=np.float64)
        lowest = np.minimum(np.minimum.accumulate(steps), -begin)
        waiting = steps - lowest
        room = np.asarray(capacity) * (TARGET * STEPS)
        over = np.minimum(np.maximum(waiting - room, 0.0), arrivals)
        self.waiting = float(waiting[-1])
        return begin + float(arrivals.sum()) - self.waiting, float(over.sum())


def run(
    trace: Trace,
    policy: Policy,
    delay: float,
    first: int,
    most: int,
    seed: int = 1,
    on: Callable[[Look], None] | None = None,
) -> Outcome:
    """A policy over the whole trace, from so many instances on and never over ``most``; ``on`` watches."""
    rng = np.random.default_rng((seed, 6))
    line, ready, starting = Line(), first, list[float]()
    carries, each_second = trace.carries, trace.each_second()
    ticks = trace.seconds // TICK
    there = np.zeros(ticks, np.int32)
    missed_by, asked_by = np.zeros(ticks), np.zeros(ticks)
    actions = 0
    for tick in range(ticks):
        begin, end = tick * TICK, (tick + 1) * TICK
        there[tick] = ready + len(starting)
        arrivals = trace.counts[begin * STEPS : end * STEPS]
        capacity: Floats | float = ready * carries / STEPS
        if starting and min(starting) < end:
            grown = np.zeros(TICK * STEPS)
            for at in starting:
                if at < end:
                    grown[max(0, int((at - begin) * STEPS)) :] += carries / STEPS
                    ready += 1
            starting = [at for at in starting if at >= end]
            capacity = capacity + grown
        served, missed = line.pass_(arrivals, capacity)
        missed_by[tick], asked_by[tick] = missed, arrivals.sum()
        counts = each_second[begin:end]
        look = Look(
            end,
            counts,
            line.waiting,
            ready,
            len(starting),
            served,
            missed,
            float(asked_by[tick]),
            carries,
            delay,
        )
        wanted = min(policy(look), most)
        start, cancel, drain = changes(ready, len(starting), wanted)
        actions += bool(start or cancel or drain)
        if start:
            starting += (end + delay * rng.uniform(1 - JITTER, 1 + JITTER, start)).tolist()
        if cancel:
            starting = sorted(starting)[: len(starting) - cancel]
        ready -= drain
        if on:
            on(look)
    days = range(0, ticks, 8640)
    worst = max(missed_by[i : i + 8640].sum() / max(1.0, asked_by[i : i + 8640].sum()) for i in days)
    hours = float(there.sum()) * TICK / 3600
    return Outcome(float(asked_by.sum()), float(missed_by.sum()), hours, actions, there, float(worst))
