"""What is kept of a model's requests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.scaling.burst import of
from penstock.scaling.series import DAY, MINUTES_15, WEEKS_2, Ring, Series
from tests.scaling.stage import START, restored, series


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 100)), max_size=60), st.integers(2, 80))
def test_a_ring_keeps_the_newest_buckets_in_order(steps, size):
    """Against a plain list."""
    ring, plain, bucket = Ring(1, size), {}, 5
    for gap, count in steps:
        bucket += gap
        ring.add(bucket, count)
        plain[bucket] = plain.get(bucket, 0) + count
    if steps:
        begin = min(plain)
        expected = [plain.get(i, 0) for i in range(begin, bucket)][-size:]
        assert ring.last().tolist() == expected
        assert ring.last(3).tolist() == expected[-3:]


def test_what_comes_late_is_counted_in_the_newest_second():
    found = Series()
    found.add(START + 5, 1)
    found.add(START + 3, 2)
    found.advance(START + 6)
    assert found.seconds.last().tolist() == [3.0]
    assert found.rate(10) == 3.0


def test_rates_are_of_finished_seconds_and_of_no_longer_than_was_watched():
    found = Series()
    found.extend(START, np.array([4.0, 6.0, 5.0]))
    found.add(START + 3, 100)
    assert (found.rate(2), found.rate(300)) == (5.5, 5.0)


def test_memory_is_bounded():
    found = restored(np.ones(WEEKS_2 + 2 * DAY))
    for k in range(3000):
        found.add(START + 10 * (WEEKS_2 + 2 * DAY) + k, 1)
    assert len(found.fine.last()) == WEEKS_2
    assert len(found.seconds.last()) == MINUTES_15
    assert sum(ring.nbytes for ring in (found.seconds, found.fine, found.coarse)) < 700_000


def test_a_young_series_takes_little_memory():
    assert sum(ring.nbytes for ring in (Series().seconds, Series().fine, Series().coarse)) < 1000


def test_a_silence_of_years_is_no_work():
    found = series([10.0] * 3)
    found.advance(START + 10**9)
    assert found.rate(3600) == 0.0
    assert len(found.fine.last()) == WEEKS_2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200))
def test_buckets_restored_are_the_same_buckets(counts):
    whole = series(counts)
    again = Series()
    again.restore(whole.buckets(0))
    assert again.buckets(0) == whole.buckets(0)
    assert again.fine.last().tolist() == [float(count) for count in counts]


def test_only_what_was_finished_since_is_handed_out():
    whole = series([1.0] * 65)
    assert len(whole.buckets(START)) == 65 + 2
    assert whole.buckets(START + 630) == [(START + 630, 10, 1.0), (START + 640, 10, 1.0)]
    assert whole.buckets(START + 650) == []


def test_fine_buckets_alone_make_the_coarse_ones():
    again = Series()
    again.restore([(START + 10 * k, 10, 2.0) for k in range(60)])
    assert again.coarse.last().tolist() == [60.0, 60.0]


def test_time_in_which_nobody_watched_is_no_traffic_of_zero():
    again = Series()
    again.restore([(START + 10 * k, 10, 100.0) for k in range(60)])
    again.extend(START + 600 + 300, np.full(20, 10.0))
    again.advance(START + 920)
    assert again.rate(60) == 10.0


def test_a_bucket_of_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match="a bucket of 60 s; have buckets of 10 and 300 s"):
        Series().restore([(0, 60, 1.0)])


def test_dispersion_is_one_of_poisson_and_the_size_of_what_comes_together():
    rng = np.random.default_rng(1)
    assert of(rng.poisson(100, 600).astype(np.float32)) == pytest.approx(1, rel=0.15)
    assert of((8 * rng.poisson(12, 600)).astype(np.float32)) == pytest.approx(8, rel=0.15)


def test_a_trend_is_no_dispersion():
    rng = np.random.default_rng(1)
    assert of(rng.poisson(np.linspace(10, 1000, 600)).astype(np.float32)) == pytest.approx(1, rel=0.2)


def test_a_handful_of_requests_says_little_of_dispersion():
    assert of(np.array([0, 4, 0, 0], np.float32)) < 1.6
