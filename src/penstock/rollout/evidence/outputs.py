"""Bets on how answers are distributed: given an answer's class (or decile), which version gave it?"""

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence.bets import Bets, alarm, restart
from penstock.rollout.evidence.label import DOWN, UP, Side, factors
from penstock.rollout.evidence.once import Once
from penstock.rollout.evidence.requests import Bools, Floats, Ints, Units
from penstock.rollout.evidence.sketch import due
from penstock.rollout.evidence.stand import Stand

BINS = 256
"""Classes beyond share bins."""
LEAST = 0.01
"""Part of all answers by which a class has to become more or less common."""
WIDTH = len(UP) + len(DOWN)
SIDES: tuple[tuple[Side, slice], ...] = (("up", slice(0, len(UP))), ("down", slice(len(UP), WIDTH)))


class Outputs(Struct):
    """Label bets in each bin, upward and downward; bins have capital by how common they are.

    For an alarm alone: what it finds is a change, which a better version may well bring.
    """

    margin: float
    """Ratio by which a class may become more or less common."""
    against: Bets
    """Over bins and bets, [bins × 20]."""
    counts: Floats
    """[2, bins]: stable's and the candidate's answers."""
    ratios: Floats
    """[2, bins]: over which each bin bets upward (inf: it does not), under which downward (0: likewise).

    Fixed before a chunk is judged.
    """
    weights: Floats
    """Of the bets."""
    once: Once = field(default_factory=Once)
    fresh: int = 0

    def begin(self, _target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone, self.weights)
        self.once.clear()

    def fold(self, bins: Ints, candidate: Bools, odds: Floats, units: Units | None) -> None:
        """Some µs an answer: this guard sees sampled ones."""
        if units is not None:
            first = self.once.first(units)
            bins, candidate, odds = bins[first], candidate[first], odds[first]
        self._refresh()
        bins = np.asarray(bins) % BINS
        arm = candidate.astype(np.int64)
        gains = np.zeros((BINS, WIDTH))
        for share in np.unique(odds):
            some = odds == share
            np.add.at(gains, bins[some], self._gains(bins[some], arm[some], share))
        self.against.add(gains.ravel())
        np.add.at(self.counts, (arm, bins), 1)
        self.fresh += len(bins)

    def _gains(self, bins: Ints, arm: Ints, odds: float) -> Floats:
        """Log factors of each answer, [answers, bets]."""
        found = np.zeros((len(bins), WIDTH))
        for (side, columns), ratios in zip(SIDES, self.ratios, strict=True):
            betting = np.flatnonzero((ratios[bins] > 0) & np.isfinite(ratios[bins]))
            each = factors(side, ratios[bins[betting]], np.array([odds]))
            found[betting, columns] = each[np.arange(len(betting)), arm[betting]]
        return found

    def _refresh(self) -> None:
        """Ratios by the stable's answers so far: the margin, but a hundredth of all answers at least."""
        stable = self.counts[0]
        held = float(stable.sum())
        if not held or not due(self.fresh, float(self.counts.sum()) - self.fresh):
            return
        if not np.isfinite(self.ratios[0]).any():
            self._spread(0.9 * stable / held + 0.1 / BINS)
        change = LEAST * held / np.maximum(stable, 0.5)
        up = np.maximum(self.margin, 1 + change)
        self.ratios = np.stack((up, np.minimum(1 / self.margin, np.maximum(0.0, 1 - change))))
        self.fresh = 0

    def _spread(self, shares: Floats) -> None:
        """Before the first bet: capital to where there are answers."""
        flat = self.weights
        self.weights = np.repeat(shares, WIDTH) / WIDTH
        self.against.logs += np.log(self.weights) - np.log(flat)

    def stand(self) -> Stand:
        return Stand(
            failed=self.against.settled,
            effect=self.effect(),
            seen=int(self.counts[1].sum()),
            events=int(self.counts.sum()),
            against=self.against.progress(),
            silent="" if self.counts.any() else "no answers have come that it can read",
        )

    def effect(self) -> float | None:
        """Part of the answers that went to other classes (total variation between the arms)."""
        totals = self.counts.sum(axis=1)
        if not totals.all():
            return None
        shares = self.counts / totals[:, None]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)


def outputs(margin: float, risk: float) -> Outputs:
    bets = BINS * WIDTH
    weights = np.full(bets, 1 / bets)
    ratios = np.stack((np.full(BINS, np.inf), np.zeros(BINS)))
    return Outputs(margin, alarm(bets, risk, weights), np.zeros((2, BINS)), ratios, weights)
