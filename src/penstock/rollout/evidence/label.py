"""The label e-process: given an error (a slow request, a wrong answer), which arm did it come from?

By lot it comes from the candidate with the odds of its assignment, whatever the base rate, the time of day
or a burst that both arms share; so each event is a coin of known bias to bet on.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

from penstock.rollout.evidence.requests import Coins, Floats

UP = np.array((1.15, 1.3, 1.5, 1.8, 2.2, 3, 5, 8, 15, 40))
"""Ratios to bet on, over the margin's: for an alarm."""
DOWN = np.array((0.93, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05))
"""For a pass."""
Side = Literal["up", "down"]
GRID = {"up": UP, "down": DOWN}


def factors(side: Side, ratio: Floats | float, odds: Floats) -> Floats:
    """Log of what an event multiplies each bet by, [..., 2 × odds, bets]: stable's, then the candidate's.

    Under a ratio ρ of rates an event is the candidate's with a chance of rρ / (rρ + 1 - r); the factor is
    the likelihood of the arm under ρ times the bet's over that under ρ.
    Where P(candidate) / P(stable) is ρ at most, its mean is 1 at most for ``up``, given all before.
    """
    grid = GRID[side]
    share = odds[:, None]
    rho = np.asarray(ratio, float)[..., None, None]
    stable = np.log((1 + share * (rho - 1)) / (1 + share * (rho * grid - 1)))
    known = (share > 0) & (share < 1)
    both = np.stack((stable, stable + np.log(grid)), axis=-2)
    return np.where(known[:, None], both, 0.0).reshape(*both.shape[:-3], 2 * len(odds), len(grid))


@lru_cache(maxsize=512)
def _kept(side: Side, ratio: float, odds: bytes) -> Floats:
    return factors(side, ratio, np.frombuffer(odds))


def gains(side: Side, ratio: float, coins: Coins, counts: Floats) -> Floats:
    """Log factors of a chunk's events, [bets]."""
    return counts @ _kept(side, ratio, coins.odds.tobytes())


def growth(side: Side, ratio: float, odds: float, candidate: float, stable: float) -> Floats:
    """Mean log factor for each request of the candidate, by chances of an event in the two arms, [bets]."""
    if not 0 < odds < 1:
        return np.zeros(len(GRID[side]))
    each = _kept(side, ratio, np.array([odds]).tobytes())
    return np.asarray(candidate * each[1] + stable * (1 - odds) / odds * each[0])
