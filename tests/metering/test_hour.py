"""A sum over the last hour: never less than any hour holds, and at most a minute more."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.metering.hour import Hour

TURNS = st.lists(st.tuples(st.integers(1, 70), st.floats(0, 1e6)), max_size=80)


def hour(*amounts):
    """Minutes that followed each other; the last one runs."""
    made = Hour()
    for at, amount in enumerate(amounts):
        if at:
            made.turn(1)
        made.total += amount
    return made


@given(TURNS)
def test_it_holds_the_running_minute_and_the_sixty_before(turns):
    kept, told, minute = Hour(), {}, 0
    for ended, amount in turns:
        kept.turn(ended)
        minute += ended
        kept.total += amount
        told[minute] = amount
        expected = sum(each for at, each in told.items() if minute - at <= 60)
        assert abs(kept.total - expected) <= 1e-9 * max(1.0, expected)


def test_what_was_added_leaves_after_sixty_whole_minutes():
    kept = hour(7.0)
    kept.turn(60)
    assert kept.total == 7.0
    kept.turn(1)
    assert kept.total == 0.0


def test_nothing_is_left_of_a_long_past_nor_of_rounding():
    kept = hour(*[0.1] * 61)
    kept.turn(1_000_000)
    assert kept.total == 0.0


@given(TURNS)
def test_what_is_put_back_in_time_is_as_if_it_had_been_there(turns):
    whole, later = Hour(), Hour()
    minute, told = 0, []
    for ended, amount in turns:
        whole.turn(ended)
        minute += ended
        whole.total += amount
        told.append((minute, amount))
    for at, amount in reversed(told):
        later.put(amount, minute - at)
    assert abs(whole.total - later.total) <= 1e-9 * max(1.0, whole.total)
    for kept in (whole, later):
        kept.turn(30)
    assert abs(whole.total - later.total) <= 1e-9 * max(1.0, whole.total)


def test_the_minutes_until_it_is_below():
    kept = hour(3.0, 0.0, 2.0, 1.0)
    assert kept.total == 6.0
    assert [kept.until_below(limit) for limit in (6.5, 6.0, 3.5, 3.0, 1.0, 0.5)] == [1, 58, 58, 60, 61, 61]
    kept.turn(58)
    assert kept.total == 3.0


@given(TURNS, st.floats(0.1, 1e6))
def test_after_these_minutes_it_is_below_and_not_before(turns, limit):
    kept = Hour()
    for ended, amount in turns:
        kept.turn(ended)
        kept.total += amount
    if kept.total >= limit:
        until = kept.until_below(limit)
        kept.turn(until - 1)
        assert until == 1 or kept.total >= limit
        kept.turn(1)
        assert kept.total < limit
