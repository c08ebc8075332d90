"""Budgets at the gateway's door: admitted ones pass as they are, refused ones are counted and told when."""

import numpy as np
import pytest

from penstock.core.errors import BudgetSpent, InvalidRequest
from penstock.core.terms import Budget
from penstock.core.ticket import Ticket
from penstock.core.types import Request
from penstock.metering.budget import Budgets
from penstock.serving import budgeted
from penstock.testing import ManualClock


class Answering:
    """Answers by a ticket, or raises ``raises``."""

    def __init__(self):
        self.raises = None
        self.seen = []

    def __call__(self, request):
        self.seen.append(request)
        if self.raises is not None:
            raise self.raises
        return Ticket(request, 1, 0.0)


def ask(tenant="", model="m", version=""):
    tags = {"tenant": tenant} if tenant else {}
    return Request(model=model, version=version, inputs={"x": np.zeros((1, 1))}, tags=tags)


@pytest.fixture
def refused():
    return []


def wrapped(handler, refused, clock=None, **budgets):
    made = Budgets(budgets, clock=clock or ManualClock(0.0))
    return budgeted.wrap(handler, made, lambda *what: refused.append(what))


@pytest.mark.parametrize("budgets", [{}, {"a": Budget()}])
def test_without_budgets_nothing_is_in_between(refused, budgets):
    handler = Answering()
    assert wrapped(handler, refused, **budgets) is handler


def test_an_admitted_request_goes_on_as_it_is_and_its_ticket_comes_back(refused):
    handler = Answering()
    request = ask("a")
    answer = wrapped(handler, refused, a=Budget(queries_per_hour=1))(request)
    assert type(answer) is Ticket
    assert handler.seen[0] is request is answer.request


def test_one_over_the_budget_is_refused_counted_and_told_when(refused):
    handler, clock = Answering(), ManualClock(59.5)
    door = wrapped(handler, refused, clock, a=Budget(queries_per_hour=2))
    door(ask("a"))
    door(ask("a"))
    with pytest.raises(
        BudgetSpent, match=r"tenant 'a' has used 2 of 2 queries in an hour, .* in 3601 s"
    ) as caught:
        door(ask("a", "m", "3"))
    assert (refused, caught.value.retry_after) == ([("m", "3", "budget")], 3601)
    assert len(handler.seen) == 2
    door(ask("b"))
    clock.advance(caught.value.retry_after)
    door(ask("a"))
    assert len(handler.seen) == 4


def test_what_is_refused_for_another_reason_costs_nothing(refused):
    handler = Answering()
    door = wrapped(handler, refused, **{"*": Budget(queries_per_hour=1)})
    handler.raises = InvalidRequest("no")
    for _ in range(5):
        with pytest.raises(InvalidRequest):
            door(ask("a"))
    handler.raises = None
    door(ask("a"))
    with pytest.raises(BudgetSpent):
        door(ask("a"))
    assert refused == [("m", "", "budget")]


def test_who_names_no_tenant_has_the_budget_of_everybody(refused):
    door = wrapped(Answering(), refused, **{"*": Budget(queries_per_hour=1)})
    door(ask())
    with pytest.raises(BudgetSpent, match="requests without a tenant have used 1 of 1 queries"):
        door(ask())
