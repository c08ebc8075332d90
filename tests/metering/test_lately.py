"""The last hour of the books: a sliding sum that neither drifts nor makes up what is not known."""

from math import fsum
from random import Random

import pytest

from penstock.core.account import Account, Payer
from penstock.metering.charges import NOTHING, Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.lately import MINUTE, MINUTES, Lately, Sum

ONE, TWO = ("m", "1"), ("m", "2")


def entry(*used, money=None, **queries):
    took = Took(seconds=5.0, cpu_capacity=10.0, cpu_money=money)
    return Sum(took, {each.payer[:2]: each for each in used}, queries)


def used(version, queries=1, money=None, joules=None):
    return Used(Payer(*version, ""), Account(queries=queries), cpu_money=money, cpu_joules=joules)


def test_the_sum_is_that_of_the_last_hour_to_a_minute():
    draw, lately, spans = Random(1), Lately(), []
    for at in range(3000):
        money = draw.random()
        spans.append((5.0 * at, entry(used(ONE, money=money), money=2 * money, ann=1)))
        lately.add(*spans[-1])
        if at % 97 == 0 or at > 2990:
            first = (spans[-1][0] // MINUTE - MINUTES) * MINUTE
            inside = [each for start, each in spans if start >= first]
            total = lately.sum
            assert total.took.seconds == 5.0 * len(inside)
            assert total.used[ONE].account.queries == len(inside)
            assert total.queries == {"ann": len(inside)}
            wanted = fsum(each.used[ONE].cpu_money for each in inside)
            assert total.used[ONE].cpu_money == pytest.approx(wanted, rel=1e-12)
            assert total.took.cpu_money == pytest.approx(2 * wanted, rel=1e-12)


def test_who_used_nothing_for_an_hour_is_not_there():
    lately = Lately()
    lately.add(0.0, entry(used(ONE), used(TWO)))
    for at in range(1, 62):
        lately.add(at * MINUTE, entry(used(TWO)))
    assert set(lately.sum.used) == {TWO}
    assert lately.sum.used[TWO].account.queries == 61


def test_a_price_that_is_known_no_more_leaves_no_zero_behind():
    lately = Lately()
    lately.add(0.0, entry(used(ONE, money=0.3, joules=Joules(1, 2, 3)), money=1.0))
    lately.add(60.0, entry(used(ONE)))
    assert (lately.sum.used[ONE].cpu_money, lately.sum.took.cpu_money) == (0.3, 1.0)
    lately.add(60.0 * 61, entry(used(ONE)))
    assert (lately.sum.used[ONE].cpu_money, lately.sum.took.cpu_money) == (None, None)
    assert lately.sum.used[ONE].cpu_joules is None


def test_a_gap_of_hours_forgets_all_before_it():
    lately = Lately()
    lately.add(0.0, entry(used(ONE)))
    lately.add(86400.0, entry(used(TWO)))
    assert set(lately.sum.used) == {TWO}
    assert lately.sum.took == NOTHING + Took(seconds=5.0, cpu_capacity=10.0)


def test_a_clock_that_is_set_back_leaves_nothing_behind_for_ever():
    lately = Lately()
    lately.add(2e9, entry(used(ONE)))
    for at in range(600):
        lately.add(1e9 + at * MINUTE, entry(used(TWO)))
    assert set(lately.sum.used) == {TWO}
    assert lately.sum.took.seconds == 5.0 * (MINUTES + 1)


def test_nothing_sums_to_nothing():
    assert (Lately().sum.took, Lately().sum.used) == (NOTHING, {})
