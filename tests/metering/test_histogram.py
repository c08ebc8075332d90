"""Histograms: bounds, merging and quantiles."""

import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.metering.histogram import ROWS, SECONDS, Histogram, quantile

seconds = st.floats(min_value=0, max_value=120)


def filled(values, grid=SECONDS):
    histogram = Histogram(grid)
    histogram.add(np.array(values))
    return histogram


def test_bounds_are_round_numbers_from_10_us_to_60_s():
    assert SECONDS.bounds[:5] == (1e-05, 2e-05, 3e-05, 5e-05, 1e-04)
    assert SECONDS.bounds[-5:] == (5.0, 10.0, 20.0, 30.0, 60.0)
    assert len(SECONDS.bounds) == 28


def test_every_coarse_bound_is_exactly_a_fine_edge():
    assert list(SECONDS.bounds) == SECONDS.edges[:: SECONDS.parts].tolist()
    assert (np.diff(SECONDS.edges) > 0).all()


@pytest.mark.parametrize("bound", SECONDS.bounds)
def test_a_bound_is_inclusive(bound):
    at = SECONDS.bounds.index(bound)
    assert filled([bound]).cumulative()[at] == 1
    assert filled([math.nextafter(bound, math.inf)]).cumulative()[at] == 0


@given(st.lists(seconds, min_size=1))
def test_cumulative_counts_what_each_bound_holds(values):
    expected = [sum(value <= bound for value in values) for bound in SECONDS.bounds]
    assert [*expected, len(values)] == filled(values).cumulative()


@given(st.lists(seconds, min_size=1), st.lists(seconds, min_size=1))
def test_two_histograms_merge_by_addition(left, right):
    merged = [a + b for a, b in zip(filled(left).cumulative(), filled(right).cumulative(), strict=True)]
    assert filled(left + right).cumulative() == merged
    assert filled(left + right).sum == pytest.approx(filled(left).sum + filled(right).sum)


@given(st.lists(st.floats(min_value=1e-5, max_value=60), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_in_the_same_fine_bucket_as_the_true_one(values, share):
    true = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    got = quantile(SECONDS, filled(values).counts, share)
    edges = SECONDS.edges.tolist()
    at = bisect_left(edges, true)
    assert (edges[at - 1] if at else 0.0) <= got <= edges[at]


def test_a_quantile_of_nothing_is_none():
    assert quantile(SECONDS, Histogram(SECONDS).counts, 0.5) is None


def test_a_quantile_beyond_the_last_bound_is_that_bound():
    assert quantile(SECONDS, filled([1000.0]).counts, 0.99) == 60.0


def test_zero_and_negative_times_fall_into_the_first_bucket():
    assert filled([0.0, -1e-9]).cumulative() == [2] * 29


def test_rows_are_counted_in_powers_of_two():
    histogram = filled([1, 2, 3, 4, 1024, 5000], ROWS)
    assert histogram.cumulative() == [1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 5, 6]
    assert histogram.sum == 6034
