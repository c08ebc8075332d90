"""What is learned of run times, as tables of numbers."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.scheduling.profile import Profile, grid, isotonic


def learned(runs: dict[int, float], largest: int = 64, times: int = 3) -> Profile:
    profile = Profile(largest)
    for rows, seconds in runs.items():
        for _ in range(times):
            profile.learn(rows, seconds)
    return profile


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (5, (1, 2, 3, 4, 5)),
        (64, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)),
        (100, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 100)),
    ],
)
def test_grid_is_coarse_and_ends_at_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    assert sizes == grid(largest)


@pytest.mark.parametrize(
    ("means", "weights", "fitted"),
    [
        ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [1.0, 2.5, 2.5]),
        ([1.0, 3.0, 2.0], [1.0, 3.0, 1.0], [1.0, 2.75, 2.75]),
        ([3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]),
    ],
)
def test_isotonic_pools_what_falls(means: list[float], weights: list[float], fitted: list[float]) -> None:
    assert fitted == pytest.approx(isotonic(means, weights))


def test_unknown_sizes_lie_on_lines_between_known_ones() -> None:
    profile = learned({1: 1.0, 4: 4.0, 8: 6.0})
    assert pytest.approx(profile.seconds[1:9]) == [1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0]


def test_sizes_beyond_the_largest_known_go_on_at_the_last_slope() -> None:
    profile = learned({1: 1.0, 4: 4.0, 8: 6.0})
    assert pytest.approx(profile.seconds[16]) == 6.0 + 8 * 0.5


def test_one_known_size_counts_half_as_overhead() -> None:
    assert pytest.approx([learned({2: 1.5}).seconds[b] for b in (1, 2, 3, 4)]) == [1.125, 1.5, 1.875, 2.25]


def test_one_stalled_run_in_three_moves_an_estimate_little() -> None:
    profile = Profile(8)
    for seconds in (50.0, 1.0, 1.0):
        profile.learn(1, seconds)
    assert profile.seconds[1] == pytest.approx((1.0 + 1.0 + 1.5) / 3)


def test_rare_stalls_move_an_estimate_little() -> None:
    profile = Profile(8)
    for run in range(1000):
        profile.learn(4, 30.0 if run % 100 == 50 else 1.0)
    assert profile.seconds[4] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("factor", [2.0, 0.5, 10.0])
def test_a_change_of_one_size_rescales_all(factor: float) -> None:
    profile = learned({1: 1.0, 2: 1.5, 4: 2.5, 8: 4.5}, times=20)
    for _ in range(20):
        profile.learn(4, 2.5 * factor)
    assert [1.0 * factor, 4.5 * factor] == pytest.approx([profile.seconds[1], profile.seconds[8]], rel=0.1)


def test_noise_rescales_nothing() -> None:
    """Estimates of other sizes stay put while one size runs with a standard deviation of 20 %."""
    rng = random.Random(1)
    profile = learned({1: 1.0, 2: 1.5, 4: 2.5, 8: 4.5}, times=20)
    for _ in range(3000):
        profile.learn(4, 2.5 * rng.lognormvariate(-0.02, 0.2))
    assert pytest.approx((profile.seconds[1], profile.seconds[8]), rel=0.02) == (1.0, 4.5)
    assert profile.seconds[4] == pytest.approx(2.5, rel=0.05)


def test_spread_holds_the_quantiles_of_runs_over_estimates() -> None:
    rng = random.Random(2)
    profile = Profile(4)
    for _ in range(500):
        profile.learn(1, rng.uniform(0.8, 1.2))
    assert pytest.approx((profile.spread[0], profile.spread[7]), abs=0.06) == (0.825, 1.175)
    assert profile.slow == pytest.approx(1.1, abs=0.06)


@pytest.mark.parametrize(("rows", "seconds"), [(0, 1.0), (65, 1.0), (1, 0.0), (1, -1.0)])
def test_runs_that_say_nothing_are_left_out(rows: int, seconds: float) -> None:
    profile = Profile(64)
    assert (profile.learn(rows, seconds), profile.known) == (False, 0)


@given(
    runs=st.lists(st.tuples(st.integers(1, 70), st.floats(1e-7, 100.0)), min_size=1, max_size=80),
    largest=st.integers(1, 70),
)
def test_estimates_never_fall_with_size(runs: list[tuple[int, float]], largest: int) -> None:
    profile = Profile(largest)
    for rows, seconds in runs:
        profile.learn(rows, seconds)
    seconds = profile.seconds[1:]
    assert all(low <= high * (1 + 1e-9) for low, high in pairwise(seconds))
    assert all(second > 0 for second in seconds) == (profile.known > 0)


def swept(cost):
    profile = Profile(64)
    for rows in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(3):
            profile.learn(rows, cost(rows))
    return profile


def test_a_long_spell_of_single_rows_leaves_what_is_known_of_large_batches():
    """A fast model's runs jitter by more than any change of the machine would explain."""

    def cost(rows):
        return 5e-6 + 0.5e-6 * rows

    profile, rng = swept(cost), random.Random(3)
    for _ in range(20_000):
        profile.learn(1, 1.5 * cost(1) * rng.lognormvariate(0, 0.5))
    assert profile.seconds[32] == pytest.approx(cost(32), rel=0.5)


def test_bursts_that_come_and_go_leave_no_error_in_sizes_that_do_not_run():
    """Each burst is long enough to be taken for a change, and so is its end."""

    def cost(rows):
        return 3e-3 + 0.3e-3 * rows

    profile = swept(cost)
    for _ in range(200):
        for slow in (1.8, 1.0):
            for _ in range(6):
                profile.learn(1, slow * cost(1))
    for _ in range(20):
        profile.learn(1, cost(1))
    ratio = profile.seconds[32] / profile.seconds[1]
    assert ratio == pytest.approx(cost(32) / cost(1), rel=0.4)
