"""A model's past: what is in memory and what the books keep, once each and in order."""

import msgspec
import pytest

from penstock.core.account import Account
from penstock.metering.amount import Amount
from penstock.metering.books.series import Point
from penstock.metering.energy.probe import Joules
from penstock.metering.events import Event
from tests.dashboard import schema
from tests.dashboard.looking import looking

OLD = Event(100.0, "echo", "1", "live", "")
PIECES = [
    Point(start=0.0, width=3600.0, seconds=3600.0, account=Account(queries=7), marginal=Amount(),
          full=Amount(money=0.5, joules=Joules(1, 2, 3)), currency="EUR", queries={"1": 7}),
    Point(start=3600.0, width=3600.0, seconds=5.0, account=Account(), marginal=Amount(), full=Amount(),
          currency="", queries={}),
]  # fmt: skip


class Kept:
    """Books with one event and two hours in them, which also hold what was noted since."""

    def __init__(self):
        self.asked = []
        self.also = []

    async def __call__(self, model, since, until, width):
        self.asked.append((model, until - since, width))
        return ([OLD, *self.also], PIECES) if model == "echo" else ([], [])


@pytest.fixture
def kept():
    return Kept()


def history(page, model="echo", since="24h"):
    answer = page.get(f"/penstock/history/{model}?since={since}")
    return answer.status_code, answer.json()


def test_memory_and_books_are_one_past_in_the_contracts_words(kept):
    with looking(books=kept) as page:
        page.own.call(page.ledger.events.note, "echo", "2", "loaded", "in 1 s")
        page.own.call(page.ledger.events.note, "other", "1", "loaded")
        kept.also = page.ledger.events.of("echo")
        status, told = history(page)
        assert status == 200
        msgspec.convert(told, schema.History)
        assert [(event["version"], event["what"], event["detail"]) for event in told["events"]] == [
            ("1", "live", ""),
            ("2", "loaded", "in 1 s"),
        ]
        assert told["series"] == [
            {"start": 0.0, "seconds": 3600.0, "queries": 7, "cost_full": 0.5, "joules": 2},
            {"start": 3600.0, "seconds": 3600.0, "queries": 0, "cost_full": None, "joules": None},
        ]


def test_a_short_past_comes_in_minutes_and_a_long_one_in_hours(kept):
    with looking(books=kept) as page:
        for since in ("30m", "2h", "24h", "30d"):
            assert history(page, since=since)[0] == 200
    assert [(round(length), width) for _, length, width in kept.asked] == [
        (1800, 60), (7200, 60), (86400, 3600), (2592000, 3600),
    ]  # fmt: skip


def test_without_books_there_is_memory_alone():
    with looking() as page:
        assert history(page) == (200, {"events": [], "series": []})
        page.own.call(page.ledger.events.note, "gone", "1", "unloaded")
        status, told = history(page, "gone")
        assert (status, [event["what"] for event in told["events"]]) == (200, ["unloaded"])


def test_a_model_of_which_nothing_is_known_is_an_error_and_so_is_a_time_that_is_none():
    with looking() as page:
        status, told = history(page, "nowhere")
        assert (status, told) == (404, {"error": "no model 'nowhere'; have broken, echo"})
        assert history(page, since="soon")[0] == 400
