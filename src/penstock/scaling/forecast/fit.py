"""What a model's own history says of its next minutes; made anew every ten minutes, in a few milliseconds."""

from math import ceil

import numpy as np
from msgspec import Struct

from penstock.scaling.forecast import candidates, recurring, ridge
from penstock.scaling.forecast.conformal import ENOUGH, TAUS, USUAL, pinball, quantiles
from penstock.scaling.forecast.history import History, Positions, history
from penstock.scaling.series import DAY, FINE, Floats, Series
from penstock.scaling.types import Method

EVERY = 600.0
"""Seconds between fits."""
AHEAD = 90
"""Buckets that a fit looks ahead: those until the next one, and some more."""
STEP = 3
"""Buckets between the moments that are looked at."""
BETTER = 0.97
"""Loss over that of persistence under which another method is used."""
TRAIN = 3 * DAY
HALF_DAY = DAY // 2


class Fit(Struct, frozen=True):
    """A method, how far it was off, and what other days say of the next minutes."""

    bucket: int
    """The first that was not known yet."""
    lead: int
    least: float
    method: Method
    off: Floats
    """Logarithm of what came over what was forecast, at each of ``TAUS``."""
    persistent: Floats
    """The same of persistence."""
    ratios: Floats
    lags: Floats
    weights: Floats | None
    recurring: recurring.Recurring | None

    def stale(self, bucket: int, lead: int) -> bool:
        return not 0 <= bucket - self.bucket < EVERY / FINE or lead != self.lead


def horizon(startup_s: float, tick_s: float) -> int:
    """Buckets from a decision until the next one's instances answer."""
    return max(1, ceil((startup_s + tick_s) / FINE))


def fit(series: Series, lead: int) -> Fit | None:
    """None while there is too little history; only reads, so it may run in a thread on a copy."""
    past = history(series, lead)
    newest = past.count - 1 - lead
    begin = max(STEP * 2, newest - DAY)
    at = np.arange(newest, begin, -STEP)[::-1].astype(np.int64)
    if len(at) < ENOUGH:
        return None
    came = past.log(past.peaks[at])
    next_ = np.arange(past.count - 1, past.count - 1 + AHEAD, dtype=np.int64)
    forecasts = {name: method(past, at) for name, method in candidates.PLAIN.items()}
    if past.count > DAY + HALF_DAY:
        forecasts["seasonal"] = candidates.seasonal(past, at)
    weights = _train(past, int(at[0]))
    if weights is not None:
        forecasts["ridge"] = candidates.base(past, at) + ridge.features(past, at) @ weights
    method, off, persistent = choose(came, forecasts)
    return Fit(
        series.fine.open,
        lead,
        past.least,
        method,
        off,
        persistent,
        candidates.ratio(past, next_),
        np.stack(ridge.lags(past, next_), axis=1),
        weights,
        recurring.find(past, next_),
    )


def _train(past: History, end: int) -> Floats | None:
    """On what was over before the residuals begin, so that these are of forecasts that did not know them."""
    last = end - past.lead
    if last < HALF_DAY:
        return None
    at: Positions = np.arange(max(360, last - TRAIN), last, 2 * STEP, dtype=np.int64)
    rows = ridge.features(past, at)
    return ridge.fit(rows, past.log(past.peaks[at]) - candidates.base(past, at))


def choose(came: Floats, forecasts: dict[Method, Floats]) -> tuple[Method, Floats, Floats]:
    """The method of the least loss if it is clearly better than persistence, and how far both were off."""
    residuals = {name: came - forecast for name, forecast in forecasts.items()}
    offs = {name: quantiles(residual) for name, residual in residuals.items()}
    losses = {
        name: pinball(residual, float(offs[name][USUAL]), TAUS[USUAL]) for name, residual in residuals.items()
    }
    best = min(losses, key=lambda name: losses[name])
    if losses[best] >= BETTER * losses["persistence"]:
        best = "persistence"
    return best, offs[best], offs["persistence"]
