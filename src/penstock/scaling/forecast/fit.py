"""What a model's own history says of its next minutes; made anew every ten minutes, in a few milliseconds."""

from math import ceil

import numpy as np
from msgspec import Struct

from penstock.scaling.forecast import candidates, recurring, ridge
from penstock.scaling.forecast.conformal import ENOUGH, TAUS, USUAL, pinball, quantiles
from penstock.scaling.forecast.history import MEAN, History, Positions, history, linked
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
LINKS = (0.02, 0.3, 2.0)
"""Parts of the day's mean rate that are added before logarithms are taken; the best is used."""
MANY = 0.9
"""Share of requests whose rate a floor is made for."""
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
    """Logarithm of what came over what was forecast: at each of ``TAUS``."""
    persistent: Floats
    """The same of persistence."""
    ratios: Floats
    lags: Floats
    weights: Floats | None
    recurring: recurring.Recurring | None
    top: float
    """The highest rate of the last day."""
    cost: float
    """Mean of what would have been forecast on that day over the mean of what came."""
    busy: float
    """The rate at or under which nine in ten requests of that day came."""

    def stale(self, bucket: int, lead: int) -> bool:
        return not 0 <= bucket - self.bucket < EVERY / FINE or lead != self.lead


def horizon(startup_s: float, tick_s: float) -> int:
    """Buckets from a decision until the next one's instances answer."""
    return max(1, ceil((startup_s + tick_s) / FINE))


def fit(series: Series, lead: int) -> Fit | None:
    """None while there is too little history; only reads, so it may run in a thread on a copy."""
    whole = history(series, lead)
    newest = whole.count - 1 - lead
    begin = max(STEP * 2, newest - DAY)
    at = np.arange(newest, begin, -STEP)[::-1].astype(np.int64)
    if len(at) < ENOUGH:
        return None
    past, tried = min(
        ((past, _plain(past, at)) for past in (linked(whole, part) for part in LINKS)),
        key=lambda each: min(one.loss for one in each[1].values()),
    )
    if past.count > DAY + HALF_DAY:
        tried["seasonal"] = _tried(past, at, candidates.seasonal(past, at))
    weights = _train(past, int(at[0]))
    if weights is not None:
        line = candidates.base(past, at) + ridge.features(past, at) @ weights
        tried["ridge"] = _tried(past, at, line)
    method = choose({name: one.loss for name, one in tried.items()})
    next_ = np.arange(past.count - 1, past.count - 1 + AHEAD, dtype=np.int64)
    return Fit(
        series.fine.open,
        lead,
        past.least,
        method,
        tried[method].off,
        tried["persistence"].off,
        candidates.ratio(past, next_),
        np.stack(ridge.lags(past, next_), axis=1),
        weights,
        recurring.find(past, next_),
        float(past.peaks[at].max()),
        tried[method].cost,
        busy(past.rate(at, MEAN)),
    )


def _train(past: History, end: int) -> Floats | None:
    """On what was over before the residuals begin, so that these are of forecasts that did not know them."""
    last = end - past.lead
    if last < HALF_DAY:
        return None
    at: Positions = np.arange(max(360, last - TRAIN), last, 2 * STEP, dtype=np.int64)
    rows = ridge.features(past, at)
    return ridge.fit(rows, past.log(past.peaks[at]) - candidates.base(past, at))


class Tried(Struct, frozen=True):
    """A method on the last day."""

    off: Floats
    loss: float
    """Pinball loss of the usual quantile, in requests/s."""
    cost: float


def _plain(past: History, at: Positions) -> dict[Method, Tried]:
    return {name: _tried(past, at, method(past, at)) for name, method in candidates.PLAIN.items()}


def _tried(past: History, at: Positions, forecast: Floats) -> Tried:
    came = past.peaks[at]
    off = quantiles(past.log(came) - forecast)
    bound: Floats = np.minimum(np.exp(forecast + off[USUAL]) - past.least, came.max())
    mean = max(float(past.rate(at, MEAN).mean()), past.least)
    return Tried(off, pinball(came, bound, TAUS[USUAL]), float(bound.mean()) / mean)


def busy(rates: Floats) -> float:
    """Weighed by the rates themselves, that is by request."""
    ordered = np.sort(rates)
    sums = np.cumsum(ordered)
    return float(ordered[min(int(np.searchsorted(sums, MANY * sums[-1])), len(ordered) - 1)])


def choose(losses: dict[Method, float]) -> Method:
    """The method of the least loss if that is clearly less than persistence's."""
    best = min(losses, key=lambda name: losses[name])
    return best if losses[best] < BETTER * losses["persistence"] else "persistence"
