"""Requests of whole scrapes, dealt to their seconds with the burstiness that the scrapes show."""

import numpy as np
import pytest

from penstock.cluster.scaler.spread import Dealer, dispersion

WIDTH = 10


def dealt(totals):
    """Counts of single seconds."""
    dealer, found = Dealer(), []
    for place, total in enumerate(totals):
        start = place * WIDTH
        even = [(second, total / WIDTH) for second in range(start, start + WIDTH)]
        chunk = dealer.deal(even)
        assert [second for second, _ in chunk] == [second for second, _ in even]
        assert sum(found) + sum(count for _, count in chunk) == int(sum(totals[: place + 1]) + 1e-9)
        found += [count for _, count in chunk]
    return found


@pytest.mark.parametrize("burst", [1, 4, 15])
def test_seconds_are_as_bursty_as_the_scrapes(burst):
    random = np.random.default_rng(7)
    mean = 40.0 * WIDTH
    totals = random.gamma(mean / burst, burst, 300) if burst > 1 else random.poisson(mean, 300)
    assert dispersion(dealt(totals)) == pytest.approx(burst, rel=0.35)


def test_a_trend_is_no_burst():
    assert dispersion(np.linspace(1000, 4000, 60).round()) < 2


def test_an_even_spread_would_have_shown_none():
    even = np.repeat(np.random.default_rng(7).gamma(100, 4, 100) / WIDTH, WIDTH)
    counts = np.diff(even) ** 2
    assert counts.sum() / 2 / even.sum() < 0.2


def test_the_same_scrapes_are_dealt_the_same():
    assert dealt([50, 60, 70]) == dealt([50, 60, 70])


def test_parts_of_requests_are_kept_until_they_are_whole():
    assert [sum(dealt([0.4] * scrapes)) for scrapes in (1, 2, 3, 5)] == [0, 0, 1, 2]
