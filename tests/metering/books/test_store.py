"""The books: what is written is read again, in whatever pieces it came."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.core.account import Account, Payer
from penstock.metering.bill import bill
from penstock.metering.books.faults import BooksFailed
from penstock.metering.books.reading import Spent
from penstock.metering.books.store import MOST_EVENTS, Books
from penstock.metering.charges import Used
from penstock.metering.energy.probe import Joules
from penstock.metering.entry import Entry
from penstock.metering.events import Event
from tests.metering.books.spans import DIGITS, WORDS, span, took, used

NOON = 1_793_534_400.0
"""2026-11-01 12:00 UTC."""


@pytest.fixture(params=["file", "memory"])
def books(request, tmp_path):
    opened = Books.open(tmp_path / "state" / "books.sqlite" if request.param == "file" else None, "here")
    yield opened
    opened.close()


def test_a_span_is_read_as_it_was_written(books):
    books.write([span(NOON, used(), used(WORDS, gpu_money=1.0, gpu_joules=Joules(1, 2, 3)))])
    told = took(4.0)
    (entry,) = books.read(NOON, NOON + 60)
    assert entry == Entry(
        NOON,
        NOON + 60,
        "here",
        told,
        (used(), used(WORDS, gpu_money=1.0, gpu_joules=Joules(1, 2, 3))),
    )


def test_spans_add_up_by_payer_whatever_their_minute(books):
    books.write([span(NOON + 5 * at, used()) for at in range(30)])
    books.write([span(NOON + 150, used(), used(WORDS))])
    (entry,) = books.read(NOON, NOON + 3600)
    assert (entry.start, entry.end) == (NOON, NOON + 180)
    assert entry.took.seconds == 31 * 5.0
    assert entry.took.cpu_busy == 64.0
    assert {each.payer: each.account.queries for each in entry.used} == {DIGITS: 124, WORDS: 4}
    assert entry.used[0].cpu_joules == Joules(62.0, 124.0, 248.0)


def test_what_is_not_known_stays_so_and_takes_nothing_from_what_is(books):
    blank = {"cpu_money": None, "cpu_joules": None}
    books.write([span(NOON, used(**blank), **blank, grams=None, embodied=None)])
    (entry,) = books.read(NOON, NOON + 1)
    assert entry.used[0].cpu_money is entry.used[0].cpu_joules is None
    assert entry.took.cpu_money is entry.took.grams is entry.took.embodied is None
    books.write([span(NOON, used())])
    (entry,) = books.read(NOON, NOON + 1)
    assert entry.used[0].cpu_money == 2 / 64
    assert entry.took.grams == 0.125
    assert entry.took.gpu_money is None


def test_methods_are_joined_and_currencies_kept_apart(books):
    books.write(
        [
            span(NOON, used(), methods=frozenset({"rapl", "nvml"})),
            span(NOON + 5, used()),
            span(NOON + 10, used(), currency="EUR"),
        ]
    )
    euro, dollar = sorted(books.read(NOON, NOON + 60), key=lambda entry: entry.took.currency)
    assert dollar.took.methods == {"rapl", "nvml", "estimate"}
    assert dollar.took.cpu_money == 20 / 64
    assert (euro.took.currency, euro.took.cpu_money) == ("EUR", 10 / 64)
    assert bill([euro, dollar], ["model"], NOON, NOON + 60).machine.money is None


def test_a_time_has_every_bucket_that_it_touches(books):
    books.write([span(NOON + 60 * minute, used()) for minute in range(5)])
    (entry,) = books.read(NOON + 61, NOON + 121)
    assert (entry.start, entry.end) == (NOON + 60, NOON + 180)
    assert books.read(NOON + 300, NOON + 600) == []
    assert books.read(NOON - 60, NOON) == []


def test_a_clock_that_is_set_back_only_moves_what_comes_later(books):
    books.write([span(NOON, used())])
    books.write([span(NOON - 86_400, used())])
    assert sum(entry.took.seconds for entry in books.read(NOON - 90_000, NOON + 1)) == 10.0


def test_a_clock_before_the_epoch_does_no_harm(books):
    books.write([span(-1.5, used())])
    assert books.read(-100, 100)[0].start == -60


def test_odd_names_are_kept_readable(books):
    books.write([span(NOON, used(Payer("digits", "1", "\udc80x")), used(Payer("digits", "1", "ü'; --")))])
    assert [each.payer.tenant for each in books.read(NOON, NOON + 1)[0].used] == ["\\udc80x", "ü'; --"]


def test_what_befell_a_model_with_an_odd_name_keeps_nobody_from_the_books(tmp_path):
    odd = Payer("caf\udce9", "1", "")
    books = Books.open(tmp_path / "books.db", "site-\udcff")
    books.write([span(NOON, used(odd))], [Event(NOON, *odd[:2], "loaded")])
    assert books.events(odd.model) == [Event(NOON, "caf\\udce9", "1", "loaded")]
    (point,) = books.series(odd.model, NOON, NOON + 60, 60)
    assert point.account.queries == 4
    books.close()


def test_what_cannot_be_written_at_all_is_said_as_any_other_failure(books):
    with pytest.raises(BooksFailed, match="too large"):
        books.write([span(NOON, Used(DIGITS, Account(received=2**63)))])


def test_books_stay_across_restarts_and_keep_other_sites(tmp_path):
    path = tmp_path / "books.sqlite"
    for site in ("here", "there"):
        books = Books.open(path, site)
        books.write([span(NOON, used())], [Event(NOON, "digits", "1", "loaded")])
        books.close()
    books = Books.open(path, "here")
    assert sorted(entry.site for entry in books.read(NOON, NOON + 1)) == ["here", "there"]
    assert len(books.events("digits")) == 2
    assert len(books.recent(NOON + 5)) == 1
    books.close()


def test_recent_spending_is_told_by_tenant_and_minute(books):
    books.write([span(NOON - 4000, used()), span(NOON - 70, used(), used(Payer("digits", "2", "shop")))])
    books.write([span(NOON - 5, used(WORDS, cpu_money=None, gpu_joules=Joules(1, 1, 1)))])
    assert books.recent(NOON) == [
        Spent(int(NOON) - 120, "shop", "USD", 8, 4 / 64, 8.0),
        Spent(int(NOON) - 60, "", "USD", 4, None, 5.0),
    ]


def test_events_are_told_by_model_the_newest_that_fit(books):
    told = [Event(NOON + at, "digits", "1", "restarted", f"number {at}") for at in range(5)]
    books.write([], [*told[:3], Event(NOON, "words", "1", "loaded")])
    books.write([], told[3:])
    assert books.events("digits") == told
    assert books.events("digits", since=NOON + 2, limit=2) == told[3:]
    assert books.events("nobody") == []


def test_only_the_newest_events_are_kept(books):
    books.write([], [Event(NOON + at, "digits", "1", "loaded") for at in range(MOST_EVENTS + 5)])
    kept = books.events("digits", limit=MOST_EVENTS + 10)
    assert len(kept) == MOST_EVENTS
    assert kept[0].at == NOON + 5


def test_a_series_has_a_point_for_each_piece(books):
    books.write([span(NOON, used(), used(WORDS, 6.0)), span(NOON + 5, used(Payer("digits", "2", "")))])
    books.write([span(NOON + 60, used(WORDS))])
    books.write([span(NOON + 3600, used(cpu=8.0))])
    first, second, third = books.series("digits", NOON, NOON + 7200, 60)
    assert [point.start for point in (first, second, third)] == [NOON, NOON + 60, NOON + 3600]
    assert (first.width, first.seconds, first.account.queries) == (60.0, 10.0, 8)
    assert first.queries == {"1": 4, "2": 4}
    assert first.full.money == pytest.approx(20 / 64 * 4 / 10)
    assert first.marginal.money == pytest.approx(4 / 64)
    assert (second.account.queries, second.full.money, second.seconds) == (0, None, 5.0)
    assert third.full.joules == Joules(10.0, 20.0, 40.0)
    assert [point.start for point in books.series("digits", NOON, NOON + 7200, 3600)] == [NOON, NOON + 3600]


def test_books_in_memory_grow_coarser_sooner(books):
    books.write([span(NOON + minute * 60, used()) for minute in range(60)])
    while books.age(NOON + 5 * 3600):
        pass
    widths = {point.width for point in books.series("digits", NOON, NOON + 7200, 60)}
    assert widths == {3600.0 if books.path is None else 60.0}
    assert books.recent(NOON + 3600 * 5) == []
    assert books.read(NOON, NOON + 3600)[0].took.seconds == 300.0


def test_threads_take_turns(books):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: books.write([span(NOON + at, used())]), range(200)))
    assert books.read(NOON, NOON + 200)[0].took.seconds == 1000.0


def test_the_event_loop_writes_through_a_thread(books):
    asyncio.run(asyncio.to_thread(books.write, [span(NOON, used())]))
    assert len(books.read(NOON, NOON + 1)) == 1


def test_closed_books_say_so(books):
    books.close()
    books.close()
    with pytest.raises(BooksFailed, match="the books are closed"):
        books.write([])
