"""The classical policies as tables of numbers, and what every policy must keep to."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.core.ports import BatchPolicy, Line, Take, Wait
from penstock.core.spec import Batching
from penstock.scheduling.policy import LARGEST, POLICIES, Aimd, Fixed, Single, expired, fit, make


@dataclass
class Job:
    rows: int = 1
    arrived: float = 0.0
    deadline: float = 1e9


def line(*jobs: Job, now: float = 0.0) -> Line:
    return Line(now, jobs, sum(job.rows for job in jobs))


def jobs(*rows: int, arrived: float = 0.0) -> list[Job]:
    return [Job(count, arrived) for count in rows]


def test_make_finds_every_policy_by_name() -> None:
    kinds = [type(make(Batching(policy=name), 0.1)).__name__ for name in POLICIES]
    assert kinds == ["Single", "Fixed", "Aimd", "Slo"]


def test_make_takes_a_users_own_class() -> None:
    policy = make(Batching(policy="penstock.scheduling.policy:Single"), inf)
    assert Take(1) == policy.decide(line(Job()))


def test_make_names_the_nearest_policy() -> None:
    with pytest.raises(BadSetting, match="did you mean 'aimd'"):
        make(Batching(policy="aimb"), inf)


@pytest.mark.parametrize(
    ("rows", "limit", "start", "count"),
    [
        ([1, 1, 1], 2, 0, 2),
        ([1, 1, 1], 8, 0, 3),
        ([1, 1, 1], 8, 1, 2),
        ([3, 3, 3], 8, 0, 2),
        ([9, 1], 8, 0, 1),  # larger than the limit: alone
        ([4, 9, 1], 8, 0, 1),  # order is kept: nobody overtakes
    ],
)
def test_fit_fills_a_batch_in_order(rows: list[int], limit: int, start: int, count: int) -> None:
    assert count == fit(jobs(*rows), limit, start)


def test_expired_counts_heads_past_their_deadline() -> None:
    waiting = [Job(deadline=1.0), Job(deadline=2.0), Job(deadline=1.0)]
    assert [expired(waiting, now) for now in (1.0, 1.5, 2.5)] == [0, 1, 3]


def test_none_takes_one_request() -> None:
    assert Take(1) == Single(Batching(), inf).decide(line(*jobs(1, 1, 1)))


@pytest.mark.parametrize(
    ("waiting", "now", "decision"),
    [
        (3, 0.0, Wait(0.01)),
        (3, 0.01, Take(3)),
        (4, 0.0, Take(4)),
        (7, 0.0, Take(4)),
        (8, 0.0, Take(8)),
        (20, 0.0, Take(8)),
        (7, 0.02, Take(4)),
    ],
)
def test_fixed_runs_the_largest_preferred_size_or_waits(waiting: int, now: float, decision: Take) -> None:
    policy = Fixed(Batching(preferred=(4, 8), max_delay_ms=10), inf)
    assert decision == policy.decide(line(*jobs(*[1] * waiting), now=now))


def test_fixed_without_delay_takes_what_is_there() -> None:
    policy = Fixed(Batching(), inf)
    assert (LARGEST, Take(5), Take(64)) == (
        policy.cap,
        policy.decide(line(*jobs(*[1] * 5))),
        policy.decide(line(*jobs(*[1] * 100))),
    )


def test_fixed_waits_for_the_oldest_that_is_not_given_up() -> None:
    policy = Fixed(Batching(max_delay_ms=10), inf)
    late, fresh = Job(arrived=0.0, deadline=0.5), Job(arrived=0.995)
    assert Take(0, skip=1) == policy.decide(line(late, fresh, now=1.0))
    assert Wait(0.995 + 0.01) == policy.decide(line(fresh, now=1.0))


def test_aimd_grows_by_two_and_falls_by_a_tenth() -> None:
    policy = Aimd(Batching(max_rows=8), target=0.1)
    sizes = [policy.cap]
    for seconds in (0.01, 0.01, 0.01, 0.01, 0.01, 0.2, 0.2, 0.01):
        policy.learn(policy.cap, seconds)
        sizes.append(policy.cap)
    assert sizes == [1, 3, 5, 7, 8, 8, 7, 6, 8]


def test_aimd_does_not_grow_by_batches_that_were_not_full() -> None:
    policy = Aimd(Batching(), target=0.1)
    policy.learn(1, 0.01)
    policy.learn(1, 0.01)
    assert policy.cap == 3


requests = st.builds(
    Job,
    rows=st.integers(0, 40),
    arrived=st.floats(0, 10),
    deadline=st.one_of(st.floats(0, 20), st.just(1e9)),
)
runs = st.lists(st.tuples(st.integers(1, 70), st.floats(1e-6, 1.0)), max_size=40)
targets = st.sampled_from([0.01, 1.0, 5.0, inf])


def trained(name: str, target: float, largest: int, learned: list[tuple[int, float]]) -> BatchPolicy:
    policy = make(Batching(policy=name, max_rows=largest), target)
    for rows, seconds in learned:
        policy.learn(rows, seconds)
    return policy


@pytest.mark.parametrize("name", POLICIES)
@given(
    waiting=st.lists(requests, min_size=1, max_size=60),
    learned=runs,
    target=targets,
    largest=st.integers(1, 64),
    others=st.integers(0, 3),
)
def test_a_decision_is_possible_and_bounded(
    name: str, waiting: list[Job], learned: list[tuple[int, float]], target: float, largest: int, others: int
) -> None:
    """Skip and count stay inside the line; a batch stays under ``max_rows`` unless it is one request."""
    policy = trained(name, target, largest, learned)
    rows = sum(job.rows for job in waiting)
    for _ in range(20):
        decision = policy.decide(Line(10.0, waiting, rows + others))
        if isinstance(decision, Wait):
            assert name == "fixed"
            assert decision.until > 10.0
            continue
        assert 0 < decision.skip + decision.count <= len(waiting)
        assert min(decision.skip, decision.count) >= 0
        batch = waiting[decision.skip : decision.skip + decision.count]
        assert len(batch) <= 1 or sum(job.rows for job in batch) <= largest
        assert 1 <= policy.cap <= largest


@pytest.mark.parametrize("name", POLICIES)
@given(waiting=st.lists(requests, min_size=1, max_size=60), learned=runs)
def test_without_a_target_only_what_is_late_is_given_up(
    name: str, waiting: list[Job], learned: list[tuple[int, float]]
) -> None:
    policy = trained(name, inf, 64, learned)
    for _ in range(20):
        decision = policy.decide(Line(10.0, waiting, sum(job.rows for job in waiting)))
        if isinstance(decision, Take):
            assert [job for job in waiting[: decision.skip] if job.deadline >= 10.0] == []
