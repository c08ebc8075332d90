"""Requests by tenths of a second: made by seed, or read from files of rates, sums or single arrivals."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind: TypeAlias = Literal["smooth", "volatile", "steps", "bursts"]

STEPS = 10
"""A second."""
DAY = 86400
MEAN = 100.0
"""Requests/s that made traces and files of rates or sums are scaled to, so that burstiness weighs alike."""
MEMBERS = 12.0
"""Instances that the mean rate would keep fully busy."""
INTERPOLATED = 1.5
"""Dispersion of requests where a file says only how many there were in minutes."""


@dataclass
class Trace:
    """Requests of a service."""

    name: str
    kind: Kind
    counts: NDArray[np.float32]
    """In every tenth of a second."""

    @property
    def seconds(self) -> int:
        return len(self.counts) // STEPS

    @cached_property
    def mean(self) -> float:
        return float(self.counts.mean(dtype=np.float64)) * STEPS

    @property
    def carries(self) -> float:
        """Requests/s of an instance."""
        return self.mean / MEMBERS

    def each_second(self) -> Floats:
        sums: Floats = self.counts[: self.seconds * STEPS].reshape(-1, STEPS).sum(axis=1, dtype=np.float64)
        return sums


# -- made -----------------------------------------------------------------------------------------


def daily(days: float, seed: int) -> Floats:
    """Two harmonics of the day, a weekend, and a rate that wanders by 5 %."""
    at, rng = clock(days), np.random.default_rng((seed, 1))
    phase = 2 * np.pi * at / DAY
    level = 1 + 0.55 * np.sin(phase - 2.0) + 0.2 * np.sin(2 * phase + 0.5)
    weekend = np.where((at // DAY) % 7 >= 5, 0.7, 1.0)
    return MEAN * smooth(level * weekend) * np.exp(wander(len(at), rng, 900, 0.05))


def smoothed(days: float, seed: int) -> Floats:
    """Little of the day, wandering by 12 % over half an hour."""
    at, rng = clock(days), np.random.default_rng((seed, 2))
    return MEAN * (1 + 0.2 * np.sin(2 * np.pi * at / DAY)) * np.exp(wander(len(at), rng, 1800, 0.12))


def volatile(days: float, seed: int) -> Floats:
    """Wandering by a factor within minutes, with a spike now and then, and hardly a day."""
    at, rng = clock(days), np.random.default_rng((seed, 3))
    rate = np.exp(wander(len(at), rng, 3600, 0.35) + wander(len(at), rng, 600, 0.25))
    for start in rng.integers(0, len(at), int(6 * days)):
        rate[start : start + 600] *= np.interp(np.arange(600), (0, 240, 300, 600), (1, 2.5, 2.5, 1))[
            : len(at) - start
        ]
    return MEAN * rate * (1 + 0.2 * np.sin(2 * np.pi * at / DAY))


def steps(days: float, seed: int) -> Floats:
    """Fourfold within ten seconds: twice a day at the same time, and as often at any time."""
    at, rng = clock(days), np.random.default_rng((seed, 4))
    rate = np.exp(wander(len(at), rng, 3600, 0.1))
    some = rng.integers(0, len(at), max(1, int(2 * days)))
    same = np.array([day * DAY + hour * 3600 for day in range(int(days)) for hour in (9, 18)])
    for start in (*some, *(same + rng.integers(-20, 20, len(same)))):
        shape = np.interp(np.arange(1800), (0, 10, 300, 1800), (1, 4, 4, 1))
        rate[start : start + 1800] *= shape[: max(0, len(at) - start)]
    return MEAN / 2 * rate


def bursts(days: float, seed: int) -> Floats:
    """Nothing, or a burst of half a minute to four."""
    rng = np.random.default_rng((seed, 5))
    rate = np.full(int(days * DAY), 0.5)
    at = 0
    while at < len(rate):
        at += int(rng.exponential(300)) + 30
        length = int(rng.uniform(30, 240))
        rate[at : at + length] = MEAN * rng.uniform(0.5, 2)
        at += length
    return rate


MADE: dict[str, tuple[Kind, Callable[[float, int], Floats], float]] = {
    "daily": ("smooth", daily, 3.0),
    "smooth": ("smooth", smoothed, 6.0),
    "volatile": ("volatile", volatile, 2.0),
    "steps": ("steps", steps, 2.0),
    "on/off": ("bursts", bursts, 1.0),
}
"""Kind, rate by second, and dispersion of the requests."""


def made(name: str, days: float, seed: int) -> Trace:
    kind, rate, spread = MADE[name]
    rng = np.random.default_rng((seed, 9))
    return Trace(name, kind, requests(rate(days, seed), spread, rng))


def clock(days: float) -> Floats:
    return np.arange(int(days * DAY), dtype=np.float64)


def smooth(rate: Floats) -> Floats:
    """Over an hour, so that nothing jumps."""
    window = 3601
    sums = np.cumsum(np.pad(rate, (window // 2 + 1, window // 2), mode="edge"))
    found: Floats = (sums[window:] - sums[:-window]) / window
    return found


def wander(count: int, rng: np.random.Generator, seconds: float, sigma: float) -> Floats:
    """A mean-reverting walk of that standard deviation, which forgets within so many seconds."""
    coarse = int(count // 60) + 2
    keep = np.exp(-60 / seconds)
    noise = rng.standard_normal(coarse) * sigma * np.sqrt(1 - keep**2)
    found = np.empty(coarse)
    value = rng.standard_normal() * sigma
    for i, each in enumerate(noise.tolist()):
        value = keep * value + each
        found[i] = value
    return np.interp(np.arange(count), np.arange(coarse) * 60.0, found)


def requests(rate: Floats, spread: float | Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """Counts whose variance is ``spread`` times their mean: Poisson, or Poisson of a gamma-distributed rate."""
    found = np.empty(len(rate) * STEPS, np.float32)
    over = np.broadcast_to(np.maximum(spread - 1, 0.0), rate.shape)
    for start in range(0, len(rate), DAY):
        mean = np.repeat(rate[start : start + DAY] / STEPS, STEPS)
        more = np.repeat(over[start : start + DAY], STEPS)
        mixed = mean if not more.any() else rng.gamma(mean / np.maximum(more, 0.01), np.maximum(more, 0.01))
        found[start * STEPS : start * STEPS + len(mean)] = rng.poisson(mixed)
    return found


# -- read -----------------------------------------------------------------------------------------


def read(path: Path, days: float, seed: int) -> Trace:
    """By its header: ``timestamp,value``, ``start_s,rate_per_s,cv`` or ``arrival_s``; ValueError for others."""
    with path.open() as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    header, rows = rows[0], rows[1:]
    rng = np.random.default_rng((seed, 9))
    if header[:1] == ["arrival_s"]:
        counts = single(np.array([float(row[0]) for row in rows]))
    elif header[:2] == ["timestamp", "value"]:
        times = np.array([datetime.fromisoformat(row[0]).timestamp() for row in rows])
        values = np.array([float(row[1]) for row in rows])
        rate = between(times, values / np.median(np.diff(times)), days)
        counts = requests(rate * MEAN / rate.mean(), INTERPOLATED, rng)
    elif header[:2] == ["start_s", "rate_per_s"]:
        table = np.array(rows, dtype=np.float64)
        rate = between(table[:, 0], table[:, 1], days)
        spread = between(table[:, 0], np.clip(table[:, 2], 1, 6) ** 2, days)
        counts = requests(rate * MEAN / rate.mean(), spread, rng)
    else:
        raise ValueError(
            f"{path} begins with {','.join(header)}; wants timestamp,value or start_s,rate_per_s,cv or arrival_s"
        )
    return Trace(path.stem, kind(counts), counts)


def single(times: Floats) -> NDArray[np.float32]:
    count = int(times[-1] * STEPS) + 1
    found = np.bincount((times * STEPS).astype(np.int64), minlength=count).astype(np.float32)
    return found[: len(found) // (10 * STEPS) * (10 * STEPS)]


def between(times: Floats, values: Floats, days: float) -> Floats:
    """By second, on straight lines between the middles of windows."""
    at = np.arange(int(min(days * DAY, times[-1] - times[0])) // 10 * 10, dtype=np.float64)
    return np.interp(at, times - times[0], values)


def kind(counts: NDArray[np.float32]) -> Kind:
    """By how much the rate of a minute changes within two: smooth traffic by a fifth at most, nearly always."""
    minutes = counts[: len(counts) // 600 * 600].reshape(-1, 600).sum(axis=1, dtype=np.float64) / 60
    level = minutes + 0.02 * minutes.mean()
    late = np.quantile(np.abs(np.log(level[2:] / level[:-2])), 0.95)
    if late < 0.2:
        return "smooth"
    return "volatile" if late < 1.0 else "bursts"
