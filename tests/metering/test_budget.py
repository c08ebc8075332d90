"""Budgets: nobody uses more than his in any hour, everybody is told when to come back, and that is true."""

import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.terms import Budget
from penstock.metering.accounts import MOST_TENANTS, OTHERS
from penstock.metering.budget import Budgets, Standing, needs
from penstock.testing import ManualClock

HOUR = 3600.0


def budgets(clock=None, **by_tenant):
    """``all_`` is ``*``."""
    named = {"*" if name == "all_" else name: budget for name, budget in by_tenant.items()}
    return Budgets(named, "EUR", clock or ManualClock(10_000.0))


def ask(made, tenant="a"):
    return made.of(tenant).admit(made.clock())


def standing(made, what, tenant="a"):
    [found] = [each for each in made.status() if (each.tenant, each.what) == (tenant, what)]
    return found


# -- queries --------------------------------------------------------------------------------------


def test_queries_are_admitted_up_to_the_budget_and_again_after_an_hour():
    clock = ManualClock(600.0)
    made = budgets(clock, a=Budget(queries_per_hour=3))
    assert [ask(made), ask(made), ask(made)] == [None] * 3
    assert ask(made) == 61 * 60
    clock.advance(61 * 60 - 0.001)
    assert ask(made) == pytest.approx(0.001)
    clock.advance(0.001)
    assert [ask(made), ask(made), ask(made)] == [None] * 3
    assert ask(made) is not None


STEPS = st.lists(st.floats(0, 1) | st.floats(0, 100) | st.floats(0, 2000), min_size=1, max_size=300)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 40), st.floats(0, 1e6))
def test_no_hour_wherever_it_begins_holds_more_than_the_budget(steps, limit, start):
    clock = ManualClock(start)
    made = budgets(clock, a=Budget(queries_per_hour=limit))
    admitted = []
    for step in steps:
        clock.advance(step)
        admitted += [clock.now for _ in range(3) if ask(made) is None]
    for first, beyond in zip(admitted, admitted[limit:], strict=False):
        assert beyond - first >= HOUR
    assert len(admitted) >= min(limit, 3 * len(steps))


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 40), st.floats(0, 1e6))
def test_who_comes_back_when_he_was_told_is_let_in_and_not_before(steps, limit, start):
    clock = ManualClock(start)
    made = budgets(clock, a=Budget(queries_per_hour=limit))
    for step in steps:
        clock.advance(step)
        wait = ask(made)
        if wait is not None:
            assert 0 < wait <= 61 * 60
            clock.now = (back := clock.now + wait) - 1e-3
            assert wait < 1e-3 or ask(made) is not None
            clock.now = back + 1e-6  # a float may fall short of the sum
            assert ask(made) is None


def test_what_was_refused_elsewhere_does_not_count():
    made = budgets(a=Budget(queries_per_hour=2))
    for _ in range(10):
        assert ask(made) is None
        made.of("a").give_back()
    assert [ask(made), ask(made)] == [None, None]
    assert ask(made) is not None
    made.of("a").give_back()
    assert ask(made) is None
    assert standing(made, "queries").used == 2


# -- money and energy ------------------------------------------------------------------------------


def test_money_and_energy_close_when_the_meter_tells_and_open_when_an_hour_has_passed():
    clock = ManualClock(600.0)
    made = budgets(clock, a=Budget(money_per_hour=1.0, joules_per_hour=50.0))
    made.spent("a", 0.6, None)
    assert ask(made) is None
    clock.advance(90)
    made.spent("a", 0.5, 49.0)
    wait = ask(made)
    assert wait == 61 * 60 - 90  # when the first 0.6 is old
    clock.advance(wait)
    assert ask(made) is None
    assert standing(made, "money") == Standing("a", "money", pytest.approx(0.5), 1.0, 0.8)
    made.spent("a", None, 1.0)
    assert ask(made) == 60.0  # and the 49 joules of the next minute


def test_the_longest_of_several_waits_is_told():
    clock = ManualClock(0.0)
    made = budgets(clock, a=Budget(money_per_hour=1.0, queries_per_hour=2))
    assert ask(made) is None
    clock.advance(120)
    made.spent("a", 5.0, 0.0)
    wait = ask(made)
    assert wait == 61 * 60
    assert str(made.of("a").refusal(wait)) == (
        "tenant 'a' has used 5 of 1 EUR in an hour, by budgets.a.money_per_hour; try again in 3660 s"
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 1)), min_size=1, max_size=100))
def test_who_waits_for_money_waits_just_long_enough(steps):
    clock = ManualClock(77.0)
    made = budgets(clock, a=Budget(money_per_hour=1.0))
    for seconds, money in steps:
        clock.advance(seconds)
        made.spent("a", money, None)
        wait = ask(made)
        if wait is not None:
            assert standing(made, "money").used >= 1.0
            clock.now += wait + 1e-6
            assert ask(made) is None
            assert standing(made, "money").used < 1.0


def test_a_budget_of_nothing_lets_nobody_in():
    made = budgets(ManualClock(0.0), all_=Budget(money_per_hour=0), a=Budget())
    wait = ask(made, "b")
    assert wait == 61 * 60
    assert "has used 0 of 0 EUR in an hour" in str(made.of("b").refusal(wait))
    assert standing(made, "money", "b").share == 1.0
    assert ask(made, "a") is None


# -- whose ---------------------------------------------------------------------------------------


def test_each_tenant_has_his_own_and_who_has_none_the_one_for_everybody():
    made = budgets(a=Budget(queries_per_hour=1), all_=Budget(queries_per_hour=2))
    for tenant, allowed in (("a", 1), ("b", 2), ("c", 2), ("", 2), ("*", 2)):
        answers = [ask(made, tenant) for _ in range(4)]
        assert [None] * allowed == answers[:allowed]
        assert None not in answers[allowed:]


def test_without_one_for_everybody_the_others_are_free_and_leave_no_trace():
    made = budgets(a=Budget(queries_per_hour=1))
    for number in range(3000):
        assert ask(made, f"t{number}") is None
        made.spent(f"t{number}", 1e9, 1e9)
    assert [each.tenant for each in made.status()] == ["a"]


def test_a_tenant_may_be_excepted_from_the_one_for_everybody():
    made = budgets(a=Budget(), all_=Budget(queries_per_hour=1))
    assert [ask(made, "a") for _ in range(5)] == [None] * 5
    assert [ask(made, "b") is None for _ in range(2)] == [True, False]


def test_many_names_do_not_make_many_purses():
    made = budgets(all_=Budget(queries_per_hour=10), late=Budget(queries_per_hour=1))
    for number in range(MOST_TENANTS + 50):
        ask(made, f"t{number}")
    assert len(made.status()) == MOST_TENANTS + 2 == len(made.purses)
    assert ask(made, "t9999") == ask(made, OTHERS) != None  # noqa: E711 - both wait, and as long
    assert ask(made, "late") is None


@pytest.mark.parametrize(
    ("tenant", "name", "who", "key"),
    [
        ("a", "a", "tenant 'a' has", "budgets.a.queries_per_hour"),
        ("a b", "a b", "tenant 'a b' has", 'budgets."a b".queries_per_hour'),
        ("b", "*", "tenant 'b' has", 'budgets."*".queries_per_hour'),
        ("", "*", "requests without a tenant have", 'budgets."*".queries_per_hour'),
    ],
)
def test_a_refusal_says_who_which_budget_how_much_and_when(tenant, name, who, key):
    made = Budgets({name: Budget(queries_per_hour=2)}, clock=ManualClock(60.0))
    assert [ask(made, tenant) is None for _ in range(3)] == [True, True, False]
    error = made.of(tenant).refusal(725)
    assert str(error) == f"{who} used 2 of 2 queries in an hour, by {key}; try again in 725 s"
    assert error.retry_after == 725


def test_no_budgets_are_none():
    assert not Budgets({})
    assert not Budgets({"a": Budget()})
    assert Budgets({"a": Budget(joules_per_hour=0)})


def test_what_budgets_need_to_know():
    assert needs({}) == needs({"a": Budget(queries_per_hour=1)}) == set()
    assert needs({"a": Budget(money_per_hour=1)}) == {"money"}
    assert needs({"a": Budget(money_per_hour=0), "*": Budget(joules_per_hour=1)}) == {"money", "energy"}


# -- warnings --------------------------------------------------------------------------------------


def warnings(caplog):
    return [each for each in caplog.records if each.name == "penstock.budgets"]


def test_a_warning_comes_once_at_its_share_and_again_after_it_fell_below(caplog):
    clock = ManualClock(0.0)
    made = budgets(clock, a=Budget(queries_per_hour=10, warn=0.75))
    with caplog.at_level(logging.WARNING, "penstock.budgets"):
        told = [(ask(made), len(warnings(caplog)))[1] for _ in range(14)]
        assert told == [0] * 7 + [1] * 7
        [warning] = warnings(caplog)
        assert warning.getMessage() == (
            "tenant 'a' has used 8 of 10 queries in an hour, by budgets.a.queries_per_hour (80 %)"
        )
        assert (warning.tenant, warning.budget, warning.share) == ("a", "budgets.a.queries_per_hour", 0.8)
        clock.advance(2 * HOUR)
        made.status()
        told = [(ask(made), len(warnings(caplog)))[1] for _ in range(10)]
        assert told == [1] * 7 + [2] * 3


def test_money_warns_too_and_each_budget_for_itself(caplog):
    made = budgets(a=Budget(money_per_hour=1.0, joules_per_hour=100.0))
    made.spent("a", 0.9, 10.0)
    made.spent("a", 0.05, 10.0)
    made.spent("a", 0.0, 70.0)
    assert [each.budget for each in warnings(caplog)] == [
        "budgets.a.money_per_hour",
        "budgets.a.joules_per_hour",
    ]


@pytest.mark.parametrize(("warn", "at"), [(0.0, 1), (1.0, 4), (0.5, 2)])
def test_any_share_may_warn(caplog, warn, at):
    made = budgets(a=Budget(queries_per_hour=4, warn=warn))
    assert warnings(caplog) == []
    told = [(ask(made), len(warnings(caplog)))[1] for _ in range(6)]
    assert told == [0] * (at - 1) + [1] * (7 - at)


# -- restarts ----------------------------------------------------------------------------------------


def test_what_the_books_hold_of_the_last_hour_goes_on_to_count():
    clock = ManualClock(90.0)  # sooner after boot than the entries are old
    made = budgets(clock, a=Budget(queries_per_hour=10, money_per_hour=5.0))
    made.restore("a", 2 * HOUR, 100, 100.0, None)
    made.restore("a", 3000.0, 4, 1.0, 7.0)
    made.restore("a", 0.0, 5, 1.0, None)
    made.restore("b", 0.0, 50, 100.0, None)
    assert [each.used for each in made.status()] == [9.0, 2.0]
    assert ask(made) is None
    wait = ask(made)
    assert 600 < wait <= 660
    clock.advance(wait)
    assert [ask(made) is None for _ in range(5)] == [True] * 4 + [False]


def test_an_entry_that_has_not_ended_counts_as_of_now():
    made = budgets(a=Budget(queries_per_hour=10))
    made.restore("a", -30.0, 4, None, None)
    made.restore("a", -90.0, 5, None, None)
    assert standing(made, "queries").used == 9
    made.clock.advance(60 * 60)
    assert standing(made, "queries").used == 9
    made.clock.advance(60)
    assert standing(made, "queries").used == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 500), min_size=1, max_size=60), st.integers(1, 20), st.floats(0, 59))
def test_a_restart_gives_nobody_more(steps, limit, boot):
    """The clock begins anew, and the books tell what was before."""
    clock = ManualClock(5000.0)
    made, admitted = budgets(clock, a=Budget(queries_per_hour=limit)), []
    for step in steps:
        clock.advance(step)
        if ask(made) is None:
            admitted.append(clock.now)
    shift = boot - clock.now
    restarted = budgets(ManualClock(boot), a=Budget(queries_per_hour=limit))
    for at in admitted:
        restarted.restore("a", clock.now - at, 1, None, None)
    for step in [0.0, *steps]:
        restarted.clock.advance(step)
        if ask(restarted) is None:
            admitted.append(restarted.clock.now - shift)
    for first, beyond in zip(admitted, admitted[limit:], strict=False):
        assert beyond - first >= HOUR - 1e-6


def test_time_passes_for_who_asks_for_nothing():
    clock = ManualClock(0.0)
    made = budgets(clock, a=Budget(queries_per_hour=4))
    used = []
    for _ in range(4):
        ask(made)
        used.append(standing(made, "queries").used)
        clock.advance(1000)
    for _ in range(5):
        used.append(standing(made, "queries").used)
        clock.advance(1000)
    assert used == [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    assert all(later <= before for before, later in pairwise(used[3:]))


def test_a_query_that_is_given_back_again_and_again_warns_once(caplog):
    budgets = Budgets({"shop": Budget(queries_per_hour=10, warn=0.1)}, clock=ManualClock())
    for _ in range(5):
        assert budgets.of("shop").admit(0.0) is None
        budgets.of("shop").give_back()
    assert len(caplog.records) == 1
