"""A ridge regression of the peak on the model's own recent rates and the same time of other days."""

import numpy as np

from penstock.scaling.forecast.candidates import HOUR, MINUTES_5, MINUTES_15, base, rise, trend
from penstock.scaling.forecast.history import MEAN, History, Positions
from penstock.scaling.series import DAY, Floats

BACK = (1, 2, 7)
"""Days."""
PENALTY = 2.0
SPANS = (MEAN, MINUTES_5, MINUTES_15, HOUR)
"""Buckets; the trend comes after them."""
LIMIT = 3.0
"""Of a feature: more than twentyfold is an outlier."""


def features(past: History, at: Positions) -> Floats:
    """A row for each position."""
    now = base(past, at)
    own = [past.log(past.rate(at, span)) - now for span in SPANS] + [trend(past, at) - now]
    return assemble(own, lags(past, at), now)


def lags(past: History, at: Positions) -> list[Floats]:
    """What other days were like at this time: how the rate rose, and how high it was; nan where not known."""
    found: list[Floats] = []
    for back in BACK:
        then = at - back * DAY
        known = (then >= MINUTES_5) & (then < past.count)
        then = np.where(known, then, min(MINUTES_5, past.count - 1))
        level = np.where(known, past.log(past.rate(then, MINUTES_5)), np.nan)
        found += [rise(past, at, back), level]
    return found


def assemble(own: list[Floats], other: list[Floats], now: Floats) -> Floats:
    """Features from rates relative to the minute's, days' rises, and days' levels; unknown ones are 0."""
    levels = [value - now if i % 2 else value for i, value in enumerate(other)]
    rows = np.stack([np.ones(len(now)), *own, *levels], axis=1)
    clipped: Floats = np.clip(np.nan_to_num(rows), -LIMIT, LIMIT)
    return clipped


def fit(rows: Floats, risen: Floats) -> Floats:
    """Weights by which the logarithm of the peak over the minute's rate follows from the features."""
    penalty = np.full(rows.shape[1], PENALTY)
    penalty[0] = 0.1
    weights: Floats = np.linalg.solve(rows.T @ rows + np.diag(penalty), rows.T @ risen).astype(np.float64)
    return weights
