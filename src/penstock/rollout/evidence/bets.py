"""Wealth of bets against a hypothesis: one over 1/α disproves it at level α, whenever one looks (Ville)."""

from math import exp, inf, log, log1p

import numpy as np
from msgspec import Struct

from penstock.rollout.evidence.requests import Floats

FIRST, NEXT = 0.4, 0.6
"""Part of the capital that is bet from the first stage on, and that of a stage over that of the one before.

The parts of all stages add up to 1 however many there are, so their number need not be known.
The first stages have more: that is where most faults are found, and where the fewest see them.
"""
PASS = log(1 / 0.05)
"""Log wealth at which a guard passes: all guards have to, so this is not split between them."""


def part(stage: int) -> float:
    return FIRST * NEXT**stage


class Bets(Struct):
    """Capital on a grid of bets, each of which multiplies its own by a factor of mean 1 at most."""

    logs: Floats
    """Log of the capital on each bet."""
    limit: float
    """Log wealth that settles it."""
    reserve: float = 0.0
    """Capital kept for stages to come."""
    settled: bool = False

    def wealth(self) -> float:
        """Log of all the capital."""
        top = float(self.logs.max())
        found = top + log(float(np.exp(self.logs - top).sum()))
        return (
            found
            if self.reserve <= 0
            else max(found, log(self.reserve)) + log1p(exp(-abs(found - log(self.reserve))))
        )

    def add(self, gains: Floats) -> None:
        """Log factors of each bet, and whether that settles it."""
        self.logs += gains
        most = float(self.logs.max()) + log(len(self.logs))  # the reserve, 1 at most, does not double that
        if not self.settled and most >= self.limit - log(2) and self.wealth() >= self.limit:
            self.settled = True

    def progress(self) -> float:
        """Part of the way to the limit on a logarithmic scale."""
        return 1.0 if self.settled else min(1.0, max(0.0, self.wealth() / self.limit))


def alarm(bets: int, risk: float, weights: Floats | None = None) -> Bets:
    """A guard's alarm in its first stage, to be wrong with a chance of ``risk`` over all stages."""
    return Bets(_spread(bets, weights) + log(part(0)), log(1 / risk), 1 - part(0))


def proof(bets: int, weights: Floats | None = None) -> Bets:
    """What passes a guard in one stage."""
    return Bets(_spread(bets, weights), PASS)


def restart(bets: Bets, stage: int, alone: bool, weights: Floats | None = None) -> None:
    """Puts a stage's part of the capital on the grid afresh, beside what earlier stages have made of theirs.

    A fault that begins late then need not first win back what was lost before: the wealth is the weighted
    mean of processes that began with each stage, and for one grid they add up.
    ``alone``: only this stage's part counts from now on, for arms that depend on those of earlier stages.
    The mean of such processes is none that Ville's inequality holds for, but each by itself is, so each
    is held against the limit by itself (a union bound, with the same parts).
    """
    fresh = _spread(len(bets.logs), weights) + log(part(stage))
    bets.logs = fresh if alone else np.logaddexp(bets.logs, fresh)
    bets.reserve = 0.0 if alone else max(0.0, bets.reserve - part(stage))


def _spread(bets: int, weights: Floats | None) -> Floats:
    return np.full(bets, -log(bets)) if weights is None else np.log(weights)


def until(bets: Bets, gains: Floats, more: float = 0.0) -> float:
    """How many more steps of these mean gains settle it, with ``more`` to go; inf if they do not."""
    missing = bets.limit + more - bets.logs
    ahead = gains > 0
    return max(0.0, float((missing[ahead] / gains[ahead]).min())) if ahead.any() else inf
