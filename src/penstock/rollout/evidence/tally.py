"""What was counted under each odds: effects and their intervals, as they are shown.

The bets that decide are elsewhere; here the same mixtures are turned round and asked for all the ratios
that they would not disprove.
"""

from math import log

import numpy as np
from msgspec import Struct

from penstock.rollout.evidence.label import factors
from penstock.rollout.evidence.requests import Coins, Floats

LIMIT = log(1 / 0.025)
"""For each end of an interval."""
MOST = 32
"""Different odds that are told apart; further ones count with the nearest."""
RATES = np.exp(np.linspace(-4.2, 4.2, 169))
"""Ratios of rates that the ends are looked for among: 1/67 to 67 in steps of 5 %."""
TIMES = np.exp(np.linspace(-2.1, 2.1, 169))
"""Ratios of latencies: 1/8 to 8 in steps of 2.5 %."""
Ends = tuple[float | None, float | None]


class Tally(Struct):
    """Columns of counts by odds; the first four: stable's events and the candidate's, requests of each."""

    odds: Floats
    counts: Floats

    def add(self, coins: Coins, counts: Floats) -> None:
        """Counts by the odds of these coins, [odds, columns]."""
        if len(self.odds) < MOST:
            new = np.setdiff1d(coins.odds, self.odds)[: MOST - len(self.odds)]
            if len(new):
                self.odds = np.append(self.odds, new)
                self.counts = np.append(self.counts, np.zeros((len(new), self.counts.shape[1])), axis=0)
        nearest = np.abs(self.odds - coins.odds[:, None]).argmin(axis=1)
        np.add.at(self.counts, nearest, counts)

    @property
    def totals(self) -> Floats:
        """Stable's events, the candidate's, requests of each, under all odds."""
        return np.asarray(self.counts[:, :4].sum(axis=0))

    def expected(self) -> float:
        """Events of the candidate if it had the stable's rate under each odds."""
        events, _, stable, candidate = self.counts.T[:4]
        return float((events * candidate / np.maximum(stable, 1)).sum())


def tally(columns: int = 4) -> Tally:
    return Tally(np.zeros(0), np.zeros((0, columns)))


def ratio(counted: Tally) -> float | None:
    """Of the candidate's rate to the stable's (Mantel and Haenszel: as if weighed under each odds apart)."""
    events, mine, stable, candidate = counted.counts.T[:4]
    requests = np.maximum(stable + candidate, 1)
    below = float((events * candidate / requests).sum())
    return float((mine * stable / requests).sum()) / below if below else None


def rates(counted: Tally) -> Ends:
    """(low, high) of the ratio of rates, at 95 % whenever one looks."""
    if not len(counted.odds):
        return None, None
    events = counted.counts[:, :2].ravel()
    return _ends(
        RATES,
        events @ factors("up", RATES, counted.odds),
        events @ factors("down", RATES, counted.odds),
    )


def times(counted: Tally) -> tuple[float | None, Ends]:
    """Ratio of a quantile's latencies, and (low, high) of it.

    From the fifth column on: the candidate's requests by their latency over the threshold, in the gaps
    between ``TIMES``.
    A ratio m is disproven where too many of the candidate's are over m thresholds, or too few.
    """
    if not len(counted.odds):
        return None, (None, None)
    over = counted.counts[:, :3:-1].cumsum(axis=1)[:, ::-1][:, 1:]  # [odds, ratios]
    stable = counted.counts[:, 0]
    up, down = (factors(side, 1.0, counted.odds) for side in ("up", "down"))
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
