"""How the books grow coarser: the sums stay."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.account import Account, Payer
from penstock.metering.books.store import Books
from penstock.metering.charges import Span, Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.entry import joined
from tests.metering.books.spans import span, used

HOUR, DAY = 3600, 86_400
NOW = 1_793_534_400.0 + 10 * HOUR + 1234.5


@pytest.fixture
def books(tmp_path):
    opened = Books.open(tmp_path / "books.db", "here")
    yield opened
    opened.close()


def aged(books, now: float = NOW) -> None:
    while books.age(now):
        pass


starts = [NOW - back for back in (60, 47 * HOUR, 50 * HOUR, 59 * DAY, 62 * DAY, 4 * 365 * DAY)]


def test_minutes_become_hours_after_two_days_and_days_after_sixty(books):
    books.write([span(at, used()) for at in starts])
    aged(books)
    assert [books.series("digits", at, at + 1, 60)[0].width for at in starts] == [
        *(60, 60, HOUR, HOUR, DAY, DAY),
    ]
    assert sum(entry.took.seconds for entry in books.read(0, NOW)) == 30.0


def test_days_go_after_five_years(books):
    books.write([span(NOW - 5 * 366 * DAY - 2 * DAY, used()), span(NOW - 5 * 365 * DAY, used())])
    aged(books)
    assert sum(entry.took.seconds for entry in books.read(0, NOW)) == 5.0


def test_only_whole_hours_are_folded(books):
    at = (NOW - 48 * HOUR) // HOUR * HOUR
    books.write([span(at - 60, used()), span(at, used())])
    aged(books)
    assert [books.series("digits", start, start + 1, 60)[0].width for start in (at - 60, at)] == [HOUR, 60]


def test_ageing_goes_in_bounded_steps(books):
    books.write([span(NOW - 50 * HOUR - at * HOUR, used()) for at in range(10)])
    assert books.age(NOW, steps=4)
    assert books.age(NOW, steps=4)
    assert not books.age(NOW, steps=4)
    assert not books.age(NOW)


def test_what_comes_late_is_added_to_what_was_folded(books):
    at = NOW - 50 * HOUR
    for _ in range(2):
        books.write([span(at, used())])
        aged(books)
    (point,) = books.series("digits", at, at + 1, 60)
    assert (point.width, point.seconds, point.account.queries) == (HOUR, 10.0, 8)


def test_a_clock_that_is_set_back_folds_nothing_anew(books):
    books.write([span(at, used()) for at in starts])
    aged(books)
    aged(books, NOW - 30 * DAY)
    assert sum(entry.took.seconds for entry in books.read(0, NOW)) == 30.0


# Sixteenths are exact in any order.
exact = st.integers(0, 1000).map(lambda number: number / 16)
known = st.one_of(st.none(), exact)
bands = st.one_of(st.none(), exact.map(lambda mid: Joules(mid / 2, mid, mid * 2)))
payers = st.builds(Payer, st.sampled_from("ab"), st.sampled_from("12"), st.sampled_from(["", "shop"]))
accounts = st.builds(
    Account,
    *(st.integers(0, 1000), st.integers(0, 1000), exact, exact, exact),
    *(st.integers(0, 10**12), st.integers(0, 10**12)),
)
users = st.builds(Used, payers, accounts, known, known, bands, bands)
machines = st.builds(
    Took,
    **dict.fromkeys(["seconds", "cpu_capacity", "gpu_capacity", "cpu_busy", "gpu_busy"], exact),
    **dict.fromkeys(["priced", "metered"], exact),
    **dict.fromkeys(["cpu_money", "gpu_money", "grams", "embodied"], known),
    **dict.fromkeys(["cpu_joules", "gpu_joules"], bands),
    currency=st.just("USD"),
    methods=st.sets(st.sampled_from(["rapl", "nvml", "estimate"])).map(frozenset),
)
times = st.floats(0, 4 * 365 * DAY).map(lambda back: NOW - back)
spans = st.builds(
    Span, times, machines, st.lists(users, max_size=3, unique_by=lambda use: use.payer).map(tuple)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(spans, max_size=8))
def test_ageing_changes_no_sum(given_spans):
    books = Books.open(None, "here")
    books.write(given_spans)
    before = read(books)
    aged(books)
    assert read(books) == before
    books.close()


def read(books):
    """All sums, as exact numbers."""
    entry = joined(books.read(0, NOW + DAY)).get("here")
    if entry is None:
        return None
    assert Fraction(entry.took.seconds) * 16 % 1 == 0
    return entry.took, sorted(entry.used, key=lambda use: use.payer)
