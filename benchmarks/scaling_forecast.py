"""How good the forecast is: how often what came stayed under it, and its pinball loss beside others'."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from benchmarks.scaling_fluid import Look
from benchmarks.scaling_rivals import Ours
from benchmarks.scaling_traces import Floats
from penstock.scaling.forecast import point
from penstock.scaling.forecast.conformal import TAUS, USUAL
from penstock.scaling.forecast.history import MEAN, highest
from penstock.scaling.series import DAY, FINE

TAU = TAUS[USUAL]
EVERY = 3
"""Ticks between moments that are scored."""


class Score(Struct):
    """Of one trace at one start-up time, from its third day on, when all have a day to learn from."""

    points: int
    covered: int
    loss: float
    persistence: float
    seasonal: float
    """Losses in requests/s over the mean rate."""


class Watch:
    """Notes what was forecast, at the usual quantile whatever the feedback made of it."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        self.noted: list[tuple[int, float, float]] = []
        self.decided: list[tuple[int, float, float, int, int]] = []

    def __call__(self, look: Look, /) -> None:
        bucket = look.now // FINE
        decision = self.ours.decision
        if decision is not None:
            self.decided.append((look.now, decision.rate, decision.forecast, decision.instances, look.ready))
        fit = self.ours.memory.fit
        if fit is None or bucket % EVERY:
            return
        series, now = self.ours.series, point.rates(self.ours.series)
        self.noted.append(
            (bucket, point.forecast(fit, series, now, USUAL), point.persistent(fit, series, now, USUAL))
        )


def score(watch: Watch, each_second: Floats, lead: int) -> Score | None:
    """None where there is no third day."""
    counts = each_second[: len(each_second) // FINE * FINE].reshape(-1, FINE).sum(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    means = (sums[MEAN:] - sums[:-MEAN]) / (MEAN * FINE)
    # The newest bucket known at the end of bucket b is b - 1; its 30 s mean is means[b - MEAN].
    peaks = np.concatenate([np.full(MEAN - 1, np.nan), highest(means[1:], lead)])
    known = [
        (b, ours, plain) for b, ours, plain in watch.noted if 2 * DAY <= b - 1 - MEAN < len(peaks) - MEAN
    ]
    if len(known) < 100:
        return None
    at = np.array([b - 1 for b, _, _ in known])
    came, mean = peaks[at], float(counts.mean()) / FINE
    ours, plain = np.array([x for _, x, _ in known]), np.array([x for _, _, x in known])
    return Score(
        len(at),
        int((came <= ours).sum()),
        loss(came, ours) / mean,
        loss(came, plain) / mean,
        loss(came, naive(peaks, at)) / mean,
    )


def loss(came: Floats, bound: Floats) -> float:
    over = came - bound
    return float(np.maximum(TAU * over, (TAU - 1) * over).mean())


def naive(peaks: Floats, at: NDArray[np.int64]) -> Floats:
    """As high as a day before, and the quantile by which that was off over the day until now."""
    found = np.empty(len(at))
    more = 0.0
    for i, each in enumerate(at.tolist()):
        if i % 20 == 0:
            then = np.arange(each - DAY, each, 3)
            more = float(np.quantile(peaks[then] - peaks[then - DAY], TAU))
        found[i] = max(0.0, peaks[each - DAY] + more)
    return found
