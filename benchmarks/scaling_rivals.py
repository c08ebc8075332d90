"""Other rules for the number of instances: fixed, Kubernetes' HPA, Ray Serve's, target tracking, hindsight."""

from collections import deque
from math import ceil

import numpy as np

from benchmarks.scaling_fluid import START, TARGET, TICK, Look
from benchmarks.scaling_traces import Floats, Trace
from penstock.scaling import burst, staffing
from penstock.scaling.decide import Memory, decide
from penstock.scaling.series import Series
from penstock.scaling.types import Decision, Seen, Terms


class Ours:
    """The same ``decide`` as the server calls."""

    def __init__(self, terms: Terms) -> None:
        self.series = Series()
        self.memory = Memory()
        self.terms = terms
        self.decision: Decision | None = None

    def __call__(self, look: Look, /) -> int:
        now = START + look.now
        self.series.extend(now - TICK, look.counts)
        self.series.advance(now)
        seen = Seen(
            now=now,
            series=self.series,
            waiting=look.waiting,
            ready=look.ready,
            starting=look.starting,
            carries=look.carries,
            wait_s=TARGET,
            startup_s=look.startup_s,
            missed=look.missed,
            asked=look.asked,
        )
        self.decision, self.memory = decide(seen, self.memory, self.terms)
        return self.decision.instances


class Static:
    """Enough for the highest 30 s, known beforehand."""

    def __init__(self, trace: Trace) -> None:
        rate, spread = known(trace)
        self.count = staffing.instances(staffing.needed(float(rate.max()), spread, TARGET), trace.carries)

    def __call__(self, look: Look, /) -> int:
        return self.count


class Clairvoyant:
    """Knows the rate of every half minute beforehand, has instances at once, and lets them go at once."""

    def __init__(self, trace: Trace) -> None:
        rate, _ = known(trace)
        seconds = trace.each_second().astype(np.float32)
        self.counts = [
            staffing.instances(
                staffing.needed(
                    float(rate[k]), burst.of(seconds[max(0, k * 10 - 600) : k * 10 + 10]), TARGET
                ),
                trace.carries,
            )
            for k in range(len(rate))
        ]

    def __call__(self, look: Look, /) -> int:
        return self.counts[min(look.now // TICK, len(self.counts) - 1)]


def known(trace: Trace) -> tuple[Floats, float]:
    """Mean rate of the half minute around every tick, and the dispersion of all of it."""
    seconds = trace.each_second()
    ticks = seconds[: len(seconds) // TICK * TICK].reshape(-1, TICK).mean(axis=1)
    rate = np.convolve(np.pad(ticks, 1, mode="edge"), np.ones(3) / 3, "valid")
    return rate, burst.of(seconds.astype(np.float32))


class Hpa:
    """Kubernetes' HorizontalPodAutoscaler on processor utilisation, with its defaults.

    Every 15 s; within a tenth of the target nothing happens; up to the double (or four more) each time;
    down to the most wanted in 300 s. Pods that are not ready count as idle when there are to be more.
    """

    SYNC, TOLERANCE, STABLE = 15, 0.1, 300

    def __init__(self, target: float = 0.7) -> None:
        self.target = target
        self.wanted = 0
        self.due = 0
        self.recommended: deque[tuple[int, int]] = deque()

    def __call__(self, look: Look, /) -> int:
        current = look.ready + look.starting
        if look.now < self.due:
            return self.wanted or current
        # Ticks are of 10 s: on average every 15 s.
        self.due += self.SYNC if self.due else look.now + self.SYNC
        busy = min(1.0, look.served / (TICK * max(1, look.ready) * look.carries))
        found = self._recommended(busy, look.ready, look.starting)
        self.recommended.append((look.now, found))
        while self.recommended[0][0] <= look.now - self.STABLE:
            self.recommended.popleft()
        stable = max(count for _, count in self.recommended)
        self.wanted = found if found > current else min(current, stable)
        self.wanted = max(1, min(self.wanted, max(2 * current, current + 4)))
        return self.wanted

    def _recommended(self, busy: float, ready: int, starting: int) -> int:
        ratio, current = busy / self.target, ready + starting
        if abs(ratio - 1) <= self.TOLERANCE:
            return current
        if ratio > 1 and starting:
            ratio = busy * ready / current / self.target
            return current if ratio <= 1 + self.TOLERANCE else ceil(ratio * current)
        return ceil(ratio * ready)


class RayServe:
    """Ray Serve's default: two requests, queued or running, an instance; up after 30 s, down after 600 s.

    As ``ray.serve.autoscaling_policy`` of 2.60: the mean of 30 s, an instance runs one request at a time.
    """

    ONGOING, UP, DOWN = 2.0, 30, 600

    def __init__(self) -> None:
        self.target = 0
        self.since: int | None = None
        self.rising = False
        self.ongoing: deque[float] = deque(maxlen=3)

    def __call__(self, look: Look, /) -> int:
        self.target = self.target or look.ready
        self.ongoing.append(look.waiting + look.served / TICK / look.carries)
        wanted = max(1, ceil(sum(self.ongoing) / len(self.ongoing) / self.ONGOING))
        if wanted == self.target:
            self.since = None
            return self.target
        if self.since is None or self.rising != (wanted > self.target):
            self.since, self.rising = look.now, wanted > self.target
        if look.now - self.since >= (self.UP if self.rising else self.DOWN):
            self.target, self.since = wanted, None
        return self.target


class Tracking:
    """Target tracking as AWS does it: requests a minute of each instance against 0.7 of what it carries.

    Out when three minutes in a row are over, in when fifteen are under nine tenths of it, and not again for 300 s.
    """

    OUT, IN, COOLDOWN = 3, 15, 300

    def __init__(self, target: float = 0.7) -> None:
        self.target = target
        self.minute = 0.0
        self.minutes: deque[float] = deque(maxlen=self.IN)
        self.wanted = 0
        self.quiet = 0

    def __call__(self, look: Look, /) -> int:
        self.wanted = self.wanted or look.ready
        self.minute += look.asked
        if look.now % 60:
            return self.wanted
        load = self.minute / 60 / look.carries / self.target
        self.minutes.append(load / max(1, look.ready))
        self.minute = 0.0
        over = list(self.minutes)[-self.OUT :]
        if len(over) == self.OUT and min(over) > 1:
            self.wanted = max(self.wanted, ceil(load))
        elif len(self.minutes) == self.IN and max(self.minutes) < 0.9 and look.now >= self.quiet:
            self.wanted = max(1, ceil(load))
            self.quiet = look.now + self.COOLDOWN
        return self.wanted
