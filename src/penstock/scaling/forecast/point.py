"""The highest rate expected within the lead time, now."""

from math import exp, log, sqrt

import numpy as np
from msgspec import Struct

from penstock.scaling.forecast import ridge
from penstock.scaling.forecast.candidates import MINUTES_10, onward
from penstock.scaling.forecast.fit import Fit
from penstock.scaling.forecast.history import MEAN
from penstock.scaling.series import FINE, Floats, Series
from penstock.scaling.types import Method

HOUR = 3600
"""Seconds."""
ABOVE = 1.15
"""Most that a peak may be over the highest rate of the last day and now."""
BIG = 50.0
"""Logarithm that no rate reaches."""
SHORT, LONG = 5.0, 30.0
"""Seconds over which a rise is looked for."""


class Rates(Struct, frozen=True):
    """Mean requests/s over the last seconds."""

    s10: float
    s30: float
    s60: float
    s300: float


def rates(series: Series) -> Rates:
    return Rates(series.rate(10), series.rate(30), series.rate(60), series.rate(300))


def rising(series: Series, burst: float, lead_s: float) -> float:
    """Without history: where the rate is after the lead time if it goes on rising; at most twice what it is.

    Two stretches of half the lead time are compared; what two standard deviations explain is no rise.
    """
    width = round(min(max(lead_s / 2, SHORT), LONG))
    counts = series.seconds.last(2 * width)
    if len(counts) < 2 * width:
        return 0.0
    before, last = float(counts[:width].mean()), float(counts[width:].mean())
    noise = 2 * sqrt(burst * (before + last) / width)
    slope = max(0.0, last - before - noise) / width
    return min(last + slope * (lead_s + width / 2), 2 * last)


def forecast(fit: Fit, series: Series, now: Rates, level: int) -> float:
    """At the quantile ``TAUS[level]``."""
    return _at(fit, fit.method, fit.off, series, now, level)


def persistent(fit: Fit, series: Series, now: Rates, level: int) -> float:
    """The same by persistence alone, which others are held against."""
    return _at(fit, "persistence", fit.persistent, series, now, level)


def _at(fit: Fit, method: Method, off: Floats, series: Series, now: Rates, level: int) -> float:
    point, more = _point(fit, method, series, now), float(off[level])
    # A rate that the last day never saw is not expected, but for what a rise that goes on now may bring.
    most = ABOVE * max(fit.top, now.s30, now.s60)
    return max(0.0, min(exp(min(point + more, BIG)) - fit.least, most))


def _point(fit: Fit, method: Method, series: Series, now: Rates) -> float:
    base = log(now.s60 + fit.least)
    row = min(max(0, series.fine.open - fit.bucket), len(fit.ratios) - 1)
    if method == "momentary":
        return log(now.s30 + fit.least)
    if method == "highest":
        counts = series.fine.last(MINUTES_10)
        parts = counts[len(counts) % MEAN :].reshape(-1, MEAN).sum(axis=1)
        return log(max(float(parts.max(initial=0)) / (MEAN * FINE), now.s30) + fit.least)
    if method == "seasonal":
        return base + float(fit.ratios[row])
    if method == "ridge" and fit.weights is not None:
        spans = (now.s30, now.s300, series.rate(900), series.rate(HOUR))
        own = [np.array([log(rate + fit.least) - base]) for rate in spans]
        own.append(np.array([_trend(fit, series, now) - base]))
        other = [fit.lags[row : row + 1, column] for column in range(fit.lags.shape[1])]
        return base + float((ridge.assemble(own, other, np.array([base])) @ fit.weights)[0])
    return _trend(fit, series, now) if method == "trend" else base


def _trend(fit: Fit, series: Series, now: Rates) -> float:
    before = max(0.0, 2 * series.rate(120) - now.s60)
    return log(float(onward(np.array(now.s60), np.array(before), fit.lead)) + fit.least)
