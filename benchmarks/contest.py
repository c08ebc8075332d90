"""The cells of the batching contest: what each policy gets in one, on the simulated clock."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf, sqrt
from statistics import NormalDist, fmean

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from benchmarks.baselines import Bento, Nexus
from benchmarks.simulate import Model, Result, serve, sweep
from penstock.core.ports import BatchPolicy
from penstock.core.spec import Batching
from penstock.scheduling.policy import make
from penstock.scheduling.profile import WINDOW
from penstock.scheduling.slo import Slo


class Told(Slo):
    """``slo`` that is told the run times and their spread instead of learning them."""

    def __init__(self, target: float, model: Model) -> None:
        super().__init__(Batching(), target)
        profile = self.profile
        profile.seconds = list(model.cost[: profile.largest + 1])
        profile.count = [WINDOW] * len(profile.seconds)
        profile.known = profile.largest
        noise = NormalDist(-(model.sigma**2) / 2, model.sigma)
        profile.spread = tuple(2.718281828 ** noise.inv_cdf((2 * k + 1) / 16) for k in range(8))
        self._plan()

    def learn(self, rows: int, seconds: float, /) -> None: ...


Maker = Callable[[float, Model], BatchPolicy]


def _named(name: str, target: float, model: Model) -> BatchPolicy:
    return make(Batching(policy=name), target)


def _delayed(target: float, model: Model) -> BatchPolicy:
    return make(Batching(policy="fixed", max_delay_ms=target * 100), target)


MAKERS: dict[str, Maker] = {
    "slo": partial(_named, "slo"),
    "none": partial(_named, "none"),
    "fixed": partial(_named, "fixed"),
    "fixed T/10": _delayed,
    "aimd": partial(_named, "aimd"),
    "nexus": lambda target, model: Nexus(Batching(), target),
    "bento": lambda target, model: Bento(Batching(), target),
}
"""``fixed`` takes up to 64 at once; ``fixed T/10`` waits a tenth of the target for company."""


class Cell(Struct, frozen=True):
    """One model under one stream of arrivals (of mean rate one) with one target."""

    model: Model
    stream: str
    arrivals: NDArray[np.float64]
    target: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.model.name}, {self.stream}, T={self.target / self.model.one:.0f}×"

    def run(self, maker: Maker, load: float, factor: Callable[[float], float] | None = None) -> Result:
        """At ``load`` times the model's capacity, after the start-up sweep."""
        policy = maker(self.target, self.model)
        sweep(policy, self.model, self.seed)
        times = (self.arrivals / (load * self.model.capacity)).tolist()
        return serve(policy, self.model, times, self.target, self.seed, factor)

    def goodput(self, maker: Maker, load: float) -> float:
        """Answers in time per second, as a share of capacity."""
        return self.run(maker, load).goodput / self.model.capacity


def highest(cells: Sequence[Cell], maker: Maker, share: float = 0.99, rounds: int = 9) -> float:
    """The highest load (1 is capacity) at which that share of all is answered in time; 0 if under 0.02."""

    def held(load: float) -> bool:
        return fmean(cell.run(maker, load).in_time for cell in cells) >= share

    low, high = 0.02, 1.2
    if not held(low):
        return 0.0
    for _ in range(rounds):
        middle = sqrt(low * high)
        if held(middle):
            low = middle
        else:
            high = middle
    return low


def recovery(cell: Cell, maker: Maker, load: float, factor: float = 2.0) -> float:
    """How long, in runs of one row, until 90 % of the final goodput is back after run times multiply.

    ``load`` is of the capacity after the change.
    """
    model, one = cell.model, cell.model.one * factor
    rate = load * model.capacity / factor
    times: list[float] = (cell.arrivals / rate).tolist()
    change = times[len(times) // 3]
    policy = maker(cell.target, model)
    sweep(policy, model, cell.seed)
    result = serve(policy, model, times, cell.target, cell.seed, lambda now: factor if now >= change else 1.0)
    good = [
        done for done, taken in zip(result.finished, result.latencies, strict=True) if taken <= cell.target
    ]
    last = times[2 * len(times) // 3]
    final = sum(last <= done <= times[-1] for done in good) / (times[-1] - last)
    step = max(20 * one, 40 / rate)
    start: float = change
    while start < times[-1]:
        if sum(start <= done < start + step for done in good) >= 0.9 * final * step:
            return (start - change) / one
        start += step / 8
    return inf
