"""The books and what waits for them: nothing is lost while they cannot be written."""

import logging
from pathlib import Path

import pytest

from penstock.core.account import Account, Payer
from penstock.core.errors import BadSetting
from penstock.core.terms import Metering
from penstock.metering.books.faults import BooksFailed
from penstock.metering.books.store import Books
from penstock.metering.charges import Span, Took, Used
from penstock.metering.events import Event
from penstock.metering.shelf import Shelf, open_shelf, usual

PAYER = Payer("m", "1", "shop")


def span(start, queries=1):
    took = Took(seconds=5.0, cpu_capacity=10.0, cpu_busy=1.0, cpu_money=0.5, currency="USD", priced=5.0)
    return Span(start, took, (Used(PAYER, Account(queries=queries, cpu=1.0), 0.05),))


class Refusing(Books):
    """Books whose disk is full for as long as ``full`` is set."""

    full = True

    def write(self, spans, events=()):
        if self.full:
            raise BooksFailed("database or disk is full")
        super().write(spans, events)


@pytest.fixture
def refusing():
    return Refusing.open(None, "local")


def queries(shelf, since=0.0, until=1e6):
    return sum(used.account.queries for entry in shelf.read(since, until) for used in entry.used)


def test_what_cannot_be_written_waits_and_is_on_the_bill_meanwhile(refusing, caplog):
    caplog.set_level(logging.INFO)
    shelf = Shelf(refusing)
    for at in range(30):
        shelf.put(span(at * 5.0), [Event(at * 5.0, "m", "1", "live")])
        shelf.save()
    assert queries(shelf) == 30
    assert shelf.unsaved > 0
    assert refusing.read(0, 1e6) == []
    refusing.full = False
    shelf.save()
    assert shelf.unsaved == 0
    assert queries(shelf) == 30
    assert len(refusing.events("m")) == 30
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "disk is full" in said[0]
    assert "nothing was lost" in said[1]


class Clinging(Books):
    """Books that write, and cannot make old entries coarser."""

    def age(self, now, steps=4):
        raise BooksFailed("database or disk is full")


def test_entries_that_cannot_be_aged_are_not_written_twice(monkeypatch):
    monkeypatch.setattr("penstock.metering.shelf._AGEING", 0.0)
    shelf = Shelf(Clinging.open(None, "local"))
    for at in range(3):
        shelf.put(span(at * 5.0), ())
        shelf.save()
    assert queries(shelf) == 3
    assert shelf.unsaved == 0


def test_what_was_put_and_not_saved_yet_is_on_the_bill():
    shelf = Shelf(Books.open(None, "local"))
    shelf.put(span(0.0, queries=4), ())
    assert queries(shelf) == 4
    shelf.save()
    assert queries(shelf) == 4


def test_books_that_cannot_be_read_have_no_history(tmp_path, caplog):
    shelf = open_shelf(Metering(file=str(tmp_path / "books.db")), "models")
    shelf.put(span(0.0), [Event(1.0, "m", "1", "live")])
    shelf.save()
    events, points = shelf.past("m", 0.0, 100.0, 60)
    assert [event.what for event in events] == ["live"]
    assert [point.account.queries for point in points] == [1]
    shelf.close()
    assert shelf.past("m", 0.0, 100.0, 60) == ([], [])
    assert "what is in memory" in caplog.text


def test_days_without_a_disk_stay_small(refusing):
    shelf = Shelf(refusing)
    for at in range(2000):
        shelf.put(span(at * 60.0), ())
        shelf.save()
    refusing.full = False
    shelf.save()
    assert queries(shelf) == 2000


def test_closing_saves_what_is_left(tmp_path):
    terms = Metering(file=str(tmp_path / "books.db"))
    shelf = open_shelf(terms, "models")
    shelf.put(span(0.0, queries=7), ())
    shelf.close()
    again = open_shelf(terms, "models")
    assert queries(again) == 7
    again.close()


def test_a_second_server_keeps_its_own_in_memory(tmp_path, caplog):
    terms = Metering(file=str(tmp_path / "books.db"))
    first, second = open_shelf(terms, "models"), open_shelf(terms, "models")
    assert "another server" in caplog.text
    second.put(span(0.0, queries=3), ())
    second.save()
    assert (queries(first), queries(second)) == (0, 3)
    second.close()
    first.close()


def test_a_file_that_the_settings_name_must_be_usable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match=r"books\.db"):
        open_shelf(Metering(file=str(tmp_path / "file" / "books.db")), "models")


def test_the_usual_place_need_not_be_usable(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    shelf = open_shelf(Metering(), "models")
    assert "kept in memory" in caplog.text
    shelf.close()


def test_each_repository_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = usual("a/models"), usual("b/models")
    assert one != other
    assert one.parent == other.parent == tmp_path / "penstock"
    assert Path(one).name.startswith("models-")


def test_none_keeps_nothing_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    shelf = open_shelf(Metering(file="none"), "models")
    shelf.put(span(0.0), ())
    shelf.save()
    assert queries(shelf) == 1
    shelf.close()
    assert list(tmp_path.iterdir()) == []
