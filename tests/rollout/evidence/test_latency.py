from math import inf

import numpy as np
import pytest

from penstock.rollout.evidence.latency import known, latency
from penstock.rollout.evidence.requests import Coins
from penstock.rollout.evidence.sketch import BINS, DECAY, LOW, START, edge, sketch
from tests.rollout.evidence.streams import label_wealth


def fold(made, seconds, candidate, odds, slow):
    made.fold(seconds, candidate, Coins(candidate, np.full(len(candidate), odds)), slow, None, None)


def drawn(rng, count, odds, factor=1.0):
    candidate = rng.random(count) < odds
    return np.exp(0.5 * rng.standard_normal(count)) * np.where(candidate, factor, 1.0), candidate


def test_slow_is_over_the_margin_for_the_candidate_and_over_the_threshold_for_stable():
    seconds, candidate = drawn(np.random.default_rng(1), 500, 0.4)
    made = latency("p95", 1.1, 1.5, 0.01)
    fold(made, seconds, candidate, 0.4, 1.2)
    for bets, side, margin in ((made.against, "up", 1.1), (made.passing, "down", 1.5)):
        slow = seconds > np.where(candidate, 1.2 * margin, 1.2)
        wealth = label_wealth(side, 1.0, [(mine, 0.4) for mine in candidate[slow]])
        expected = np.log(0.4 * np.exp(wealth) + 0.6) if side == "up" else wealth
        assert bets.wealth() == pytest.approx(expected)


def test_no_threshold_is_no_event():
    made = latency("p99", 1.1, 1.5, 0.01)
    fold(made, np.full(9, inf), np.ones(9, bool), 0.5, inf)
    assert made.stand(0.5, sketch((0.99,)), inf).seen == 0


def test_effect_and_interval_hold_the_ratio():
    rng = np.random.default_rng(2)
    made = latency("p50", 9.0, None, 0.01)
    for odds in (0.05, 0.3):
        fold(made, *drawn(rng, 20_000, odds, 1.3), odds, 1.0)
    stand = made.stand(0.3, sketch((0.5,)), 1.0)
    assert stand.effect == pytest.approx(1.3, rel=0.05)
    assert 1.15 < stand.low < 1.3 < stand.high < 1.45


@pytest.mark.parametrize(
    ("name", "target", "requests"), [("p99", 1.1, 36_300), ("p99", 2.0, 1060), ("p50", 1.1, 525)]
)
def test_before_any_traffic_the_need_is_from_the_table(name, target, requests):
    assert known(name, target) == pytest.approx(requests)


def test_between_the_tables_margins_the_need_lies_between():
    assert 1060 < known("p99", 1.8) < 2279
    assert known("p99", 1.05) > 100_000
    assert known("p99", 1.0) == inf


# -- sketch -------------------------------------------------------------------------------------------


def test_thresholds_are_the_quantiles_within_one_percent():
    values = np.exp(np.random.default_rng(3).normal(-3, 1, 50_000))
    made = sketch((0.5, 0.95, 0.99))
    made.add(values)
    assert made.refresh()
    for threshold, share in zip(made.thresholds, (0.5, 0.95, 0.99), strict=True):
        assert threshold == pytest.approx(np.quantile(values, share), rel=0.01)


def test_a_quantile_is_told_once_five_values_lie_beyond_it():
    made = sketch((0.5, 0.95, 0.99))
    made.add(np.full(START, 0.1))
    made.refresh()
    assert [threshold < inf for threshold in made.thresholds] == [True, True, False]


def test_thresholds_stay_until_they_are_due():
    made = sketch((0.5,))
    made.add(np.full(4000, 0.1))
    made.refresh()
    before = list(made.thresholds)
    made.add(np.full(1999, 0.9))
    assert not made.refresh()
    assert before == made.thresholds


def test_old_values_fade():
    made = sketch((0.5,))
    for value in (0.1, *[0.2] * 12):
        made.add(np.full(20_000 if value == 0.1 else 2000, value))
        made.refresh()
    assert made.thresholds[0] == pytest.approx(0.2, rel=0.02)
    assert made.counts.sum() < (20_000 + 24_000) * DECAY


def test_a_threshold_that_too_many_pass_unmeasured_rises_until_it_holds_them():
    made = sketch((0.99,))
    made.add(np.full(2000, 0.1))
    made.refresh()
    for _ in range(30):
        slow = np.where(np.arange(2000) % 20 == 0, 0.5, 0.1)
        made.add(np.where(slow > made.thresholds[0], inf, slow))
        made.refresh()
    assert made.thresholds[0] == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("seconds", "bin_"), [(0.0, 0), (LOW, 0), (1e300, BINS - 1)])
def test_the_outer_bins_take_what_is_beyond(seconds, bin_):
    made = sketch((0.5,))
    made.add(np.array([seconds]))
    assert made.counts[bin_] == 1


def test_the_part_over_a_latency_is_read_within_a_bin():
    values = np.exp(np.random.default_rng(4).normal(0, 1, 20_000))
    made = sketch((0.5,))
    made.add(values)
    assert made.over(2.0) == pytest.approx((values > 2.0).mean(), abs=0.006)
    assert made.over(inf) == 0.0
    assert edge(0) == LOW


# -- slack --------------------------------------------------------------------------------------------


def test_slack_is_latency_that_does_not_count():
    """A millisecond more on two is half as much again, but nothing that anybody notices."""
    rng = np.random.default_rng(5)
    strict, lax = latency("p50", 1.1, 1.1, 0.01), latency("p50", 1.1, 1.1, 0.01, slack=0.001)
    for made in (strict, lax):
        for _ in range(20):
            candidate = rng.random(512) < 0.2
            seconds = 0.002 * np.exp(0.3 * rng.standard_normal(512)) + 0.001 * candidate
            fold(made, seconds, candidate, 0.2, 0.002)
    assert (strict.against.settled, strict.passing.settled) == (True, False)
    assert (lax.against.settled, lax.passing.settled) == (False, True)
