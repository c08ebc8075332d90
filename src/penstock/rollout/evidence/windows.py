"""Paired windows: the candidate beside a fresh baseline of the same share.

A burst that hits one replica alone breaks tests on single requests (a tenth to a half of good versions
are taken back); within each ten seconds it may hit either, so the sign of the difference is a fair coin.
"""

from math import exp, inf, log
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from penstock.rollout.evidence.bets import Bets, alarm, proof, restart, until
from penstock.rollout.evidence.requests import Bools, Floats
from penstock.rollout.evidence.stand import Stand

STAKES = np.array((0.1, 0.25, 0.45, 0.65, 0.9))
MEMORY = 0.05
"""Weight of one more window in the running size of differences."""
MOST = 4096
"""Values of each arm that a window keeps; later ones are passed over."""
Values: TypeAlias = list[float]


class Window(Struct):
    """The values of both arms since the last window was closed."""

    candidate: Values = []
    control: Values = []

    def add(self, values: Floats, candidate: Bools) -> None:
        self.candidate += values[candidate][: MOST - len(self.candidate)].tolist()
        self.control += values[~candidate][: MOST - len(self.control)].tolist()

    def quantile(self, share: float) -> float | None:
        """Log ratio of the arms' quantiles; None where too few lie beyond it, or one is not finite."""
        least = 0.5 / (1 - share)
        if min(len(self.candidate), len(self.control)) < max(least, 5):
            return None
        return _log_ratio(*(float(np.quantile(arm, share, method="higher")) for arm in self._arms()))

    def mean(self) -> float | None:
        """Log ratio of the arms' means."""
        if min(len(self.candidate), len(self.control)) < 5:
            return None
        return _log_ratio(*(float(np.mean(arm)) for arm in self._arms()))

    def _arms(self) -> tuple[Values, Values]:
        return self.candidate, self.control

    def clear(self) -> None:
        self.candidate, self.control = [], []


def _log_ratio(candidate: float, control: float) -> float | None:
    """None where both are beyond measure; a hundredfold stands for one alone."""
    if candidate == control:
        return 0.0 if np.isfinite(candidate) else None
    if not (0 < candidate < np.inf and 0 < control < np.inf):
        return log(100) if candidate > control else -log(100)
    return log(candidate / control)


class Paired(Struct):
    """One guard over windows: bets on the sign and size of log(candidate / baseline) - log(margin).

    Fair where the two are exchangeable in each window, given the past; ``size`` is from windows before.
    """

    margin: float
    target: float | None
    against: Bets
    passing: Bets
    size: float = 0.0
    """Running mean of the differences' absolute values."""
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    pull: float = 0.0
    """Sum of what a pass bets on, in this stage."""
    windows: int = 0
    """Of this stage."""

    def begin(self, target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone)
        self.target, self.passing, self.pull, self.windows = target, proof(len(STAKES)), 0.0, 0

    def fold(self, difference: float) -> None:
        """Log ratio of the arms in one window."""
        if self.size > 0:
            self.against.add(np.log1p(STAKES * np.tanh((difference - log(self.margin)) / self.size)))
            if self.target is not None:
                psi = float(np.tanh((log(self.target) - difference) / self.size))
                self.passing.add(np.log1p(STAKES * psi))
                self.pull += psi
            self.windows += 1
        self.count += 1
        self.size += max(1 / self.count, MEMORY) * (max(abs(difference), 1e-6) - self.size)
        self.total += difference
        self.squares += difference * difference

    def needs(self) -> float:
        """More windows until it passes."""
        if not self.windows or self.target is None:
            return inf
        pull = self.pull / self.windows
        return until(self.passing, STAKES * pull - STAKES**2 / 4)

    def stand(self, seen: int, pace: float) -> Stand:
        """``pace``: requests of the candidate in a window."""
        low, high = self.interval()
        return Stand(
            failed=self.against.settled,
            passed=self.passing.settled,
            effect=self.effect(),
            low=low,
            high=high,
            seen=seen,
            events=self.count,
            against=self.against.progress(),
            for_=self.passing.progress(),
            needs=self.needs() * pace if pace else inf,
        )

    def effect(self) -> float | None:
        return exp(self.total / self.count) if self.count else None

    def interval(self) -> tuple[float | None, float | None]:
        """(low, high) of the ratio by a normal mixture over the windows: for display, as that of means."""
        if self.count < 10:
            return None, None
        middle = self.total / self.count
        variance = max(self.squares / self.count - middle**2, 1e-9)
        tight = 30.0  # windows for which it is tightest, over what it takes
        bound = variance * (self.count + tight) * (2 * log(20) + log(1 + self.count / tight))
        half = bound**0.5 / self.count
        return exp(max(middle - half, -700.0)), exp(min(middle + half, 700.0))


def paired(margin: float, target: float | None, risk: float) -> Paired:
    bets = len(STAKES)
    return Paired(margin, target, alarm(bets, risk), proof(bets))
