"""Counts of all books at once, second by second: what they tell, and as exactly as one book by itself."""

from random import Random

import numpy as np
import pytest

from penstock.dashboard.reel import MINUTE, RECENT, SHARES, Reel, quantiles, shot
from penstock.metering.histogram import ROWS, SECONDS, Histogram, quantile
from penstock.metering.ledger import Ledger
from penstock.testing import ManualClock
from tests.dashboard.scene import serve


class Film:
    """A ledger whose books are shot when told."""

    def __init__(self, *models):
        self.clock = ManualClock()
        self.ledger = Ledger(self.clock)
        self.books = [self.ledger.book(model, "1") for model in models]
        self.reel = Reel(self.shot())

    def shot(self):
        return shot(self.clock(), self.ledger.books())

    def after(self, seconds=1.0):
        self.clock.advance(seconds)
        return self.reel.add(self.shot())


def test_quantiles_are_those_of_each_book_alone():
    draw = Random(1)
    histograms = []
    for many in (0, 1, 2, 1000):
        histogram = Histogram(SECONDS)
        histogram.add(np.array([draw.lognormvariate(-5, 2) for _ in range(many)]))
        histograms.append(histogram)
    extremes = Histogram(SECONDS)
    extremes.add(np.array([0.0, 1e9, 1e9]))
    counts = np.array([each.counts for each in [*histograms, extremes]])
    found = quantiles(SECONDS.edges, counts, SHARES)
    for line, values in zip(counts, found, strict=True):
        wanted = [quantile(SECONDS, line, share) for share in SHARES]
        assert wanted == [None if np.isnan(value) else pytest.approx(value) for value in values]


def test_rates_are_those_since_the_last_shot():
    film = Film("a", "b")
    a, b = film.books
    for _ in range(30):
        serve(a, 0.01, 0.01, ran=0.02)
    numbers = film.after(2.0)
    assert numbers.seconds == 2.0
    assert numbers.answered.tolist() == [30.0, 0.0]
    assert numbers.busy.tolist() == pytest.approx([0.3, 0.0])
    b.failed("engine", 0.1)
    film.ledger.refused("b", "1", "overloaded")
    numbers = film.after(0.5)
    assert [numbers.answered.tolist(), numbers.failed.tolist()] == [[0.0, 0.0], [0.0, 4.0]]
    assert numbers.requests.tolist() == [60, 0]


def test_quantiles_and_batches_look_back_ten_seconds_and_sizes_a_minute():
    film = Film("a")
    serve(film.books[0], 1.0, rows=8)
    for second in range(int(MINUTE) + 3):
        numbers = film.after()
        assert (not np.isnan(numbers.quantiles_ms[0]).any()) == (second < RECENT), second
        assert (numbers.batch[0] == 8) == (second < RECENT), second
        assert (numbers.sizes[0].sum() == 1) == (second < MINUTE), second


def test_sizes_count_batches_by_powers_of_two():
    film = Film("a")
    for rows in (1, 2, 3, 4, 5, 1024, 5000):
        serve(film.books[0], 0.1, rows=rows)
    numbers = film.after()
    told = dict(zip([*ROWS.bounds, np.inf], numbers.sizes[0].tolist(), strict=True))
    assert {bound: count for bound, count in told.items() if count} == {
        1: 1,
        2: 1,
        4: 2,
        8: 1,
        1024: 1,
        np.inf: 1,
    }
    assert numbers.batch[0] == pytest.approx((1 + 2 + 3 + 4 + 5 + 1024 + 5000) / 7)


def test_a_book_that_comes_later_counts_from_nothing_and_one_that_goes_takes_its_counts_along():
    film = Film("b")
    serve(film.books[0], 0.1)
    film.after()
    early = film.ledger.book("a", "1")
    for _ in range(5):
        serve(early, 0.2)
    numbers = film.after()
    assert numbers.answered.tolist() == [5.0, 0.0]
    assert numbers.requests.tolist() == [5, 1]
    del film.ledger._live["b", "1"]
    assert film.after().requests.tolist() == [5]


def test_no_books_are_no_error():
    numbers = Film().after()
    assert [len(numbers.requests), len(numbers.sizes), len(numbers.quantiles_ms)] == [0, 0, 0]
