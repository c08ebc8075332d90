"""Small rules wrapped around the forecast: staffing, feedback, schedules."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.scaling import schedules, staffing
from penstock.scaling.feedback import Feedback, follow
from penstock.scaling.forecast.conformal import FIRST
from penstock.scaling.types import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
rates, bursts, waits = st.floats(0.01, 1e5), st.floats(0.8, 60), st.floats(0.01, 5)


@given(rates, bursts, waits, st.floats(0.001, 0.5))
def test_staffing_gives_the_capacity_at_which_that_share_is_late(rate, burst, wait_s, share):
    capacity = staffing.needed(rate, burst, wait_s, share)
    assert capacity >= rate
    assert staffing.late(rate, capacity, burst, wait_s) == pytest.approx(share, rel=1e-6)


@given(rates, bursts, waits)
def test_more_traffic_more_burst_and_less_patience_need_more(rate, burst, wait_s):
    need = staffing.needed(rate, burst, wait_s)
    assert staffing.needed(rate * 1.1, burst, wait_s) > need
    assert staffing.needed(rate, burst * 1.1, wait_s) > need
    assert staffing.needed(rate, burst, wait_s * 1.1) < need


def test_no_traffic_needs_nothing():
    assert staffing.needed(0.0, 1.0, 0.2) == 0.0
    assert staffing.instances(0.0, 5.0) == 0


# -- feedback -------------------------------------------------------------------------------------


def fed(share, ticks: int, state: Feedback | None = None, start: int = 0) -> Feedback:
    """Ticks of a thousand requests of which a share misses, which may depend on the level."""
    state = state or Feedback()
    for tick in range(start, start + ticks):
        missed = share(state.level) if callable(share) else share
        state = follow(state, 1e9 + 10 * tick, 1000 * missed, 1000, budget=0.01)
    return state


@pytest.mark.parametrize(("share", "expected"), [(0.0, FIRST), (0.006, FIRST), (0.02, FIRST + 1)])
def test_the_level_rises_only_over_four_fifths_of_the_budget(share, expected):
    assert fed(share, 200).level == expected


def test_what_helps_is_kept_and_given_back_when_it_is_no_longer_needed():
    helped = fed(lambda level: 0.02 if level == FIRST else 0.004, 400)
    assert helped.level == FIRST + 1
    assert fed(0.0, 4000, helped, start=400).level == FIRST


def test_raises_in_vain_are_taken_back_and_not_tried_again_for_a_while():
    """Anti-windup: what the level does not change, it must not be raised for."""
    state = fed(0.05, 200 * 4)
    assert state.level == FIRST
    assert state.futile > state.at


def test_without_enough_requests_nothing_moves():
    state = Feedback()
    for tick in range(1000):
        state = follow(state, 1e9 + 10 * tick, 0.2, 0.4, budget=0.01)
    assert state.level == FIRST


# -- schedules ------------------------------------------------------------------------------------


def at(text: str, zone=BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("cron", "moment", "expected"),
    [
        ("0 9 * * MON", "2026-06-01T08:59:00", 0),  # a Monday
        ("0 9 * * MON", "2026-06-01T08:59:30", 4),  # within the lead of 30 s
        ("0 9 * * MON", "2026-06-01T09:00:00", 4),
        ("0 9 * * MON", "2026-06-01T09:59:59", 4),
        ("0 9 * * MON", "2026-06-01T10:00:01", 0),
        ("0 9 * * MON", "2026-06-02T09:30:00", 0),
        ("0 0 31 * *", "2026-06-30T00:30:00", 0),
        ("0 0 31 * *", "2026-07-31T00:30:00", 4),
        ("*/5 * * * *", "2026-07-31T00:33:00", 4),
        ("30 2 * * *", "2026-03-29T03:20:00", 4),  # 02:30 does not exist: it begins at 03:00
        ("30 2 * * *", "2026-03-29T01:59:00", 0),
        ("30 2 * * *", "2026-10-25T02:45:00", 4),  # 02:30 comes twice: the first counts
        ("30 9 * * *", "2026-10-25T09:45:00", 4),
        ("30 9 * * *", "2026-03-29T09:45:00", 4),
    ],
)
def test_an_event_counts_from_one_lead_before_it_until_its_end(cron, moment, expected):
    assert schedules.asked([Schedule(cron, 4)], at(moment), 30.0, BERLIN) == expected


def test_the_clock_set_back_does_not_begin_an_event_twice():
    """02:45 for the second time is an hour and a quarter after 02:30 for the first."""
    again = datetime(2026, 10, 25, 2, 45, fold=1, tzinfo=BERLIN).timestamp()
    assert schedules.asked([Schedule("30 2 * * *", 4)], again, 30.0, BERLIN) == 0


def test_of_several_events_the_largest_counts():
    both = [Schedule("0 9 * * *", 2), Schedule("0 8 * * *", 5, 7200.0)]
    assert schedules.asked(both, at("2026-06-01T09:30:00", UTC), 0.0, UTC) == 5
    assert schedules.asked(both, at("2026-06-01T10:30:00", UTC), 0.0, UTC) == 0


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Schedule("0 9 * *", 1), "has 4 fields; a cron line has five"),
        (Schedule("0 25 * * *", 1), "Bad hour"),
        (Schedule("0 9 * * FUN", 1), "Bad day-of-week"),
        (Schedule("0 9 * * *", -1), "least must be 0 or more"),
        (Schedule("0 9 * * *", 1, 0.0), "for_s over 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_the_reason(schedule, said):
    with pytest.raises(ValueError, match=said):
        schedules.check(schedule)
