"""Decisions on instances, by tables and a made-up clock."""

from math import isfinite
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.scaling import staffing
from penstock.scaling.bounds import clamp
from penstock.scaling.decide import Memory, decide, due, refit
from penstock.scaling.feedback import Feedback
from penstock.scaling.forecast.conformal import FIRST, TAUS
from penstock.scaling.series import DAY, Series
from penstock.scaling.types import Schedule, Seen, Terms
from penstock.serving.resizing import changes
from tests.scaling.stage import START, course, restored, seen, series, spread

MANY = Terms(most=1000)


def test_without_history_the_rate_now_counts_with_the_headroom_that_the_terms_state():
    first = course([100.0], Terms(most=100, headroom=1.5))[-1]
    assert (first.by, first.method) == ("reactive", "none")
    assert first.forecast == pytest.approx(1.5 * first.rate)
    assert "no history yet" in first.line()


def test_with_history_the_forecast_counts_and_says_how():
    last = course([100.0] * 240, MANY)[-1]
    assert last.method != "none"
    assert last.rate < last.forecast < 1.3 * last.rate
    assert f"{last.instances} instances by" in last.line()


def test_more_are_wanted_at_once_and_fewer_only_after_the_hold():
    rates = [20.0] * 30 + [200.0] * 6 + [20.0] * 20
    counts = [decision.instances for decision in course(rates, replace(MANY, ahead=False))]
    assert counts[30] > 1.5 * counts[29]
    top = max(counts)
    assert counts[35:47] == [top] * 12
    assert counts[-1] < top / 3


def test_a_quick_start_halves_the_hold():
    rates = [20.0] * 30 + [200.0] * 6 + [20.0] * 14
    slow = course(rates, replace(MANY, ahead=False))
    quick = course(rates, replace(MANY, ahead=False), startup_s=5.0)
    assert quick[44].instances < slow[44].instances


def test_burstier_traffic_of_the_same_rate_gets_more():
    rng = np.random.default_rng(3)
    even, bursty = Series(), Series()
    even.extend(START, rng.poisson(50, 900).astype(float))
    bursty.extend(START, 10.0 * rng.poisson(5, 900))
    few, _ = decide(seen(even), Memory(), MANY)
    many, _ = decide(seen(bursty), Memory(), MANY)
    assert many.burst > 5 * few.burst
    assert many.instances > 1.3 * few.instances


def test_a_queue_that_waits_half_its_time_is_worked_off_within_a_tick():
    quiet = series([100.0] * 30)
    short, _ = decide(seen(quiet, ready=2, waiting=1.9), Memory(), MANY)
    long, _ = decide(seen(quiet, ready=2, waiting=300.0), Memory(), MANY)
    assert short.by != "queue"
    assert (long.by, long.instances) == ("queue", 4)


@pytest.mark.parametrize(
    ("least", "most", "rate", "expected"),
    [(3, 9, 0.1, (3, "floor")), (1, 4, 500.0, (4, "limit")), (2, 2, 500.0, (2, "limit"))],
)
def test_what_bounds_a_decision_is_said(least, most, rate, expected):
    last = course([rate] * 3, Terms(least=least, most=most))[-1]
    assert (last.instances, last.by) == expected


def test_none_are_wanted_after_idling_and_one_as_soon_as_somebody_asks():
    terms = Terms(least=0, most=5, idle_s=60.0)
    counts = [each.instances for each in course([5.0] * 6 + [0.0] * 10 + [5.0], terms)]
    assert counts[:11] == [counts[0]] * 11
    assert counts[13:16] == [0, 0, 0]
    assert counts[16] >= 1
    waits, _ = decide(seen(series([0.0] * 30), waiting=1.0, ready=0), Memory(), terms)
    assert waits.instances == 1


def test_a_model_that_never_had_a_request_is_not_started_where_none_are_allowed():
    decision, _ = decide(seen(series([0.0])), Memory(), Terms(least=0, most=5))
    assert (decision.instances, decision.by) == (0, "idle")


def test_requests_at_the_same_time_of_other_days_bring_the_first_instance_before_them():
    counts = np.zeros(4 * DAY)
    for day in range(5):
        counts[day * DAY + 3000 : day * DAY + 3030] = 50.0
    until = 3 * DAY + 3000 - 5  # 50 s before
    terms = Terms(least=0, most=5, idle_s=60.0)
    before, _ = decide(seen(restored(counts[: until - 100]), ready=0), Memory(), terms)
    then, _ = decide(seen(restored(counts[:until]), ready=0), Memory(), terms)
    assert (before.instances, before.by) == (0, "idle")
    assert (then.instances >= 1, then.by) == (True, "recurring")


def test_a_recurring_spike_is_staffed_before_it_comes():
    counts = np.random.default_rng(1).poisson(200.0, 4 * DAY).astype(float)
    for day in range(4):
        counts[day * DAY + 3000 : day * DAY + 3060] *= 4
    until = 3 * DAY + 3000 - 3
    plain, _ = decide(seen(restored(counts[: until - 300])), Memory(), MANY)
    ready, _ = decide(seen(restored(counts[:until])), Memory(), MANY)
    assert ready.by == "recurring"
    assert ready.instances > 2 * plain.instances


def test_spikes_at_other_times_each_day_warn_of_nothing():
    rng = np.random.default_rng(1)
    counts = rng.poisson(200.0, 4 * DAY).astype(float)
    for start in rng.integers(0, 3 * DAY, 60):
        counts[start : start + 30] *= 4
    _, memory = decide(seen(restored(counts)), Memory(), MANY)
    assert memory.fit is not None
    assert memory.fit.recurring is not None
    assert not memory.fit.recurring.trusted


def test_a_schedule_holds_from_one_start_up_before_until_its_end():
    terms = Terms(most=9, schedules=(Schedule("0 12 * * *", 7, 600.0),))
    noon = 12 * 360
    wanted = {
        ticks: decide(seen(restored([1.0] * (noon + ticks)), startup_s=40.0), Memory(), terms)[0].instances
        for ticks in (-7, -4, 0, 59, 61)
    }
    assert wanted == {-7: 1, -4: 7, 0: 7, 59: 7, 61: 1}


def test_bursts_that_nothing_foretells_are_said_to_be_out_of_reach_and_get_a_floor():
    rng = np.random.default_rng(2)
    counts = np.full(DAY, 1.0)
    for start in np.cumsum(rng.exponential(60, 300).astype(int) + 12):
        counts[start : start + 6] = 3000.0 * rng.uniform(0.5, 1.0)
    decision, memory = decide(seen(restored(counts[:8600]), startup_s=120.0), Memory(), MANY)
    assert memory.fit is not None
    assert memory.fit.cost > 2
    assert "not reachable at a start-up of 120 s" in decision.note
    assert f"floor of {decision.instances}" in decision.note
    peak = staffing.needed(counts.max() / 10, decision.burst, 0.2, MANY.budget)
    assert decision.instances < staffing.instances(peak, 10.0)


def test_history_of_before_a_restart_decides_as_before():
    rng = np.random.default_rng(5)
    counts = rng.poisson(100 * (1.5 + np.sin(np.arange(2 * DAY) / DAY * 2 * np.pi)))
    whole = restored(counts[: 2 * DAY - 90])
    for k, count in enumerate(counts[2 * DAY - 90 :]):
        whole.extend(START + (2 * DAY - 90 + k) * 10, spread(count))
    whole.advance(START + 2 * DAY * 10)
    again = Series()
    again.restore(whole.buckets(0))
    again.advance(START + 2 * DAY * 10)
    first, _ = decide(seen(whole), Memory(), MANY)
    second, _ = decide(seen(again), Memory(), MANY)
    assert (second.method, second.by, second.instances) == (first.method, first.by, first.instances)
    assert (second.rate, second.forecast) == pytest.approx((first.rate, first.forecast))


def test_a_fit_made_apart_is_the_one_that_the_decision_would_have_made():
    look, memory = seen(restored(np.random.default_rng(1).poisson(100, DAY))), Memory()
    assert due(look, memory, MANY)
    apart = refit(look, memory, MANY)
    assert not due(look, apart, MANY)
    assert decide(look, apart, MANY)[0] == decide(look, memory, MANY)[0]


def test_a_fit_is_made_anew_after_ten_minutes_or_for_another_start_up_time():
    of = restored(np.random.default_rng(1).poisson(100, DAY))
    memory = refit(seen(of, startup_s=30.0), Memory(), MANY)
    assert not due(seen(of, startup_s=30.5), memory, MANY)
    assert due(seen(of, startup_s=60.0), memory, MANY)
    of.advance(of.seconds.open + 590)
    assert not due(seen(of), memory, MANY)
    of.advance(of.seconds.open + 10)
    assert due(seen(of), memory, MANY)


def test_misses_over_the_budget_make_the_forecast_more_careful():
    look, memory = seen(restored(np.random.default_rng(1).poisson(100, DAY))), Memory()
    first, memory = decide(look, memory, MANY)
    for tick in range(1, 200):
        late = replace(look, now=look.now + 10 * tick, missed=20.0, asked=1000.0)
        last, memory = decide(late, memory, MANY)
    assert first.quantile == TAUS[FIRST]
    assert last.quantile == TAUS[FIRST + 1]
    assert last.forecast > first.forecast
    off, _ = decide(late, replace(memory, feedback=Feedback()), replace(MANY, feedback=False))
    assert off.quantile == TAUS[FIRST]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 10_000), min_size=1, max_size=400),
    bounds=st.tuples(st.integers(0, 5), st.integers(0, 50)),
    carries=st.floats(1e-6, 1e6),
    wait_s=st.floats(0, 10),
    startup_s=st.floats(0, 3600),
    waiting=st.floats(0, 1e9),
    missed=st.floats(0, 1e6),
)
def test_whatever_is_seen_a_decision_is_within_its_bounds_and_finite(
    counts, bounds, carries, wait_s, startup_s, waiting, missed
):
    least, most = bounds[0], max(1, sum(bounds))
    terms = Terms(least=least, most=most, idle_s=30.0)
    facts = {"carries": carries, "wait_s": wait_s, "startup_s": startup_s, "waiting": waiting}
    look = seen(restored(counts), missed=missed, asked=1e6, **facts)
    memory = Memory()
    for tick in range(3):
        decision, memory = decide(replace(look, now=look.now + 10 * tick), memory, terms)
        assert least <= decision.instances <= most
        assert all(isfinite(x) for x in (decision.rate, decision.forecast, decision.burst, decision.capacity))
        assert decision.forecast >= 0
        assert "nan" not in decision.line()


def test_memory_does_not_grow():
    """A wish a tick at the very most of the hold, and arrays of the fit's look ahead."""
    rng, of, memory = np.random.default_rng(1), restored(np.full(DAY, 100.0)), Memory()
    sizes = []
    for tick in range(200):
        start = of.seconds.open
        of.extend(start, rng.poisson(10 + tick % 50, 10).astype(float))
        of.advance(start + 10)
        _, memory = decide(seen(of), memory, MANY)
        sizes.append(len(memory.wishes))
        assert memory.fit is not None
        assert memory.fit.ratios.nbytes + memory.fit.lags.nbytes < 10_000
    assert max(sizes) <= 12


def test_a_decision_takes_less_than_a_millisecond_in_the_mean():
    """Of two hours of ticks after two weeks, fits among them; process time, so that others do not count."""
    rng = np.random.default_rng(1)
    of, memory = restored(rng.poisson(100, 14 * DAY)), Memory()
    took = 0.0
    for _ in range(720):
        start = of.seconds.open
        of.extend(start, rng.poisson(10, 10).astype(float))
        of.advance(start + 10)
        look: Seen = seen(of)
        begun = process_time()
        _, memory = decide(look, memory, MANY)
        took += process_time() - begun
    assert took / 720 < 1e-3


@pytest.mark.parametrize(
    ("ready", "starting", "wanted", "expected"),
    [
        (2, 1, 5, (2, 0, 0)),
        (2, 1, 3, (0, 0, 0)),
        (2, 3, 3, (0, 2, 0)),
        (4, 1, 2, (0, 1, 2)),
        (3, 0, 0, (0, 0, 3)),
    ],
)
def test_instances_on_their_way_are_given_up_before_one_that_answers(ready, starting, wanted, expected):
    assert changes(ready, starting, wanted) == expected


@given(wanted=st.integers(-5, 99), least=st.integers(0, 20), most=st.integers(0, 20))
def test_the_most_is_never_passed_not_even_for_the_least(wanted, least, most):
    assert min(least, most) <= clamp(wanted, least, most) <= most


def ramp(slope: float, seconds: int = 40, start: float = 10.0) -> list[float]:
    return [start + max(0, at - 20) * slope for at in range(seconds)]


@pytest.mark.parametrize(("slope", "least", "most"), [(0.0, 10.0, 15.0), (4.0, 90.0, 180.0)])
def test_without_history_a_rise_is_expected_to_go_on_and_at_most_to_double(slope, least, most):
    series, rates = Series(), ramp(slope)
    rng = np.random.default_rng(3)
    series.extend(START, rng.poisson(rates).astype(float))
    series.advance(START + 40)
    seen = Seen(
        now=START + 40.0,
        series=series,
        waiting=0.0,
        ready=9,
        starting=0,
        carries=10.0,
        wait_s=0.2,
        startup_s=2.0,
    )
    found, _ = decide(seen, Memory(), Terms(most=99, tick_s=1.0))
    assert found.method == "none"
    assert least < found.forecast < most
