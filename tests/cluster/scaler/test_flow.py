"""Requests of each second, from counters of replicas that come, go, and begin anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cluster.scaler.flow import Flow, Look, settled
from tests.cluster.scaler.replica import T0, point


def look(now, silent=(), demand=None, every=1.0, **points):
    given = {name: each if isinstance(each, list) else [each] for name, each in points.items()}
    return Look(now=T0 + now, every_s=every, points=given, silent=frozenset(silent), demand=demand)


def counted(flow, until):
    return {int(second - T0): count for second, count in flow.finished(T0 + until)}


def total(*looks, until=1e6):
    flow = Flow()
    for each in looks:
        flow.take(each)
    return sum(counted(flow, until).values())


def test_what_was_asked_before_is_not_counted():
    assert total(look(0, a=point(0, 5000))) == 0


def test_requests_belong_to_the_seconds_between_two_looks():
    flow = Flow()
    flow.take(look(0, a=point(0, 100)))
    flow.take(look(2.5, a=point(2.5, 150)))
    assert counted(flow, 3) == pytest.approx({0: 20, 1: 20, 2: 10})


def test_a_second_is_given_out_once_it_has_ended():
    flow = Flow()
    flow.take(look(0, a=point(0, 0)))
    flow.take(look(1.5, a=point(1.5, 15)))
    assert counted(flow, 1.5) == pytest.approx({0: 10})
    flow.take(look(2.0, a=point(2.0, 20)))
    assert counted(flow, 2.0) == pytest.approx({1: 10})
    assert counted(flow, 2.0) == {}


def test_replicas_add_up():
    both = total(look(0, a=point(0, 7), b=point(0, 9)), look(1, a=point(1, 17), b=point(1, 29)))
    assert both == pytest.approx(30)


def test_a_process_that_began_anew_counts_from_nought():
    again = point(2, 8, started=T0 + 1)
    assert total(look(0, a=point(0, 100)), look(2, a=again)) == pytest.approx(8)


def test_a_counter_that_fell_began_anew():
    assert total(look(0, a=point(0, 100)), look(1, a=point(1, 30))) == pytest.approx(30)


def test_a_version_that_is_forgotten_is_no_reset_of_the_others():
    before = point(0).__class__(at=T0, asked={"1|ok|": 900.0, "2|ok|": 50.0}, started=1.0)
    after = point(0).__class__(at=T0 + 1, asked={"2|ok|": 60.0}, started=1.0)
    assert total(look(0, a=before), look(1, a=after)) == pytest.approx(10)


def test_a_new_replica_counts_from_its_start():
    new = point(5, 40, started=T0 + 2)
    assert total(look(0, a=point(0)), look(5, a=point(5), b=new)) == pytest.approx(40)


def test_one_that_ran_before_it_was_seen_first_is_only_a_beginning():
    old = point(5, 40_000)
    assert total(look(0, a=point(0)), look(5, a=point(5), b=old)) == 0


def test_one_that_was_silent_is_counted_over_the_gap_as_far_as_that_is_not_past():
    flow = Flow()
    flow.take(look(0, a=point(0, 0)))
    for second in range(1, 10):
        flow.take(look(second, silent=["a"]))
        flow.finished(T0 + second)
    flow.take(look(10, a=point(10, 100)))
    assert counted(flow, 11) == pytest.approx({7: 10, 8: 10, 9: 10})


def test_points_that_were_seen_already_count_once():
    points = [point(0, 0), point(5, 50)]
    assert total(look(6, a=points), look(7, a=points), look(11, a=[*points, point(10, 80)])) == pytest.approx(
        80
    )


def test_where_demand_is_counted_before_the_replicas_theirs_is_not():
    assert total(look(0, a=point(0, 0), demand=3.0), look(2, a=point(2, 500), demand=4.0)) == pytest.approx(8)


def test_what_history_has_is_not_counted_again():
    flow = Flow()
    flow.begin = int(T0) + 30
    flow.take(look(60, every=15, a=[point(at, at * 10.0) for at in range(0, 61, 15)]))
    assert sum(counted(flow, 60).values()) == pytest.approx(300)


def test_outcomes_are_of_the_time_since_they_were_asked():
    flow = Flow()
    flow.take(look(0, a=point(0, 100, missed={"1": 5.0})))
    flow.take(look(1, a=point(1, 150, missed={"1": 8.0})))
    assert flow.outcomes() == (3.0, 50.0)
    assert flow.outcomes() == (0.0, 0.0)


def test_everything_is_counted_until_the_replica_furthest_behind():
    assert settled(look(20, every=5, a=point(18), b=point(15))) == T0 + 15
    assert settled(look(20, every=5, a=point(18), gone=point(3))) == T0 + 18
    assert settled(look(20)) == T0 + 20


@given(st.lists(st.tuples(st.floats(0.05, 4), st.floats(0, 1e4), st.floats(0, 1e4)), min_size=1, max_size=30))
def test_no_request_is_lost_or_counted_twice(steps):
    flow, now, sums, out = Flow(), 0.0, [0.0, 0.0], 0.0
    flow.take(look(0, a=point(0, 0), b=point(0, 0)))
    for wait, first, second in steps:
        now += wait
        sums = [sums[0] + first, sums[1] + second]
        flow.take(look(now, a=point(now, sums[0]), b=point(now, sums[1])))
        out += sum(counted(flow, now).values())
    out += sum(counted(flow, now + 2).values())
    assert out == pytest.approx(sum(sums), rel=1e-6, abs=1e-6)
