from itertools import pairwise
from math import comb, isclose, log

import numpy as np
import pytest

from penstock.optimize.bounds import (
    LEAST,
    Z,
    drop_of_proportions,
    paired_bootstrap,
    paired_ratio,
    rows_needed,
    unseen,
    upper_mean,
)
from penstock.optimize.metrics import auc, f1


def ones(rows):
    return np.ones((1, rows))


# -- ratios -------------------------------------------------------------------------------------------


def test_ratio_is_the_baselines_time_over_the_candidates():
    found = paired_ratio([4.0] * 10, [2.0] * 10)
    assert all(isclose(2.0, each) for each in (found.low, found.mid, found.high))


def test_ten_rounds_leave_one_out_at_each_end():
    found = paired_ratio([float(at) for at in range(1, 11)], [1.0] * 10)
    assert [round(each, 9) for each in (found.low, found.high)] == [2.0, 9.0]


def test_disturbed_rounds_do_not_widen_the_interval():
    found = paired_ratio([2.0] * 9 + [200.0], [1.0] * 10)
    assert isclose(2.0, found.low)
    assert isclose(2.0, found.high)


def test_few_rounds_give_students_interval():
    found = paired_ratio([2.0, 2.2, 1.9], [1.0, 1.0, 1.0])
    logs = [log(2.0), log(2.2), log(1.9)]
    half = 4.303 * np.std(logs, ddof=1) / 3**0.5
    assert isclose(np.exp(np.mean(logs) + half), found.high, rel_tol=1e-9)


def test_one_round_is_no_interval():
    with pytest.raises(ValueError, match="two rounds"):
        paired_ratio([1.0], [1.0])


@pytest.mark.parametrize("rounds", [6, 10, 15, 30])
def test_ratio_covers_under_heavy_tails(rounds):
    """Cauchy noise on one side and rare stalls on the other: nothing has a mean."""
    rng = np.random.default_rng(rounds)
    held, runs = 0, 800
    for _ in range(runs):
        noise = np.clip(0.02 * rng.standard_cauchy((2, rounds)), -3, 3)
        baseline = 2.0 * np.exp(noise[0])
        found = paired_ratio(baseline, np.exp(noise[1]))
        held += found.low <= 2.0 <= found.high
    assert held / runs >= 0.935


# -- shares -------------------------------------------------------------------------------------------


def test_nothing_lost_is_bounded_by_the_rows():
    drop, upper = drop_of_proportions(0, 0, 120)
    assert drop == 0.0
    assert isclose(0.05, (1 - upper) ** 120)


@pytest.mark.parametrize(("lost", "won", "n"), [(40, 20, 160), (7, 1, 200), (9, 3, 90)])
def test_bound_inverts_the_score_test_with_the_likeliest_shares(lost, won, n):
    """The closed form of the share that is won, against the likelihood's highest point on a fine grid."""
    _, upper = drop_of_proportions(lost, won, n)
    share = np.linspace(1e-7, (1 - upper) / 2 - 1e-7, 1_000_000)
    likelihood = (
        lost * np.log(share + upper) + won * np.log(share) + (n - lost - won) * np.log(1 - 2 * share - upper)
    )
    share = share[likelihood.argmax()]
    statistic = (lost - won - n * upper) / (n * (2 * share + upper - upper**2)) ** 0.5
    assert isclose(-Z, statistic, rel_tol=1e-4)


@pytest.mark.parametrize(("lost", "won"), [(0, 3), (5, 5), (20, 0), (300, 0)])
def test_bound_is_at_or_above_the_estimate(lost, won):
    drop, upper = drop_of_proportions(lost, won, 300)
    assert (lost - won) / 300 == drop <= upper <= 1.0


def exact_cover(n, lost, won):
    """The chance that the bound holds the true drop, summed over all outcomes that matter."""
    total = 0.0
    for b in range(60):
        for c in range(60 if won else 1):
            chance = comb(n, b) * comb(n - b, c) * lost**b * won**c * (1 - lost - won) ** (n - b - c)
            if chance > 1e-9 and drop_of_proportions(b, c, n)[1] >= lost - won:
                total += chance
    return total


@pytest.mark.parametrize("n", [200, 400])
@pytest.mark.parametrize("drop", [0.01, 0.014, 0.02, 0.03])
@pytest.mark.parametrize("won", [0.0, 0.005])
def test_bound_of_shares_covers_small_drops(n, drop, won):
    assert exact_cover(n, drop + won, won) >= 0.939


@pytest.mark.parametrize("n", [200, 268, 300, 600])
def test_where_no_row_differs_the_bound_holds_as_often_as_it_says(n):
    """A drop just above would be seen in 95 of 100 sets of rows."""
    assert (1 - drop_of_proportions(0, 0, n)[1]) ** n <= 0.05 + 1e-9


def test_rows_needed_are_just_enough():
    rows = rows_needed(0.01)
    assert (rows, rows_needed(0.001)) == (299, 2995)
    assert drop_of_proportions(0, 0, rows)[1] <= 0.01 < drop_of_proportions(0, 0, rows - 1)[1]


def test_more_drop_needs_more_rows():
    wanted = [rows_needed(0.02, drop) for drop in (0.0, 0.005, 0.01)]
    assert all(a < b for a, b in pairwise(wanted))
    lost = round(0.01 * wanted[2])
    assert drop_of_proportions(lost, 0, wanted[2])[1] <= 0.0201


# -- means --------------------------------------------------------------------------------------------

SKEWED = {
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(size=n), np.exp(0.5)),
    "pareto": (lambda rng, n: rng.pareto(3.0, n), 0.5),
    "rare": (lambda rng, n: rng.exponential(0.002, n) + 0.3 * (rng.random(n) < 0.02), 0.008),
}


@pytest.mark.parametrize("kind", SKEWED)
@pytest.mark.parametrize("rows", [200, 600])
def test_bound_of_a_mean_covers_skewed_losses(kind, rows):
    draw, mean = SKEWED[kind]
    rng = np.random.default_rng(0)
    held = [upper_mean(draw(rng, rows))[1] >= mean for _ in range(600)]
    assert np.mean(held) >= 0.93


def test_bound_of_a_mean_is_not_idle():
    losses = np.random.default_rng(0).exponential(size=1000)
    mean, upper = upper_mean(losses)
    assert mean < upper < 1.1 * mean


def test_no_loss_at_all_is_none():
    assert upper_mean(np.zeros(100)) == (0.0, 0.0)


def test_few_rows_may_hide_some_that_lose_everything():
    assert upper_mean(np.zeros(LEAST - 1))[1] == unseen(LEAST - 1)


# -- resampling ---------------------------------------------------------------------------------------


def labelled(rng, rows, spoiled):
    labels = rng.integers(0, 4, rows)
    told = np.where(rng.random(rows) < 0.1, (labels + 1) % 4, labels)
    return labels, told, np.where(rng.random(rows) < spoiled, (labels + 2) % 4, told)


def test_resampling_is_the_same_every_time():
    labels, ours, theirs = labelled(np.random.default_rng(0), 300, 0.02)
    first, again = (paired_bootstrap(f1, ours, theirs, labels, resamples=100) for _ in range(2))
    assert first == again


def test_answers_that_do_not_differ_are_bounded_by_the_rows():
    labels, ours, _ = labelled(np.random.default_rng(0), 300, 0.0)
    value = float(f1(ours, labels, ones(300))[0])
    assert paired_bootstrap(f1, ours, ours, labels, resamples=50) == (0.0, unseen(300) * value)


def test_resampled_bound_covers():
    rng = np.random.default_rng(1)
    labels, ours, theirs = labelled(rng, 400_000, 0.02)
    true = float((f1(ours, labels, ones(400_000)) - f1(theirs, labels, ones(400_000)))[0])
    held = []
    for _ in range(250):
        labels, ours, theirs = labelled(rng, 400, 0.02)
        held.append(paired_bootstrap(f1, ours, theirs, labels, resamples=200)[1] >= true)
    assert np.mean(held) >= 0.92


def test_resamples_without_a_class_do_not_count():
    labels = np.array([1] + [0] * 29)
    scores = np.linspace(1, 0, 30)
    drop, upper = paired_bootstrap(auc, scores, scores[::-1], labels, resamples=200)
    assert drop == 1.0
    assert np.isfinite(upper)


def test_a_metric_that_fails_on_resamples_or_is_endless_proves_nothing():
    """Its value on all rows says nothing of how it varies."""
    told, labels = np.ones(100), np.ones(100)

    def only_whole(told, labels, weights):
        return np.where((weights == 1).all(axis=1), told.mean(), np.nan)

    def endless(told, labels, weights):
        return np.full(len(weights), np.inf if told[0] else 0.0)

    assert paired_bootstrap(only_whole, told, told, labels)[1] == np.inf
    assert paired_bootstrap(endless, 0 * told, told, labels)[1] == np.inf
