"""What waits to be written: folded, never lost."""

from penstock.core.account import Payer
from penstock.metering.books.backlog import Backlog
from penstock.metering.books.store import Books
from tests.metering.books.spans import span, used


def seconds(spans) -> float:
    return sum(each.took.seconds for each in spans)


def test_spans_are_folded_into_minutes():
    backlog = Backlog()
    backlog.add([span(5.0 * at, used()) for at in range(24)])
    assert len(backlog) == 2
    first, second = backlog.take()
    assert (first.start, second.start) == (0.0, 60.0)
    assert first.took.seconds == 60.0
    assert first.used[0].account.queries == 48
    assert backlog.take() == []


def test_currencies_are_kept_apart():
    backlog = Backlog()
    backlog.add([span(0.0, used()), span(5.0, used(), currency="EUR")])
    assert sorted(each.took.currency for each in backlog.take()) == ["EUR", "USD"]


def test_a_long_failure_is_folded_into_hours_then_days():
    backlog = Backlog(most=60)
    users = [used(Payer("digits", "1", str(at))) for at in range(10)]
    for minute in range(2 * 24 * 60):
        backlog.add([span(60.0 * minute, *users)])
    assert len(backlog) == 2
    days = backlog.take()
    assert [each.start for each in days] == [0.0, 86_400.0]
    assert seconds(days) == 2 * 24 * 60 * 5.0


def test_minutes_are_kept_again_after_all_was_taken():
    backlog = Backlog(most=2)
    backlog.add([span(60.0 * at, used()) for at in range(10)])
    assert len(backlog.take()) == 1
    backlog.add([span(0.0, used())])
    assert len(backlog) == 1


def test_the_books_get_the_same_sums_late():
    spans = [span(5.0 * at, used(), used(Payer("words", "1", ""))) for at in range(100)]
    backlog, late, early = Backlog(), Books.open(None, "here"), Books.open(None, "here")
    backlog.add(spans)
    late.write(backlog.take())
    early.write(spans)
    assert late.read(0, 1000) == early.read(0, 1000)
    late.close()
    early.close()
