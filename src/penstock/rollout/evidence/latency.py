"""Guards over latency quantiles: given a request over the stable arm's quantile, whose was it?"""

from math import inf, log

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence import label
from penstock.rollout.evidence.bets import Bets, alarm, proof, restart, until
from penstock.rollout.evidence.once import Once
from penstock.rollout.evidence.requests import Bools, Coins, Floats, Units
from penstock.rollout.evidence.sketch import Sketch
from penstock.rollout.evidence.stand import Stand
from penstock.rollout.evidence.tally import TIMES, Tally, tally, times

KNOWN = {
    "p50": ((1.05, 2100), (1.1, 525), (1.25, 120)),
    "p95": ((1.1, 6834), (1.2, 1705), (1.5, 450)),
    "p99": ((1.1, 36300), (1.2, 8829), (1.5, 2279), (2.0, 1060)),
}
"""Requests of the candidate that a pass takes in the median, by target, with a heavy tail and a share of 1 %.

Of use until the stable arm's own tail is known.
"""
COLUMNS = 4 + len(TIMES) + 1


class Latency(Struct):
    """Stable's requests count as slow over the threshold, the candidate's over its margin and slack."""

    name: str
    share: float
    margin: float
    target: float | None
    slack: float
    """Seconds that the candidate may take more, whatever the ratio."""
    against: Bets
    passing: Bets
    counted: Tally = field(default_factory=lambda: tally(COLUMNS))
    alarmed: Once = field(default_factory=Once)
    proven: Once = field(default_factory=Once)

    def begin(self, target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone)
        self.target, self.passing = target, proof(len(label.DOWN))
        self.alarmed.clear()
        self.proven.clear()
        self.counted = tally(COLUMNS)

    def fold(
        self,
        seconds: Floats,
        candidate: Bools,
        coins: Coins,
        slow: float,
        units: Units | None,
        single: Bools | None,
    ) -> None:
        """``slow``: the threshold, which is none of these requests' doing."""
        if not slow < inf:
            return
        limits = np.where(candidate, slow * self.margin + self.slack, slow)
        counts = _count(seconds > limits, coins, units, self.alarmed)
        self.against.add(label.gains("up", 1.0, coins, counts))
        if self.target is not None:
            limits = np.where(candidate, slow * self.target + self.slack, slow)
            counts = _count(seconds > limits, coins, units, self.proven)
            self.passing.add(label.gains("down", 1.0, coins, counts))
        self._tally(seconds, candidate, coins, slow, single)

    def _tally(
        self, seconds: Floats, candidate: Bools, coins: Coins, slow: float, single: Bools | None
    ) -> None:
        over = seconds > slow
        seen = coins.totals
        if single is not None:
            over, candidate, seen = over & single, candidate & single, coins.count(single)
        rows = np.zeros((len(coins.odds), COLUMNS))
        rows[:, :2], rows[:, 2:4] = coins.count(over).reshape(-1, 2), seen.reshape(-1, 2)
        mine = np.flatnonzero(candidate)
        gaps = np.searchsorted(TIMES, seconds[mine] / slow)
        if coins.which is None:
            rows[0, 4:] = np.bincount(gaps, minlength=COLUMNS - 4)
        else:
            np.add.at(rows, (coins.which[mine], 4 + gaps), 1)
        self.counted.add(coins, rows)

    def needs(self, odds: float, sketch: Sketch, slow: float) -> float:
        """More requests of the candidate until it passes."""
        if self.target is None or self.passing.settled:
            return inf
        if not slow < inf:
            return known(self.name, self.target)
        base = sketch.over(slow)
        worth = 10 / max(base, 1e-6)  # a prior of ten events, as if the candidate were the stable version
        limit = slow * self.target + self.slack
        beyond = self.counted.table[:, 4 + int(np.searchsorted(TIMES, limit / slow)) + 1 :].sum()
        ours = float(self.counted.totals[3])
        rate = (sketch.over(limit) * worth + beyond) / (worth + ours)
        return until(self.passing, label.growth("down", 1.0, odds, rate, base))

    def stand(self, odds: float, sketch: Sketch, slow: float) -> Stand:
        effect, (low, high) = times(self.counted)
        stable, mine, _, ours = self.counted.totals
        return Stand(
            failed=self.against.settled,
            passed=self.passing.settled and self.target is not None,
            effect=effect,
            low=low,
            high=high,
            seen=int(ours),
            events=int(stable + mine),
            against=self.against.progress(),
            for_=self.passing.progress() if self.target is not None else 0.0,
            needs=self.needs(odds, sketch, slow),
        )


def _count(events: Bools, coins: Coins, units: Units | None, once: Once) -> Floats:
    if units is not None:
        at = np.flatnonzero(events)
        events[at] = once.first(units[at])
    return coins.count(events)


def known(name: str, target: float) -> float:
    """From ``KNOWN``, along a power of the margin between and beyond its entries."""
    margins, requests = np.array(KNOWN[name]).T
    if target <= 1:
        return inf
    x, xs, ys = log(target - 1), np.log(margins - 1), np.log(requests)
    at = int(np.clip(np.searchsorted(xs, x), 1, len(xs) - 1))
    slope = (ys[at] - ys[at - 1]) / (xs[at] - xs[at - 1])
    return float(np.exp(ys[at] + slope * (x - xs[at])))


def latency(name: str, margin: float, target: float | None, risk: float, slack: float = 0.0) -> Latency:
    """``name``: p50 …; ``slack``: seconds."""
    bets = len(label.UP)
    return Latency(name, int(name[1:]) / 100, margin, target, slack, alarm(bets, risk), proof(bets))
