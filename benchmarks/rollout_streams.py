"""Simulated requests of a rollout: heavy tails, shared bursts, a slow day, returning callers."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from penstock.rollout.evidence.judge import Judge
from penstock.rollout.evidence.margins import Plan, defaults
from penstock.rollout.evidence.requests import Bools, Floats, Ints, Requests, Units
from penstock.rollout.evidence.state import Bound

CHUNK = 512
SPEED = 100.0
"""Requests a second."""
STEPS = (0.01, 0.05, 0.25, 0.5)
P99 = 1.453
"""Seconds, of ``latencies`` in a calm hour."""
TAIL = 0.5
"""Seconds from which an effect on the tail alone stretches latencies."""


class Fault(NamedTuple):
    """What is wrong with the candidate."""

    name: str
    errors: float = 0.001
    tail: float = 1.0
    """Latencies over ``TAIL`` times this."""
    differs: float = 0.0
    """Part of the answers that differ from stable's."""
    control: float = 0.0
    """Part that differs when stable is asked twice."""


class Run(NamedTuple):
    """One rollout, with what rivals want to know of it."""

    seen: Requests
    minute: Ints
    stage: Ints


def latencies(rng: np.random.Generator, count: int) -> Floats:
    """Seconds: 90 % around 0.2, 9 % around 0.5, 1 % around 2; p50 0.21, p99 1.45."""
    kind = np.searchsorted((0.9, 0.99), rng.random(count))
    middle, spread = np.log((0.2, 0.5, 2.0)), np.array((0.4, 0.6, 0.8))
    return np.asarray(np.exp(middle[kind] + spread[kind] * rng.standard_normal(count)))


def weather(rng: np.random.Generator, seconds: int) -> tuple[Floats, Bools]:
    """What both arms share, second by second: a factor on latencies, and whether there is a burst.

    A wandering level, bursts of some ten seconds that double latencies, and a slow third of the day.
    """
    level = np.zeros(seconds)
    steps = 0.15 * np.sqrt(1 - 0.95**2) * rng.standard_normal(seconds)
    for at in range(1, seconds):
        level[at] = 0.95 * level[at - 1] + steps[at]
    burst = np.zeros(seconds, np.bool_)
    for start in np.flatnonzero(rng.random(seconds) < 1 / 300):
        burst[start : start + 1 + int(rng.exponential(10))] = True
    ramp = np.interp(np.arange(seconds), np.array((0.3, 0.36, 0.6, 0.67)) * seconds, (1, 1.5, 1.5, 1))
    return np.exp(level) * np.where(burst, 2.0, 1.0) * ramp, burst


def callers(rng: np.random.Generator, count: int) -> tuple[Units, Floats, Floats, Floats]:
    """Of 2,000 returning callers, who sends each request: hash, where it lies in 0..1, slowness, errors.

    A caller stays on his arm as its share grows; a fiftieth of them cause nearly all errors.
    """
    people = 2000
    hashes = rng.integers(1, 1 << 63, people).astype(np.uint64)
    place, slow = rng.random(people), np.exp(0.3 * rng.standard_normal(people))
    errors = np.where(rng.random(people) < 0.02, 0.05, 0.0001)
    who = np.minimum((people * rng.random(count) ** 2).astype(np.int64), people - 1)
    return hashes[who], place[who], slow[who], errors[who]


def rollout(seed: int, each: int, sticky: bool = False, replica: float = 0.0) -> Run:
    """A good version's rollout in four stages of ``each`` requests, in rough weather.

    ``replica``: spread of how much slower or faster its machine is, once for the whole rollout.
    """
    rng = np.random.default_rng(seed)
    count = each * len(STEPS)
    when = np.arange(count) / SPEED
    factor, burst = weather(rng, int(when[-1]) + 1)
    second, stage = when.astype(np.int64), np.repeat(np.arange(len(STEPS)), each)
    odds = np.array(STEPS)[stage]
    unit, place = np.zeros(count, np.uint64), rng.random(count)
    slow, errors = np.ones(count), np.full(count, 0.001)
    if sticky:
        unit, place, slow, errors = callers(rng, count)
    machine = np.where(place < odds, np.exp(replica * rng.standard_normal()), 1.0)
    seconds = latencies(rng, count) * factor[second] * slow * machine
    failed = rng.random(count) < errors * np.where(burst[second], 3.0, 1.0)
    return Run(columns(place < odds, odds, seconds, failed, unit), (when // 60).astype(np.int64), stage)


def degraded(seed: int, share: float, fault: Fault) -> Iterator[Requests]:
    """A bad version's requests in calm weather, without end."""
    rng = np.random.default_rng(seed)
    while True:
        candidate = rng.random(CHUNK) < share
        seconds = latencies(rng, CHUNK)
        seconds = np.where(candidate & (seconds > TAIL), seconds * fault.tail, seconds)
        failed = rng.random(CHUNK) < np.where(candidate, fault.errors, 0.001)
        yield columns(candidate, np.full(CHUNK, share), seconds, failed, np.zeros(CHUNK, np.uint64))


def columns(candidate: Bools, odds: Floats, seconds: Floats, failed: Bools, unit: Units) -> Requests:
    """Costs and joules in proportion to the latency."""
    none = np.zeros(len(odds), np.bool_)
    slow = np.where(failed, np.inf, seconds)
    return Requests(candidate, odds, slow, failed, none, seconds * 1e-5, seconds * 3.0, unit, none)


def pieces(seen: Requests) -> Iterator[Requests]:
    names = Requests.__struct_fields__
    for at in range(0, len(seen), CHUNK):
        yield Requests(**{name: getattr(seen, name)[at : at + CHUNK] for name in names})


def product(sticky: bool = False, margins: bool = True) -> tuple[Judge, Plan]:
    """The judge of the default canary plan at a thousand requests a second, with all its guards.

    Without ``margins`` any difference at all is an alarm, once it is proven.
    """
    plan = defaults("canary", 1000.0)
    first, alarms = plan.targets[0], plan.alarms
    if not margins:
        alarms = {name: 0.0 if name == "answers" else 1.0 for name in alarms}
    return Judge({name: Bound(alarms[name], first[name]) for name in alarms}, 0.01, sticky=sticky), plan
