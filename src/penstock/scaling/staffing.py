"""Capacity that a rate needs so that few requests wait too long, and what waits under a capacity.

P(wait > T) ≈ exp(−2 (C − λ) C T / (λ c²)): a queue in heavy traffic as reflected Brownian motion
with capacity C, arrival rate λ and dispersion c² (Kingman 1962; Whitt, Stochastic-Process Limits, 2002, §5).
"""

from math import ceil, exp, log, sqrt

LATE = 0.02
"""Share of requests that may wait too long, unless another is asked for."""
SHORTEST = 0.005
"""Seconds of wait below which no capacity is asked for."""


def needed(rate: float, burst: float, wait_s: float, late: float = LATE) -> float:
    """Requests/s of capacity at which that share waits longer than ``wait_s``."""
    if rate <= 0:
        return 0.0
    room = 2 * rate * burst * log(1 / late) / max(wait_s, SHORTEST)
    return (rate + sqrt(rate * rate + room)) / 2


def late(rate: float, capacity: float, burst: float, wait_s: float) -> float:
    """Share that waits longer than ``wait_s``: the inverse of ``needed``."""
    if rate <= 0:
        return 0.0
    return min(1.0, exp(-2 * (capacity - rate) * capacity * max(wait_s, SHORTEST) / (rate * burst)))


def instances(capacity: float, carries: float) -> int:
    """So many instances have that capacity."""
    return ceil(capacity / max(carries, 1e-9) - 1e-9)
