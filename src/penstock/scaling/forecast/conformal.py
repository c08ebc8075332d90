"""How far forecasts were off: quantiles of what really came over them, and the loss of a quantile."""

from math import ceil

import numpy as np

from penstock.scaling.series import Floats

TAUS = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Quantiles that may be used, from the least careful on."""
USUAL = 1
"""Which of them methods are chosen by."""
FIRST = 2
"""Which of them is staffed for, unless feedback asks for a more careful one."""
ENOUGH = 60
"""Residuals without which there is no quantile."""


def quantiles(residuals: Floats) -> Floats:
    """At each of ``TAUS``, as split conformal prediction takes them: the ⌈(n + 1) τ⌉-th smallest of n."""
    ordered = np.sort(residuals)
    count = len(ordered)
    return ordered[[min(count, ceil((count + 1) * tau)) - 1 for tau in TAUS]]


def pinball(came: Floats, quantile: Floats, tau: float) -> float:
    """Mean loss of a quantile: ``tau`` for each unit missed, ``1 - tau`` for each unit too much."""
    over = came - quantile
    return float(np.maximum(tau * over, (tau - 1) * over).mean())
