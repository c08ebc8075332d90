import numpy as np
import pytest

from penstock.rollout.evidence.mean import CLIP, HARDER, STAKES, mean

ODDS = 0.2


def drawn(rng, count, factor=1.0):
    candidate = rng.random(count) < ODDS
    values = np.exp(0.8 * rng.standard_normal(count)) * np.where(candidate, factor, 1.0)
    return values, candidate, np.full(count, ODDS)


def taught(margin=1.0, target=1.5, risk=0.05):
    """One that knows the stable mean and has bet on nothing."""
    made = mean(margin, target, risk)
    made.mean, made.held = 1.4, 10**9
    return made


def test_wealth_is_that_of_the_definition_request_by_request():
    values, candidate, odds = drawn(np.random.default_rng(2), 300)
    values[5], values[7] = np.inf, 1e9
    made = taught()
    made.fold(values, candidate, odds)
    wealth, passing = np.ones(8), np.ones(8)
    for x, mine in zip(values, candidate, strict=True):
        z = (mine - ODDS) * (min(x, CLIP * 1.4) - 1.4)
        wealth *= 1 + STAKES * z / max(9 * ODDS * 1.4, (1 - ODDS) * 1.4)
        z = (mine - ODDS) * (min(x / (1.5 if mine else 1), CLIP * 1.4) - 1.4)
        passing *= 1 - HARDER * STAKES * z / max(9 * (1 - ODDS) * 1.4, ODDS * 1.4)
    assert np.exp(made.against.wealth()) == pytest.approx(0.4 * wealth.mean() + 0.6)
    assert np.exp(made.passing.wealth()) == pytest.approx(passing.mean())


def test_chunks_do_not_change_the_wealth():
    values, candidate, odds = drawn(np.random.default_rng(3), 700)
    whole, single = taught(), taught()
    whole.fold(values, candidate, odds)
    for at in range(700):
        single.fold(values[at : at + 1], candidate[at : at + 1], odds[at : at + 1])
    assert np.allclose(whole.against.logs, single.against.logs)
    assert np.allclose(whole.passing.logs, single.passing.logs)


def test_a_tenth_more_is_found_and_as_much_is_proven():
    rng = np.random.default_rng(4)
    worse, same = mean(1.0, 1.1, 0.05), mean(1.0, 1.1, 0.05)
    for _ in range(80):
        worse.fold(*drawn(rng, 512, 1.2))
        same.fold(*drawn(rng, 512))
    assert worse.against.settled
    assert not worse.passing.settled
    assert same.passing.settled
    assert not same.against.settled


def test_equal_means_alarm_less_often_than_promised():
    rng = np.random.default_rng(5)
    runs, found = 300, 0
    for _ in range(runs):
        made = mean(1.0, None, 0.05)
        for _ in range(12):
            made.fold(*drawn(rng, 256))
        found += made.against.settled
    assert found / runs <= 0.05


def test_a_mean_at_the_target_passes_less_often_than_allowed():
    rng = np.random.default_rng(6)
    runs, found = 300, 0
    for _ in range(runs):
        made = mean(1.0, 1.3, 0.05)
        for _ in range(12):
            made.fold(*drawn(rng, 256, 1.3))
        found += made.passing.settled
    assert found / runs <= 0.05


def test_interval_holds_the_ratio():
    rng = np.random.default_rng(7)
    made = mean(1.0, 1.5, 0.05)
    for _ in range(40):
        made.fold(*drawn(rng, 512, 1.25))
    low, high = made.interval()
    assert 1.1 < low < 1.25 < high < 1.4
    assert made.effect() == pytest.approx(1.25, rel=0.05)


def test_nothing_known_is_said_to_be_so():
    assert mean(1.1, None, 0.01).stand().silent
