"""Further batch policies to compare with: Nexus-like early drop, and a BentoML-like dispatcher."""

from collections import deque

import numpy as np

from penstock.core.ports import Line, Take, Wait, Waiting
from penstock.core.spec import Batching
from penstock.scheduling.policy import LARGEST
from penstock.scheduling.profile import Profile


class Nexus:
    """Early drop (SOSP 2019, section 6.3), with learned run times and forced exploration.

    Heads that leave no time for a batch of the planned size are dropped, then that batch runs.
    """

    def __init__(self, batching: Batching, target: float) -> None:
        self.cap = 1
        self._target = target
        self.profile = Profile(batching.max_rows or LARGEST)

    def decide(self, line: Line, /) -> Take | Wait:
        waiting, seconds = line.waiting, self.profile.seconds
        total = len(waiting)
        for size in self.profile.sizes:
            if size <= min(total, 4 * self.cap) and size & (size - 1) == 0 and self.profile.count[size] < 3:
                return Take(size)
        skip = 0
        while skip < total - 1:
            size = min(self.cap, total - skip)
            if line.now + seconds[size] * self.profile.slow <= waiting[skip].deadline:
                break
            skip += 1
        return Take(min(self.cap, total - skip), skip)

    def learn(self, rows: int, seconds: float, /) -> None:
        if self.profile.learn(rows, seconds):
            table = self.profile.seconds
            sizes = [size for size in self.profile.sizes if table[size] <= self._target] or [1]
            self.cap = min(sizes, key=lambda size: table[size] / size)

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True


class Bento:
    """An adaptive dispatcher as BentoML's: fits run time = a rows + b, waits while waiting pays.

    Its tick is 1 ms or a fiftieth of the target if that is less.
    """

    def __init__(self, batching: Batching, target: float) -> None:
        self.cap = batching.max_rows or LARGEST
        self._target = target
        self._tick = min(1e-3, target / 50)
        self._runs: deque[tuple[int, float]] = deque(maxlen=50)
        self._waits: deque[float] = deque(maxlen=50)
        self._a, self._b, self._wait = 0.0, 0.0, 0.01 * min(target, 1.0)
        self._since = 0

    def decide(self, line: Line, /) -> Take | Wait:
        waiting, now = line.waiting, line.now
        total, skip = len(waiting), 0
        while skip < total - 1:
            count = min(self.cap, total - skip)
            if now - waiting[skip].arrived + self._a * count + self._b < self._target:
                break
            skip += 1
        count = min(self.cap, total - skip)
        last = now - waiting[-1].arrived
        if count < self.cap and not skip and count * (last + self._tick + self._a) <= self._wait * 0.95:
            return Wait(now + self._tick)
        self._waits.append(sum(now - waiting[skip + i].arrived for i in range(count)) / count)
        return Take(count, skip)

    def learn(self, rows: int, seconds: float, /) -> None:
        self._runs.append((rows, seconds))
        self._since += 1
        if self._since >= 5:
            self._since = 0
            x = np.array([[size, 1.0] for size, _ in self._runs])
            y = np.array([time for _, time in self._runs])
            fit, *_ = np.linalg.lstsq(x, y, rcond=None)
            self._a, self._b = max(0.0, float(fit[0])), max(0.0, float(fit[1]))
            self._wait = float(np.mean(self._waits)) if self._waits else self._wait

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True
