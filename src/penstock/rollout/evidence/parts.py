"""Bets on how much more often the candidate answers otherwise than stable does when asked twice."""

from math import inf

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence.bets import Bets, alarm, proof, restart, until
from penstock.rollout.evidence.requests import Floats
from penstock.rollout.evidence.stand import Stand

STAKES = np.array((0.98, 0.9, 0.7, 0.45, 0.2, 0.05))
WEIGHTS = np.array((0.4, 0.2, 0.15, 0.1, 0.1, 0.05))
"""Most of the capital on the greatest stakes: they are best while the stable version agrees with itself."""
SPANS = np.concatenate((-np.geomspace(0.5, 0.0005, 120), [0.0], np.geomspace(0.0005, 0.99, 130)))
"""Parts that an interval's ends are looked for among."""


class Parts(Struct):
    """One guard over answers on the same input: stable, stable once more, candidate.

    It bets on (candidate differs) - (stable differs from itself) - part, which has a mean of 0 at most where
    the candidate differs by that part more at most, in every hour, whatever the control does then.
    So it holds for a stable version that is not deterministic.
    Pairs until 97 % agreement is found with 1 % allowed, at the risk of a rollout (median of 120 runs): 720;
    640 by a test of the part alone, which takes back every good version where stable itself differs in 1 %;
    1,640 by a fair coin between the candidate and the control with coin flips for the part added, whose own
    luck has to be waited out.
    """

    allowed: float
    target: float | None
    against: Bets
    passing: Bets
    counts: Floats = field(default_factory=lambda: np.zeros(3))
    """Pairs: the candidate alone differs, the control alone does, both or neither."""

    def begin(self, target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone, WEIGHTS)
        self.target, self.passing = target, proof(len(STAKES), WEIGHTS)

    def fold(self, counts: Floats) -> None:
        self.counts += counts
        self.against.add(counts @ up(self.allowed))
        if self.target is not None:
            self.passing.add(counts @ down(self.target))

    def needs(self) -> float:
        """More pairs until it passes, if they go on as they were (at first: as if nothing differed)."""
        if self.target is None:
            return inf
        worth = 100.0  # pairs without a difference, so that the first few say little
        rates = (self.counts + np.array((0, 0, worth))) / (self.counts.sum() + worth)
        return until(self.passing, rates @ down(self.target))

    def stand(self) -> Stand:
        low, high = self.interval()
        return Stand(
            failed=self.against.settled,
            passed=self.passing.settled,
            effect=self.effect(),
            low=low,
            high=high,
            seen=int(self.counts.sum()),
            events=int(self.counts[:2].sum()),
            against=self.against.progress(),
            for_=self.passing.progress(),
            needs=self.needs(),
        )

    def effect(self) -> float | None:
        pairs = self.counts.sum()
        return float((self.counts[0] - self.counts[1]) / pairs) if pairs else None

    def interval(self) -> tuple[float | None, float | None]:
        """(low, high) of the effect: parts that the same bets, at 2.5 % for each side, do not disprove."""
        limit, spread = np.log(40), np.log(WEIGHTS)
        low = np.logaddexp.reduce(self.counts @ up(SPANS) + spread, axis=-1) < limit
        high = np.logaddexp.reduce(self.counts @ down(SPANS) + spread, axis=-1) < limit
        first, last = np.flatnonzero(low), np.flatnonzero(high)
        return (
            float(SPANS[first[0] - 1]) if len(first) and first[0] else None,
            float(SPANS[last[-1] + 1]) if len(last) and last[-1] < len(SPANS) - 1 else None,
        )


def up(part: Floats | float) -> Floats:
    """Log factors of the three kinds of pairs on bets that the part is exceeded, [..., 3, stakes]."""
    part = np.asarray(part, float)[..., None]
    stakes = STAKES / (1 + part)
    return np.stack(
        (np.log1p(stakes * (1 - part)), np.log1p(-stakes * (1 + part)), np.log1p(-stakes * part)), axis=-2
    )


def down(part: Floats | float) -> Floats:
    """The same on bets that it is not reached."""
    part = np.asarray(part, float)[..., None]
    stakes = STAKES / (1 - part)
    return np.stack(
        (np.log1p(-stakes * (1 - part)), np.log1p(stakes * (1 + part)), np.log1p(stakes * part)), axis=-2
    )


def parts(allowed: float, target: float | None, risk: float) -> Parts:
    """``allowed`` and ``target`` in [0, 1)."""
    bets = len(STAKES)
    return Parts(allowed, target, alarm(bets, risk, WEIGHTS), proof(bets, WEIGHTS))
