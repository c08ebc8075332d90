"""Bets on a difference of means: of what a request costs, in money or energy."""

from math import exp, inf, nan

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence.bets import Bets, alarm, proof, restart, until
from penstock.rollout.evidence.requests import Bools, Floats
from penstock.rollout.evidence.sketch import due
from penstock.rollout.evidence.stand import Stand

STAKES = np.array((0.01, 0.02, 0.04, 0.07, 0.12, 0.2, 0.35, 0.6))
HARDER = 1.58
"""Stakes for a pass over those for an alarm: a mean has to be proven low, and low values move little."""
CLIP = 10.0
"""Values over so many times the mean count as that: bets need bounded values."""
MEMORY = 0.0005
"""Weight of one more value in the running mean."""
BLOCK = 128
"""Factors between 0.05 and 9.5 that are multiplied before a logarithm is taken, within a double."""
SPREAD = 50.0
"""Variance for which the interval is tightest, over what it takes: some hundreds of requests."""


class Mean(Struct):
    """One guard over means: E (arm - r)(y - m) is r(1 - r) times the difference of the means, m whatever.

    So bets on the sum of that are fair where the candidate's mean, over its margin, is the stable's.
    After Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting (2023).
    """

    margin: float
    target: float | None
    against: Bets
    passing: Bets
    mean: float = nan
    """The stable arm's, fixed before a chunk is judged."""
    waiting: float = 0.0
    """Sum of the stable's values since the mean was last taken."""
    fresh: int = 0
    held: int = 0
    drift: Floats = field(default_factory=lambda: np.zeros(3))
    """Of this stage: the candidate's requests; sum and sum of squares of what a pass bets on."""
    sums: Floats = field(default_factory=lambda: np.zeros(6))
    """For the interval, in units of the mean (``_moments``)."""
    seen: int = 0
    """Of the candidate."""

    def begin(self, target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone)
        self.target, self.passing, self.drift = target, proof(len(STAKES)), np.zeros(3)
        if alone:
            self.sums, self.seen = np.zeros(6), 0

    def fold(self, values: Floats, candidate: Bools, odds: Floats) -> None:
        """Values of a chunk, none of them nan, with odds between 0 and 1."""
        self._refresh()
        if self.mean > 0:
            self._bet(values, candidate, odds)
        self._wait(values[~candidate])

    def _bet(self, values: Floats, candidate: Bools, odds: Floats) -> None:
        values = np.maximum(values / self.mean, 0.0)
        lot = candidate - odds
        bound = np.maximum((CLIP - 1) * odds, 1 - odds)
        self.against.add(_gains(_over(values, candidate, self.margin) * lot / bound, STAKES))
        if self.target is not None:
            bound = np.maximum((CLIP - 1) * (1 - odds), odds)
            z = _over(values, candidate, self.target) * -lot / bound
            self.passing.add(_gains(z, HARDER * STAKES))
            self.drift += candidate.sum(), z.sum(), z @ z
        self.sums += _moments(np.minimum(values, CLIP * self.margin), candidate, odds)
        self.seen += int(candidate.sum())

    def _wait(self, values: Floats) -> None:
        if self.mean > 0:
            values = np.minimum(values, CLIP * self.mean)
        self.waiting += float(values[np.isfinite(values)].sum())
        self.fresh += len(values)

    def _refresh(self) -> None:
        if not due(self.fresh, self.held):
            return
        self.held += self.fresh
        weight = max(self.fresh / self.held, 1 - exp(-MEMORY * self.fresh))
        old = self.mean if self.mean > 0 else self.waiting / self.fresh
        self.mean = old + weight * (self.waiting / self.fresh - old)
        self.waiting, self.fresh = 0.0, 0

    def needs(self) -> float:
        """More requests of the candidate until it passes, by what this stage has shown."""
        count, total, squares = self.drift
        if count < 30 or self.target is None:
            return inf
        stakes = HARDER * STAKES
        return until(self.passing, stakes * total / count - stakes**2 * squares / count / 2)

    def stand(self) -> Stand:
        low, high = self.interval()
        return Stand(
            failed=self.against.settled,
            passed=self.passing.settled,
            effect=self.effect(),
            low=low,
            high=high,
            seen=self.seen,
            against=self.against.progress(),
            for_=self.passing.progress(),
            needs=self.needs(),
            silent="" if self.held or self.fresh else "it is not known here",
        )

    def effect(self) -> float | None:
        """Ratio of the means."""
        first, _, _, _, mass, rest = self.sums
        return float(first / (mass + rest)) if self.seen and mass + rest > 0 and first > 0 else None

    def interval(self) -> tuple[float | None, float | None]:
        """(low, high) of the ratio, from a normal mixture over the sum with its variance as it is seen.

        Valid whenever one looks, but only in the limit of many requests: for display.
        Robbins 1970; Waudby-Smith et al., Time-uniform central limit theory (2024).
        """
        if self.seen < 30:
            return None, None
        first, square, cross, ones, mass, rest = self.sums[0], *self.sums[1:6]
        variance = square / RATIOS**2 - 2 * cross / RATIOS + ones
        bound = (variance + SPREAD) * (2 * np.log(20) + np.log1p(variance / SPREAD))
        kept = np.flatnonzero((first / RATIOS - mass - rest) ** 2 < bound)
        if not len(kept):
            return None, None
        last = len(RATIOS) - 1
        return (
            float(RATIOS[kept[0] - 1]) if kept[0] else None,
            float(RATIOS[kept[-1] + 1]) if kept[-1] < last else None,
        )


RATIOS = np.exp(np.linspace(-2.4, 2.4, 481))
"""Ratios that an interval's ends are looked for among, steps of 1 %."""


def _over(values: Floats, candidate: Bools, margin: float) -> Floats:
    """How far the values are over the mean, clipped, the candidate's over its margin."""
    return np.minimum(np.where(candidate, values / margin, values), CLIP) - 1


def _gains(z: Floats, stakes: Floats) -> Floats:
    """Sums of log(1 + stake × z) over a chunk, [stakes]."""
    factors = np.multiply.outer(z, stakes)
    factors += 1
    products = np.multiply.reduceat(factors, np.arange(0, len(z), BLOCK), axis=0)
    return np.asarray(np.log(products).sum(axis=0))


def _moments(values: Floats, candidate: Bools, odds: Floats) -> Floats:
    """Sums by which (arm - r)(value / ratio - 1) and its square are known for any ratio.

    Of the candidate's values v: (1-r)v, (1-r)²v², (1-r)²v, (1-r)² + what the stable's add to the variance,
    (1-r); of the stable's: r(v-1).
    """
    other, mine = 1 - odds[candidate], values[candidate]
    scaled = other * mine
    rest = odds[~candidate] * (np.minimum(values[~candidate], CLIP) - 1)
    ones = other @ other + rest @ rest
    return np.array((scaled.sum(), scaled @ scaled, scaled @ other, ones, other.sum(), rest.sum()))


def mean(margin: float, target: float | None, risk: float) -> Mean:
    bets = len(STAKES)
    return Mean(margin, target, alarm(bets, risk), proof(bets))
