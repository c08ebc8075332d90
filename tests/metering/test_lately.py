"""The last hour of the books: a sliding sum that neither drifts nor makes up what is not known."""

from math import fsum
from random import Random

import pytest

from penstock.core.account import Account, Payer
from penstock.metering.charges import NOTHING, Span, Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.lately import MINUTE, MINUTES, Lately

ANN, BOB = Payer("m", "1", "ann"), Payer("m", "1", "bob")


def span(start, *used, money=None):
    return Span(start, Took(seconds=5.0, cpu_capacity=10.0, cpu_money=money), used)


def used(payer, queries=1, money=None, joules=None):
    return Used(payer, Account(queries=queries), cpu_money=money, cpu_joules=joules)


def test_the_sum_is_that_of_the_last_hour_to_a_minute():
    draw, lately, spans = Random(1), Lately(), []
    for at in range(3000):
        money = draw.random()
        spans.append(span(5.0 * at, used(ANN, money=money), money=2 * money))
        lately.add(spans[-1])
        if at % 97 == 0 or at > 2990:
            first = (spans[-1].start // MINUTE - MINUTES) * MINUTE
            inside = [each for each in spans if each.start >= first]
            total = lately.sum
            assert total.took.seconds == 5.0 * len(inside)
            assert total.used[ANN].account.queries == len(inside)
            wanted = fsum(each.used[0].cpu_money for each in inside)
            assert total.used[ANN].cpu_money == pytest.approx(wanted, rel=1e-12)
            assert total.took.cpu_money == pytest.approx(2 * wanted, rel=1e-12)


def test_who_used_nothing_for_an_hour_is_not_there():
    lately = Lately()
    lately.add(span(0.0, used(ANN), used(BOB)))
    for at in range(1, 62):
        lately.add(span(at * MINUTE, used(BOB)))
    assert set(lately.sum.used) == {BOB}
    assert lately.sum.used[BOB].account.queries == 61


def test_a_price_that_is_known_no_more_leaves_no_zero_behind():
    lately = Lately()
    lately.add(span(0.0, used(ANN, money=0.3, joules=Joules(1, 2, 3)), money=1.0))
    lately.add(span(60.0, used(ANN)))
    assert (lately.sum.used[ANN].cpu_money, lately.sum.took.cpu_money) == (0.3, 1.0)
    lately.add(span(60.0 * 61, used(ANN)))
    assert (lately.sum.used[ANN].cpu_money, lately.sum.took.cpu_money) == (None, None)
    assert lately.sum.used[ANN].cpu_joules is None


def test_a_gap_of_hours_forgets_all_before_it():
    lately = Lately()
    lately.add(span(0.0, used(ANN)))
    lately.add(span(86400.0, used(BOB)))
    assert set(lately.sum.used) == {BOB}
    assert lately.sum.took == NOTHING + Took(seconds=5.0, cpu_capacity=10.0)


def test_nothing_sums_to_nothing():
    assert (Lately().sum.took, Lately().sum.used) == (NOTHING, {})
