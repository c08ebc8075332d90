"""What a batch of each size costs now, learned from the runs themselves."""

from collections import deque
from itertools import pairwise

WINDOW = 128
"""Runs of one size that its estimate remembers, about."""
FIRST = 5
"""Runs of one size of which the median is taken; later ones move it a little each."""
YOUNG = 8
"""Runs up to which a size's estimate may itself be at fault when a run strays from it."""
WIDE = (0.6, 1.7)
"""The band of a young estimate; all others' follows the noise."""
KEPT = 32
"""What a size's earlier runs still count after all run times were rescaled."""
STEADY = 500e-6
"""Seconds of a run below which it strays for reasons of its own (caches, the loop), not of the machine."""
REST = 0.01
"""Seconds of runs between two ordinary refits: a refit costs about 0.1 ms, so at most 1 %."""
SPREAD = (0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.15, 1.2)
"""Run time over its estimate, in eighths, before there are enough runs to know."""


def grid(largest: int) -> tuple[int, ...]:
    """The batch sizes worth telling apart, ``largest`` among them: 1, 2, 3, 4, 6, 8, 12, 16, 24 …"""
    sizes = {1, largest}
    size = 2
    while size <= largest:
        sizes.update((size, min(size + size // 2, largest)))
        size *= 2
    return tuple(sorted(sizes))


def isotonic(means: list[float], weights: list[float]) -> list[float]:
    """The closest non-decreasing sequence (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(means, weights, strict=True):
        count = 1
        while blocks and blocks[-1][0] >= mean:
            before, more, members = blocks.pop()
            mean = (before * more + mean * weight) / (more + weight)
            weight += more
            count += members
        blocks.append((mean, weight, count))
    return [mean for mean, _, count in blocks for _ in range(count)]


class Profile:
    """Learned run times by batch size.

    ``seconds[b]`` is the estimate for ``b`` rows, non-decreasing, all zero before the first run.
    A size's own estimate is a Huber mean, so that a stalled run moves it little.
    When all run times change (another tenant, a slower clock), all sizes are rescaled together.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.sizes = grid(largest)
        self.seconds = [0.0] * (largest + 1)
        self.spread: tuple[float, ...] = SPREAD
        """Run time over its estimate at eight even quantiles."""
        self.known = 0
        """The largest size that has run; 0 before the first."""
        self.count = [0] * (largest + 1)
        self._mean = [0.0] * (largest + 1)
        self._first: dict[int, list[float]] = {}
        self._ratios: deque[float] = deque(maxlen=64)
        self._fresh = 0
        self._far = 0
        """Which of the last seven ratios were out of band, a bit each."""
        self._band = (0.7, 1.4)
        self._scale = 1.0
        """Seconds now over the seconds in ``_mean`` and ``_first``."""
        self._rest = 0.0
        self._due = 0.0

    @property
    def slow(self) -> float:
        """Run time over its estimate that three runs in four stay under; at least 1."""
        return max(1.0, (self.spread[5] + self.spread[6]) / 2)

    def learn(self, rows: int, seconds: float) -> bool:
        """Take in one run; True if ``seconds[…]`` was fitted anew."""
        if not 0 < rows <= self.largest or seconds <= 0:
            return False
        count = self.count[rows]
        if rows <= self.known:
            ratio = seconds / self.seconds[rows]
            self._ratios.append(ratio)
            self._fresh += 1
            low, high = self._band if count > YOUNG else WIDE
            self._far = (self._far << 1 | (not low < ratio < high and seconds > STEADY)) & 127
            if self._far and self._far.bit_count() > 3 and self._rescaled():
                return True
        if count < FIRST:
            return self._begin(rows, seconds)
        mean = self._mean[rows]
        limit = mean / 2
        step = seconds / self._scale - mean
        step = limit if step > limit else (max(step, -limit))
        self._mean[rows] = mean + step / (min(WINDOW, count))
        self.count[rows] = count + 1
        return self._refit_if_due(seconds)

    def _refit_if_due(self, seconds: float) -> bool:
        self._rest += seconds
        return self._rest >= self._due and self._refit()

    def refresh(self) -> None:
        """Bring ``spread`` up to date; cheap unless enough runs have come since."""
        total = len(self._ratios)
        if self._fresh < 8 or total < 8:
            return
        self._fresh = 0
        ordered = sorted(self._ratios)
        self.spread = tuple(ordered[(2 * k + 1) * total // 16] for k in range(8))
        # Noise is no change: a band of 2.2 sigma holds four of seven runs on one side once in 400,000 runs.
        noise = 2.5 * self.noise
        self._band = (min(0.7, 1 / (1 + noise)), max(1.4, 1 + noise))

    def _begin(self, rows: int, seconds: float) -> bool:
        first = self._first.setdefault(rows, [])
        first.append(seconds / self._scale)
        self.count[rows] += 1
        middle = sorted(first)[(len(first) - 1) // 2]
        self._mean[rows] = sum(min(max(run, middle / 2), middle * 1.5) for run in first) / len(first)
        if self.count[rows] == FIRST:
            del self._first[rows]
        if rows > self.known or rows in self.sizes:
            self.known = max(self.known, rows)
            return self._refit()
        return self._refit_if_due(seconds)

    @property
    def noise(self) -> float:
        """About the standard deviation of a run time over its estimate."""
        return (self.spread[6] - self.spread[1]) / 2

    def _rescaled(self) -> bool:
        """Follow a change of all run times, if the median of the last seven says there was one."""
        recent = sorted(list(self._ratios)[-7:])
        low, high = self._band
        if len(recent) < 7 or low < recent[3] < high:
            return False
        # One scale beside the sizes' own times, never folded into them: were they multiplied instead,
        # the size that runs would find back and the others would keep the errors of many rescalings.
        self._scale *= recent[3]
        self.count = [min(count, KEPT) for count in self.count]
        self._ratios.clear()
        self._far = 0
        return self._refit()

    def _refit(self) -> bool:
        # Often at first, when every run tells much.
        self._due = min(REST, 1.1 * self._due + self._rest / 4)
        self._rest = 0.0
        self.refresh()
        known = [rows for rows, count in enumerate(self.count) if count]
        fitted = isotonic(
            [self._scale * self._mean[rows] for rows in known],
            [float(min(self.count[rows], WINDOW)) for rows in known],
        )
        first, last = known[0], known[-1]
        # One known size says little of smaller ones: half of it overhead, half per row.
        points = [(0, fitted[0] / 2), *zip(known, fitted, strict=True)]
        if first < last:
            near = max(i for i, rows in enumerate(known) if rows <= (last + 1) / 2 or i == 0)
            slope = (fitted[-1] - fitted[near]) / (last - known[near])
        else:
            slope = fitted[0] / 2 / first
        points.append((self.largest + 1, fitted[-1] + slope * (self.largest + 1 - last)))
        for (left, low), (right, high) in pairwise(points):
            rise = (high - low) / (right - left)
            for rows in range(left, min(right, self.largest + 1)):
                self.seconds[rows] = low + rise * (rows - left)
        return True
