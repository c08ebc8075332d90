"""Who may come into memory, who makes room, and who waits: a table of numbers."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.memory import (
    Evict,
    Load,
    Refuse,
    Resident,
    Rules,
    Wait,
    Wanted,
    decide,
    fits,
    shrink,
    too_large,
    total,
    working_set,
)

NOW = 100.0
RULES = Rules(limit=100, stay=10.0)


def there(model, size=40, used=0.0, *, loaded=0.0, idle=True, took=5.0, **kwargs):
    used = max(loaded, used) if idle else NOW
    return Resident(model=model, bytes=size, loaded=loaded, used=used, idle=idle, load_seconds=took, **kwargs)


def want(model, size=40, deadline=inf):
    return Wanted(model=model, bytes=size, deadline=deadline)


@pytest.mark.parametrize(
    ("residents", "wanted", "expected"),
    [
        pytest.param([], [want("a")], Load("a"), id="an empty house has room"),
        pytest.param([there("a", 60)], [want("b")], Load("b"), id="room to the last byte"),
        pytest.param(
            [there("a", used=5), there("b", used=4)], [want("c")], Evict(("b",)), id="the least recently used"
        ),
        pytest.param(
            [there("a", idle=False), there("b", used=9)], [want("c")], Evict(("b",)), id="idle before busy"
        ),
        pytest.param(
            [there("a", idle=False, loaded=3), there("b", idle=False, loaded=2)],
            [want("c")],
            Evict(("b",)),
            id="of the busy, the longest there: nobody starves",
        ),
        pytest.param(
            [there("a", 20, 1), there("b", 20, 2), there("c", 50, 3)],
            [want("d", 60)],
            Evict(("c",)),
            id="none go in vain",
        ),
        pytest.param(
            [there("a", 30, 1), there("b", 30, 2), there("c", 40, 3)],
            [want("d", 60)],
            Evict(("a", "b")),
            id="as many as it takes",
        ),
        pytest.param(
            [there("a", 60, kept=True), there("b", 40, 99, loaded=95)],
            [want("c")],
            Wait(101.0),
            id="kept ones never; a stay is cut short by idleness",
        ),
        pytest.param(
            [there("a", 50, loaded=95), there("b", 50, loaded=96, idle=False)],
            [want("c", 60)],
            Wait(102.0),
            id="both are needed: a look when the busy one might have been idle for long",
        ),
        pytest.param(
            [there("a", 100, loaded=99.99, took=0.01)],
            [want("c")],
            Wait(100.01),
            id="what loads quickly may go soon",
        ),
        pytest.param(
            [there("a", 60), there("b", 40, leaving=True)],
            [want("c", 40)],
            Wait(inf),
            id="what leaves is waited for, and nobody else goes",
        ),
        pytest.param(
            [there("a", 80, loaded=99)],
            [want("c", 60, 120.0), want("d", 20, 130.0)],
            Load("d"),
            id="a later one passes where the first loses nothing",
        ),
        pytest.param(
            [there("a", 50, loaded=99), there("k", 30, kept=True)],
            [want("c", 60, 120.0), want("d", 20, 130.0)],
            Wait(101.0),
            id="and not where it would take the first one's room",
        ),
        pytest.param(
            [], [want("c", 40, 50.0), want("d", 40, 40.0)], Load("d"), id="the earlier deadline first"
        ),
    ],
)
def test_the_next_step(residents, wanted, expected):
    got = decide(residents, wanted, RULES, NOW)
    if isinstance(expected, Wait):
        assert isinstance(got, Wait)
        assert got.until == pytest.approx(expected.until)
    else:
        assert got == expected


def test_what_never_fits_is_refused_with_the_limit_that_would_hold_it():
    alone = decide([], [want("a", 101)], RULES, NOW)
    assert alone == Refuse("a", "it takes 101 B, and memory.limit is 100 B; a limit of 101 B would hold it")
    beside = decide([there("k", 70, kept=True)], [want("a", 40)], RULES, NOW)
    assert isinstance(beside, Refuse)
    assert "models that are kept take 70 B; a limit of 110 B" in beside.reason
    assert too_large("k", 70, [there("k", 70, kept=True)], RULES) == ""


@pytest.mark.parametrize(
    ("residents", "spared", "extra", "expected"),
    [
        ([there("a", 60), there("b", 40)], "", 0, ()),
        ([there("a", 60, 2), there("b", 60, 1)], "", 0, ("b",)),
        ([there("a", 60, 2), there("b", 60, 1)], "b", 0, ("a",)),
        ([there("a", 60, idle=False), there("b", 60, idle=False)], "", 0, ()),
        ([there("a", 60, kept=True), there("b", 60)], "", 0, ("b",)),
        ([there("a", 60), there("b", 60, leaving=True)], "", 0, ()),
        ([there("a", 40, 1), there("b", 40, 2)], "b", 40, ("a",)),
        ([there("a", 10), there("b", 80)], "b", 50, ("a",)),
    ],
)
def test_what_goes_where_more_is_taken_than_there_is(residents, spared, extra, expected):
    assert shrink(residents, RULES, spared, extra) == expected


def test_room_without_anybody_going():
    assert [fits(size, [there("a", 60), there("b", 10, leaving=True)], RULES) for size in (30, 31)] == [
        True,
        False,
    ]


def test_the_working_set_is_what_was_used_lately_each_once():
    residents = [there("a", 10, 50), there("b", 20, 10), there("c", 30, 60, leaving=True)]
    assert working_set(residents, [want("c", 30), want("c", 30), want("d", 40)], 40.0) == (
        80,
        ["a", "c", "d"],
    )


HOUSES = st.lists(
    st.builds(
        there,
        st.sampled_from("abcdef"),
        st.integers(0, 60),
        st.floats(0, NOW),
        loaded=st.floats(0, NOW),
        idle=st.booleans(),
        took=st.floats(0, 5),
        kept=st.booleans(),
        leaving=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda one: one.model,
)
WISHES = st.lists(
    st.builds(want, st.sampled_from("uvwxyz"), st.integers(0, 120), st.floats(0, 200)),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.model,
)


@given(HOUSES, WISHES)
def test_the_limit_holds_and_everybody_is_decided_about(residents, wanted):
    sizes = {one.model: one.bytes for one in wanted}
    match decide(residents, wanted, RULES, NOW):
        case Load(model):
            assert total(residents) + sizes[model] <= RULES.limit
        case Evict(models):
            going = [one for one in residents if one.model in models]
            assert len(going) == len(models) > 0
            assert not any(one.kept or one.leaving or not one.bytes for one in going)
        case Wait(until):
            assert until > NOW
            able = [one for one in residents if not one.kept and not one.leaving and one.bytes]
            assert until < inf or any(one.leaving for one in residents) or not able
        case Refuse(model):
            kept = sum(one.bytes for one in residents if one.kept)
            assert sizes[model] + kept > RULES.limit


@given(HOUSES, st.integers(1, 100))
def test_a_lone_wish_comes_true_when_every_stay_is_over(residents, size):
    """Evictions that are carried out and asked about again end in a load."""
    kept = total(one for one in residents if one.kept)
    for _ in range(3):
        match decide(residents, [want("z", size)], RULES, NOW + 20):
            case Load():
                return
            case Refuse():
                assert size + kept > RULES.limit
                return
            case Evict(models):
                residents = [one for one in residents if one.model not in models]
            case Wait():
                assert any(one.leaving for one in residents)
                residents = [one for one in residents if not one.leaving]
    raise AssertionError("it was never loaded")
