import numpy as np
import pytest

from penstock.rollout.evidence.outputs import outputs
from penstock.rollout.evidence.parts import STAKES, WEIGHTS, parts

# -- compared -----------------------------------------------------------------------------------------


def compare(made, rng, pairs, mine, control=0.0):
    candidate, other = rng.random(pairs) < mine, rng.random(pairs) < control
    alone = [np.count_nonzero(candidate & ~other), np.count_nonzero(other & ~candidate)]
    made.fold(np.array((*alone, pairs - sum(alone)), float))


def test_wealth_is_that_of_the_definition_pair_by_pair():
    rng = np.random.default_rng(1)
    mine, control = rng.random(200) < 0.1, rng.random(200) < 0.05
    made = parts(0.02, 0.08, 0.05)
    for one, other in zip(mine, control, strict=True):
        made.fold(np.array((one and not other, other and not one, one == other), float))
    z = mine.astype(float) - control
    against = WEIGHTS @ np.prod(1 + np.outer(STAKES / 1.02, z - 0.02), axis=1)
    passing = WEIGHTS @ np.prod(1 + np.outer(STAKES / 0.92, 0.08 - z), axis=1)
    assert np.exp(made.against.wealth()) == pytest.approx(0.4 * against + 0.6)
    assert np.exp(made.passing.wealth()) == pytest.approx(passing)


@pytest.mark.parametrize("control", [0.0, 0.02, 0.3])
def test_the_allowed_part_is_not_an_alarm_however_often_stable_differs_from_itself(control):
    rng = np.random.default_rng(2)
    runs, found = 300, 0
    for _ in range(runs):
        made = parts(0.02, None, 0.05)
        for _ in range(20):
            compare(made, rng, 100, control + 0.02, control)
        found += made.against.settled
    assert found / runs <= 0.05


@pytest.mark.parametrize("control", [0.0, 0.2])
def test_a_part_at_the_target_passes_less_often_than_allowed(control):
    rng = np.random.default_rng(3)
    runs, found = 300, 0
    for _ in range(runs):
        made = parts(0.9, 0.02, 0.05)
        for _ in range(20):
            compare(made, rng, 100, control + 0.02, control)
        found += made.passing.settled
    assert found / runs <= 0.05


def test_three_percent_other_answers_are_found_within_nine_hundred_pairs():
    """Half of the time at the risk that this guard has in a rollout."""
    rng = np.random.default_rng(4)
    taken = []
    for _ in range(60):
        made, pairs = parts(0.01, None, 0.01 * 0.15), 0
        while not made.against.settled:
            compare(made, rng, 25, 0.03)
            pairs += 25
        taken.append(pairs)
    assert np.median(taken) <= 900


def test_answers_that_never_differ_pass_after_some_hundred_pairs():
    made = parts(0.01, 0.01, 0.01)
    needs = made.needs()
    pairs = 0
    while not made.passing.settled:
        made.fold(np.array((0.0, 0.0, 10.0)))
        pairs += 10
    assert 300 <= pairs <= 430
    assert needs == pytest.approx(pairs, rel=0.15)


def test_interval_holds_the_part():
    made = parts(0.9, None, 0.01)
    compare(made, np.random.default_rng(5), 5000, 0.07, 0.03)
    low, high = made.interval()
    assert 0.02 < low < 0.04 < high < 0.06
    assert made.effect() == pytest.approx(0.04, abs=0.01)


# -- distributions ------------------------------------------------------------------------------------


def answer(made, rng, count, odds, shares, mine=None):
    candidate = rng.random(count) < odds
    bins = rng.choice(len(shares), count, p=shares)
    if mine is not None:
        bins = np.where(candidate, rng.choice(len(shares), count, p=mine), bins)
    made.fold(bins, candidate, np.full(count, odds), None)


SHARES = np.array((0.5, 0.3, 0.15, 0.04, 0.01))


def test_the_same_distribution_alarms_less_often_than_promised():
    """While it drifts in both arms alike, and the share of the candidate grows."""
    rng = np.random.default_rng(6)
    runs, found = 80, 0
    for _ in range(runs):
        made = outputs(1.0, 0.05)
        for odds in (0.05, 0.3):
            for drift in (0.0, 0.5):
                for _ in range(3):
                    answer(made, rng, 300, odds, (1 - drift) * SHARES + drift * SHARES[::-1])
            made.begin(None, 1, alone=False)
        found += made.against.settled
    assert found / runs <= 0.05


@pytest.mark.parametrize("mine", [(0.9, 0.05, 0.03, 0.01, 0.01), (0.4, 0.2, 0.15, 0.2, 0.05)])
def test_a_shift_is_found_in_either_direction(mine):
    rng = np.random.default_rng(7)
    made = outputs(1.5, 0.001)
    for _ in range(30):
        answer(made, rng, 300, 0.2, SHARES, mine)
    assert made.against.settled
    assert made.effect() == pytest.approx(np.abs(SHARES - mine).sum() / 2, abs=0.05)


def test_classes_beyond_all_bins_share_them():
    made = outputs(1.5, 0.01)
    made.fold(np.array((10**6, -1)), np.array((True, False)), np.full(2, 0.5), None)
    assert made.counts.sum() == 2
