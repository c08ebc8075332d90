"""What was counted under each odds: effects and their intervals, as they are shown.

The bets that decide are elsewhere; here the same mixtures are turned round and asked for all the ratios
that they would not disprove.
"""

from functools import lru_cache
from math import log
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from penstock.rollout.evidence.label import Side, factors
from penstock.rollout.evidence.requests import Coins, Floats

LIMIT = log(1 / 0.025)
"""For each end of an interval."""
MOST = 32
"""Different odds that are told apart; further ones count with the nearest."""
RATES = np.exp(np.linspace(-4.2, 4.2, 169))
"""Ratios of rates that the ends are looked for among: 1/67 to 67 in steps of 5 %."""
TIMES = np.exp(np.linspace(-2.1, 2.1, 169))
"""Ratios of latencies: 1/8 to 8 in steps of 2.5 %."""
SIDES: tuple[Side, Side] = ("up", "down")
Ends: TypeAlias = tuple[float | None, float | None]


class Tally(Struct):
    """Columns of counts by odds; the first four: stable's events and the candidate's, requests of each."""

    columns: int
    odds: list[float] = []
    counts: list[Floats] = []
    """For each of the odds, [columns]."""

    def add(self, coins: Coins, counts: Floats) -> None:
        """Counts by the odds of these coins, [odds, columns]."""
        for odds, row in zip(coins.odds.tolist(), counts, strict=True):
            self.counts[self._place(odds)] += row

    def _place(self, odds: float) -> int:
        if odds in self.odds:
            return self.odds.index(odds)
        if len(self.odds) < MOST:
            self.odds.append(odds)
            self.counts.append(np.zeros(self.columns))
            return len(self.odds) - 1
        return min(range(MOST), key=lambda at: abs(self.odds[at] - odds))

    @property
    def table(self) -> Floats:
        """[odds, columns]"""
        return np.array(self.counts).reshape(-1, self.columns)

    @property
    def totals(self) -> Floats:
        """Stable's events, the candidate's, requests of each, under all odds."""
        return np.asarray(self.table[:, :4].sum(axis=0))

    def expected(self) -> float:
        """Events of the candidate if it had the stable's rate under each odds."""
        events, _, stable, candidate = self.table.T[:4]
        return float((events * candidate / np.maximum(stable, 1)).sum())


def tally(columns: int = 4) -> Tally:
    return Tally(columns)


def ratio(counted: Tally) -> float | None:
    """Of the candidate's rate to the stable's (Mantel and Haenszel: as if weighed under each odds apart)."""
    events, mine, stable, candidate = counted.table.T[:4]
    requests = np.maximum(stable + candidate, 1)
    below = float((events * candidate / requests).sum())
    return float((mine * stable / requests).sum()) / below if below else None


@lru_cache(maxsize=64)
def _turned(side: Side, odds: tuple[float, ...]) -> Floats:
    """Log factors for all of ``RATES``, [ratios, 2 × odds, bets]."""
    return factors(side, RATES, np.array(odds))


def rates(counted: Tally) -> Ends:
    """(low, high) of the ratio of rates, at 95 % whenever one looks."""
    if not len(counted.odds):
        return None, None
    events, odds = counted.table[:, :2].ravel(), tuple(counted.odds)
    return _ends(RATES, *(events @ _turned(side, odds) for side in SIDES))


def times(counted: Tally) -> tuple[float | None, Ends]:
    """Ratio of a quantile's latencies, and (low, high) of it.

    From the fifth column on: the candidate's requests by their latency over the threshold, in the gaps
    between ``TIMES``.
    A ratio m is disproven where too many of the candidate's are over m thresholds, or too few.
    """
    if not len(counted.odds):
        return None, (None, None)
    over = counted.table[:, :3:-1].cumsum(axis=1)[:, ::-1][:, 1:]  # [odds, ratios]
    stable = counted.table[:, 0]
    up, down = (factors(side, 1.0, np.array(counted.odds)) for side in SIDES)
    ends = _ends(
        TIMES,
        over.T @ up[1::2] + stable @ up[::2],
        over.T @ down[1::2] + stable @ down[::2],
    )
    wanted = counted.expected()
    below = np.flatnonzero(over.sum(axis=0) <= wanted)
    known = wanted >= 1 and len(below) and below[0]
    return (float(TIMES[below[0]]) if known else None), ends


def _ends(grid: Floats, up: Floats, down: Floats) -> Ends:
    """The last ratio that is disproven from below, the first one from above; logs of bets: [grid, bets]."""
    spread = log(up.shape[-1])
    low = np.flatnonzero(np.logaddexp.reduce(up, axis=-1) - spread >= LIMIT)
    high = np.flatnonzero(np.logaddexp.reduce(down, axis=-1) - spread >= LIMIT)
    return (
        float(grid[low[-1]]) if len(low) else None,
        float(grid[high[0]]) if len(high) else None,
    )
