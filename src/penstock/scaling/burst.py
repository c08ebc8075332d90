"""How bursty requests are: variance over mean of their number in a second."""

import numpy as np

from penstock.scaling.series import Counts, Series

WINDOW = 600
"""Seconds looked at."""
ENOUGH = 60
"""Seconds from which single ones tell more than kept buckets of ten."""
RIPE = 60
"""Kept buckets from which they tell anything: a rise from nothing would be taken for a burst."""
KEPT = 360
"""Kept buckets looked at: an hour."""
LOW, HIGH = 0.8, 60.0
PRIOR = 20.0
"""Requests of Poisson traffic that are added, so that a handful says little."""


def dispersion(series: Series) -> float:
    """Index of dispersion, by differences of neighbours, so that a trend does not count; 1 is Poisson."""
    exact = min(WINDOW, series.seconds.open - series.exact) if series.exact else 0
    if exact >= ENOUGH or len(series.fine) < RIPE:
        return of(series.seconds.last(exact))
    return of(series.fine.last(KEPT))


def of(counts: Counts) -> float:
    """Of counts in a row."""
    if len(counts) < 2:
        return 1.0
    steps = np.diff(counts)
    spread = float(np.dot(steps, steps)) / 2 + PRIOR
    total = float(counts[1:].sum()) + PRIOR
    return min(max(spread / total, LOW), HIGH)
