"""The default policy: its rules as tables, and the traps that leave a learning policy stuck."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contest import MAKERS, Cell, Told, recovery
from benchmarks.simulate import TUNED, Model, poisson, serve, sweep
from penstock.core.ports import Line, Take
from penstock.core.spec import Batching
from penstock.scheduling.slo import Slo


@dataclass
class Job:
    rows: int = 1
    arrived: float = 0.0
    deadline: float = 1e9


A, B, C, D, E = TUNED[:5]
AFFINE = {b: 4e-3 + 0.15e-3 * b for b in range(1, 65)}
LINEAR = {b: 2e-3 * b for b in range(1, 65)}
HUMP = {1: 3.6e-3, 2: 6.4e-3, 4: 11.8e-3, 8: 22.5e-3, 16: 50e-3, 32: 114e-3, 64: 240e-3}


def swept(cost: dict[int, float], target: float = inf, runs: int = 70) -> Slo:
    """Every power of two known for sure, so that nothing is left to try."""
    policy = Slo(Batching(), target)
    for rows in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(runs):
            policy.learn(rows, cost[rows])
    return policy


def decided(policy: Slo, waiting: list[Job], now: float = 0.0) -> Take:
    decision = policy.decide(Line(now, waiting, sum(job.rows for job in waiting)))
    assert isinstance(decision, Take)
    return decision


@pytest.mark.parametrize(
    ("cost", "target", "cap"),
    [
        (AFFINE, inf, 64),
        (AFFINE, 0.01, 32),  # 64 rows would take 13.6 ms
        (AFFINE, 0.001, 1),  # not even one row can be met: nothing larger makes it better
        (LINEAR, inf, 1),
        (HUMP, inf, 6),  # within 2 % of the row in 8
        (HUMP, 0.015, 4),
    ],
)
def test_cap_is_the_smallest_size_whose_row_costs_least(
    cost: dict[int, float], target: float, cap: int
) -> None:
    assert cap == swept(cost, target).cap


def test_cap_without_a_target_keeps_a_batch_under_twenty_runs_of_one() -> None:
    """Each row costs less in a larger batch, but 64 would take 32 times one row's time."""
    cost = {b: 0.1 * b**0.8 for b in range(1, 65)}
    policy = swept(cost)
    assert policy.cap == 32
    assert policy.profile.seconds[policy.cap] <= 20 * policy.profile.seconds[1]


@pytest.mark.parametrize(
    ("cost", "waiting", "count"),
    [(AFFINE, 1, 1), (AFFINE, 5, 5), (AFFINE, 100, 64), (LINEAR, 5, 1), (HUMP, 3, 3), (HUMP, 30, 6)],
)
def test_takes_what_is_there_up_to_the_cap(cost: dict[int, float], waiting: int, count: int) -> None:
    assert Take(count) == decided(swept(cost), [Job() for _ in range(waiting)])


def test_padded_sizes_are_not_overrun_by_a_row() -> None:
    """Nine rows would cost as much as sixteen, so eight run."""
    policy = Slo(Batching(), inf)
    for rows in range(1, 33):
        for _ in range(70):
            policy.learn(rows, 2e-3 + 0.4e-3 * next(size for size in (1, 8, 16, 32) if size >= rows))
    assert Take(8) == decided(policy, [Job() for _ in range(9)])


def test_rows_are_counted_not_requests() -> None:
    waiting = [Job(rows=30), Job(rows=30), Job(rows=30)]
    assert Take(2) == decided(swept(AFFINE), waiting)
    assert Take(1) == decided(swept(AFFINE), [Job(rows=500), Job()])


def test_rows_of_other_lines_are_no_requests_of_this_one() -> None:
    assert Take(2) == swept(AFFINE).decide(Line(0.0, [Job(), Job()], 40))


def test_a_head_without_time_for_a_full_batch_gets_a_smaller_one() -> None:
    """Head has 6 ms, the two others 50: all in time in a batch of three, which takes 4.45 ms."""
    waiting = [Job(deadline=0.006), Job(deadline=0.05), Job(deadline=0.05)]
    assert Take(3) == decided(swept(AFFINE, 0.05), waiting)


def test_heads_that_cannot_be_met_are_given_up() -> None:
    waiting = [Job(deadline=0.003), Job(deadline=0.003), Job(deadline=0.05)]
    assert Take(1, skip=2) == decided(swept(AFFINE, 0.05), waiting)


def test_under_backlog_heads_are_given_up_for_a_full_batch() -> None:
    """100 rows that only a batch of one could still meet would hold up 200 that a full one can."""
    old, fresh = [Job(deadline=0.0045)] * 50, [Job(deadline=0.04)] * 200
    decision = decided(swept(AFFINE, 0.05), old + fresh)
    assert (decision.skip, decision.count) == (50, 64)


def test_the_newest_is_kept_when_all_are_late() -> None:
    """Else, with run times learned too high, nothing would ever run again to learn better."""
    waiting = [Job(deadline=0.001)] * 5
    assert Take(1, skip=4) == decided(swept(AFFINE, 0.05), waiting)


def test_a_window_of_late_requests_is_given_up_whole_when_more_wait_behind() -> None:
    waiting = [Job(deadline=0.001)] * 5
    assert Take(0, skip=5) == swept(AFFINE, 0.05).decide(Line(0.0, waiting, 900))


def test_without_a_target_what_is_late_is_only_what_is_past() -> None:
    waiting = [Job(deadline=0.9), Job(deadline=1.001), Job()]
    assert Take(2, skip=1) == decided(swept(AFFINE), waiting, now=1.0)


@pytest.mark.parametrize(
    ("line_rows", "deadline", "admitted"),
    [
        (10, 0.05, True),
        (10, 0.002, False),  # one row takes 4.15 ms
        (0, 0.002, True),  # nobody waits: it may run, and teach
        (900, 0.006, True),  # a long line may yet be given up before it
    ],
)
def test_the_door_refuses_only_the_certain(line_rows: int, deadline: float, admitted: bool) -> None:
    assert admitted == swept(AFFINE, 0.05).admits(line_rows, Job(deadline=deadline), 0.0)


def test_a_policy_that_knows_nothing_admits_and_runs_one() -> None:
    policy = Slo(Batching(), 0.05)
    assert policy.admits(50, Job(deadline=0.0), 0.0)
    assert Take(1) == decided(policy, [Job(deadline=0.05)] * 9)


def test_each_power_of_two_is_tried_three_times_without_a_sweep() -> None:
    policy = Slo(Batching(), inf)
    ran: list[int] = []
    for _ in range(25):
        rows = decided(policy, [Job()] * 64).count
        ran.append(rows)
        policy.learn(rows, AFFINE[rows])
    assert [ran.count(size) for size in (1, 2, 4, 8, 16, 32)] == [3] * 6
    assert policy.cap == 64


jobs = st.builds(Job, rows=st.integers(1, 20), deadline=st.floats(0, 1))


@given(
    waiting=st.lists(jobs, min_size=1, max_size=40),
    runs=st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 0.5)), max_size=60),
    target=st.sampled_from([0.01, 0.3, inf]),
)
def test_never_waits(waiting: list[Job], runs: list[tuple[int, float]], target: float) -> None:
    policy = Slo(Batching(), target)
    for rows, seconds in runs:
        policy.learn(rows, seconds)
    for _ in range(10):
        assert isinstance(policy.decide(Line(0.5, waiting, sum(job.rows for job in waiting))), Take)


# -- traps, each of which left a learning policy stuck at small batches in simulation -------------


def goodput(
    model: Model, times: float, load: float, first: list[tuple[int, float]], count: int = 6000
) -> float:
    """In shares of capacity, of a policy that got no sweep but learned ``first``."""
    target = times * model.one
    policy = Slo(Batching(), target)
    for rows, seconds in first:
        policy.learn(rows, seconds)
    arrivals = (poisson(count, 5) / (load * model.capacity)).tolist()
    return serve(policy, model, arrivals, target, 5).goodput / model.capacity


@pytest.mark.parametrize("model", TUNED[:5], ids=lambda model: model.name[0])
def test_trap_a_cold_start_under_overload_finds_its_batch_size(model: Model) -> None:
    """Old heads must not make batches small, which makes heads older."""
    assert goodput(model, 20, 1.5, []) > 0.7


@pytest.mark.parametrize("stalled", [1, 2, 16, 64])
def test_trap_a_stalled_first_run_bars_no_size(stalled: int) -> None:
    """One run of a size took a hundred times the target."""
    assert goodput(C, 20, 1.5, [(stalled, 100 * 20 * C.one)]) > 0.7


def test_trap_run_times_learned_far_too_high_do_not_stop_service() -> None:
    """Every estimate is over the target, so that each request looks lost before it came."""
    high = [(rows, 40 * C.one) for rows in (1, 2, 4, 8, 16, 32, 64) for _ in range(20)]
    assert goodput(C, 20, 0.5, high) > 0.4


def test_trap_a_door_that_refuses_by_small_batches_keeps_them_small() -> None:
    """Tight target, padded sizes, and only single rows known so far."""
    told = Cell(E, "poisson", poisson(6000, 5), 5 * E.one, 5).goodput(Told, 1.5)
    assert goodput(E, 5, 1.5, [(1, E.one)] * 50) > 0.8 * told


def test_trap_exploration_is_not_barred_by_old_heads() -> None:
    """Sizes beyond the head's slack are tried, though the line never gets short."""
    target = 5 * E.one
    policy = Slo(Batching(), target)
    serve(policy, E, (poisson(3000, 6) / (3 * E.capacity)).tolist(), target, 6)
    assert all(policy.profile.count[size] >= 3 for size in (1, 2, 4, 8, 16))


# -- what simulation must show --------------------------------------------------------------------


@pytest.mark.parametrize("model", [B, C, E], ids=lambda model: model.name[0])
def test_overload_gets_most_of_what_known_run_times_get(model: Model) -> None:
    cell = Cell(model, "poisson", poisson(8000, 7), 20 * model.one, 7)
    ours, told, heavy = (
        cell.goodput(MAKERS["slo"], 1.5),
        cell.goodput(Told, 1.5),
        cell.goodput(MAKERS["slo"], 3.0),
    )
    assert ours >= 0.9 * told
    assert heavy >= 0.8 * ours


@pytest.mark.parametrize("model", [C, D], ids=lambda model: model.name[0])
def test_doubled_run_times_are_learned_within_a_hundred_runs(model: Model) -> None:
    cell = Cell(model, "poisson", poisson(8000, 8), 20 * model.one, 8)
    assert recovery(cell, MAKERS["slo"], 0.9) <= 100


def test_low_load_is_served_as_fast_as_one_by_one() -> None:
    load = 0.1 / C.one / C.capacity
    cell = Cell(C, "poisson", poisson(4000, 9), 20 * C.one, 9)
    ours, none = cell.run(MAKERS["slo"], load), cell.run(MAKERS["none"], load)
    assert ours.percentile(50) <= 1.02 * none.percentile(50)
    assert ours.percentile(99) <= 1.05 * none.percentile(99)


def test_a_sweep_leaves_nothing_to_force() -> None:
    policy = Slo(Batching(), 20 * C.one)
    sweep(policy, C, 1)
    assert Take(1) == decided(policy, [Job()])
    assert policy.cap >= 32
