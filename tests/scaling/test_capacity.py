"""What one instance carries, against an event simulation of one."""

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.scaling import staffing
from penstock.scaling.capacity import Capacity, Happened, capacity, corrected
from penstock.scheduling.profile import SPREAD

MODELS = {
    "overhead": [0.0, *(4e-3 + 0.15e-3 * b for b in range(1, 65))],
    "linear": [0.0, *(2e-3 * b for b in range(1, 65))],
    "half and half": [0.0, *(5e-3 + 1e-3 * b for b in range(1, 65))],
    "sublinear": [0.0, *(4e-3 * b**0.7 for b in range(1, 65))],
    "single": [0.0, 0.02],
}


def late(
    seconds: list[float], spread: tuple[float, ...], rate: float, target_s: float, count: int = 20_000
) -> float:
    """Share over the target: one instance takes what is there, up to the largest batch, and never waits."""
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(1 / rate, count)).tolist()
    noise = cycle(rng.permutation(np.repeat(spread, 50)).tolist())
    largest, now, head, over = len(seconds) - 1, 0.0, 0, 0
    while head < count:
        now = max(now, arrivals[head])
        end = head
        while end < count and end - head < largest and arrivals[end] <= now:
            end += 1
        now += seconds[end - head] * next(noise)
        over += sum(now - arrivals[i] > target_s for i in range(head, end))
        head = end
    return over / count


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target_s", [0.05, 0.2])
def test_an_instance_holds_its_target_at_the_rate_it_is_said_to_carry_and_not_at_much_more(name, target_s):
    found = capacity(MODELS[name], SPREAD, target_s)
    if name == "single" and target_s < 0.1:
        assert found.alone < 30
    run = MODELS[name][: found.rows + 1]  # a policy takes no more at once than pays
    assert late(run, SPREAD, found.alone, target_s) <= 0.015
    assert late(run, SPREAD, 2.5 * found.alone, target_s) > 0.01


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-4, 0.05), st.floats(0, 0.02), st.floats(0.01, 2.0), st.integers(1, 64), st.floats(1.0, 1.5)
)
def test_more_patience_never_carries_less_and_no_rate_is_over_what_is_worked_off(
    fixed, each, target_s, most, up
):
    seconds = [0.0, *(fixed + each * b for b in range(1, most + 1))]
    found, more = (capacity(seconds, SPREAD, wait) for wait in (target_s, target_s * up))
    assert 0 <= found.alone <= found.carries
    assert more.alone >= found.alone - 1e-9
    assert 0 <= found.wait_s <= target_s


def test_a_target_under_the_run_time_carries_nothing():
    assert capacity([0.0, 0.1], SPREAD, 0.05).alone == 0.0


def test_requests_of_several_rows_are_carried_accordingly_fewer():
    one, four = (capacity(MODELS["linear"], SPREAD, 0.2, rows=rows) for rows in (1, 4))
    assert four.carries == pytest.approx(one.carries / 4)


def test_without_run_times_it_is_said_what_is_missing():
    with pytest.raises(ValueError, match="no run time is known"):
        capacity([0.0, 0.0], SPREAD, 0.2)


# -- what really happened -------------------------------------------------------------------------

KNOWN = Capacity(rows=8, run_s=0.02, carries=100.0, wait_s=0.2, alone=60.0)


def happened(truth: float, rate: float, asked: float = 10_000.0) -> Happened:
    """So many misses as instances of a true capacity have."""
    share = staffing.late(rate, 4 * truth, 2.0, 0.2)
    return Happened(4, rate, 2.0, asked, asked * share)


@pytest.mark.parametrize("truth", [70.0, 85.0, 100.0, 110.0])
def test_the_correction_finds_the_true_capacity(truth):
    found = KNOWN
    for _ in range(40):
        found = corrected(found, happened(truth, rate=0.93 * 4 * truth))
    assert found.carries == pytest.approx(truth, rel=0.03)
    assert found.alone / found.carries == pytest.approx(KNOWN.alone / KNOWN.carries)


def test_nothing_is_learned_where_nobody_missed_and_nobody_should_have():
    assert corrected(KNOWN, Happened(4, 50.0, 1.0, 1000.0, 0.0)) == KNOWN


@given(st.integers(0, 9), st.floats(0, 1e4), st.floats(0.8, 60), st.floats(0, 1e6), st.floats(0, 1))
def test_a_correction_stays_within_its_bounds(instances, rate, burst, asked, share):
    found = KNOWN
    for _ in range(5):
        found = corrected(found, Happened(instances, rate, burst, asked, asked * share))
        assert 0.4 - 1e-9 <= found.factor <= 1.25 + 1e-9
        assert found.carries == pytest.approx(KNOWN.carries * found.factor)
