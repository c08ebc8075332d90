"""Requests of whole scrapes, dealt to their seconds with the burstiness that the scrapes show.

Staffing goes by the dispersion of single seconds, and an even spread has none.
Where counts come every 15 s, that of single seconds can only be guessed from that of the scrapes; it is
right where bursts are shorter than a second or longer than a scrape, and no less than Poisson anywhere.
"""

from collections.abc import Sequence

import numpy as np

Seconds = Sequence[tuple[int, float]]

CALM = 1.0
"""Variance over mean of Poisson requests."""


class Dealer:
    """Deals whole scrapes; remembers some of their totals for the dispersion. Random, but repeatable."""

    def __init__(self, kept: int = 40) -> None:
        self._random = np.random.default_rng(0)
        self._totals: list[float] = []
        self._kept = kept
        self._rest = 0.0
        """Parts of a request, for the next scrape."""

    def deal(self, seconds: Seconds) -> list[tuple[int, float]]:
        """The same requests, in the same time, as whole numbers."""
        total = sum(count for _, count in seconds)
        self._totals = [*self._totals, total][-self._kept :]
        whole = int(total + self._rest + 1e-9)
        self._rest += total - whole
        if not whole:
            return [(second, 0.0) for second, _ in seconds]
        shares = np.array([count for _, count in seconds]) / total
        if len(seconds) < 2:
            return [(seconds[0][0], float(whole))]
        excess = dispersion(self._totals) / (1 - 1 / len(seconds))
        if excess > CALM and whole > excess:
            # Dirichlet-multinomial with variance ``excess`` times a multinomial's
            strength = (whole - excess) / (excess - 1)
            shares = self._random.dirichlet(np.maximum(shares * strength, 1e-6))
        dealt = self._random.multinomial(whole, shares / shares.sum())
        return [(second, float(count)) for (second, _), count in zip(seconds, dealt, strict=True)]


def dispersion(totals: Sequence[float]) -> float:
    """Variance over mean, from differences of neighbours, so that a trend is no burst; at least Poisson."""
    counts = np.asarray(totals)
    if len(counts) < 5 or not counts.sum():
        return CALM
    return float(max(CALM, (np.diff(counts) ** 2).sum() / 2 / counts[1:].sum()))
