import numpy as np
import pytest

from penstock.rollout.evidence.bets import alarm, proof
from penstock.rollout.evidence.label import GRID, factors, gains, growth
from penstock.rollout.evidence.requests import Coins
from tests.rollout.evidence.streams import label_wealth


@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("ratio", [1.0, 1.25, 5.0])
def test_wealth_is_that_of_the_definition_event_by_event(side, ratio):
    """With three odds in one chunk, and chunks of all sizes."""
    rng = np.random.default_rng(7)
    odds = rng.choice((0.01, 0.3, 0.5), 90)
    candidate = rng.random(90) < 0.4
    bets = proof(len(GRID[side]))
    for at, to in ((0, 1), (1, 2), (2, 40), (40, 90)):
        coins = Coins(candidate[at:to], odds[at:to])
        bets.add(gains(side, ratio, coins, coins.count(np.ones(to - at, bool))))
    expected = label_wealth(side, ratio, list(zip(candidate, odds, strict=True)))
    assert bets.wealth() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("odds", [0.001, 0.05, 0.5, 0.99])
def test_a_bet_is_fair_at_its_ratio(side, odds):
    """Given an event, the factor's mean is 1 where the rates have exactly the ratio."""
    ratio = 1.7
    stable, mine = np.exp(factors(side, ratio, np.array([odds])))
    chance = odds * ratio / (odds * ratio + 1 - odds)
    assert np.allclose(1.0, chance * mine + (1 - chance) * stable)


@pytest.mark.parametrize(("side", "ratio"), [("up", 1.2), ("down", 2.2)])
def test_a_bet_loses_on_the_other_side_of_its_ratio(side, ratio):
    stable, mine = np.exp(factors(side, 1.7, np.array([0.1])))
    chance = 0.1 * ratio / (0.1 * ratio + 0.9)
    assert (chance * mine + (1 - chance) * stable < 1).all()


@pytest.mark.parametrize("odds", [0.0, 1.0])
def test_odds_that_leave_no_choice_tell_nothing(odds):
    assert (factors("up", 1.25, np.array([odds])) == 0).all()


def test_growth_is_the_mean_of_what_requests_bring():
    rng = np.random.default_rng(3)
    count, odds = 400_000, 0.2
    candidate = rng.random(count) < odds
    coins = Coins(candidate, np.full(count, odds))
    events = rng.random(count) < np.where(candidate, 0.03, 0.05)
    seen = gains("down", 1.5, coins, coins.count(events)) / candidate.sum()
    assert np.allclose(growth("down", 1.5, odds, 0.03, 0.05), seen, rtol=0.1, atol=0.002)


def test_capital_of_all_stages_is_one():
    bets = alarm(10, 0.01)
    assert np.isclose(1.0, np.exp(bets.wealth()))
