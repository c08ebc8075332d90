"""The history of requests outlives the server, and whatever befalls its file."""

import logging

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import NO_FILE, Metering
from penstock.scaling.series import Series
from penstock.scaling.store import MOST_DECISIONS, STARTS, Fresh, Known, Store, open_store, usual
from penstock.scaling.tables import HistoryBusy, HistoryFailed
from penstock.scaling.words import Told
from tests.room import no_room

NOW = 1_800_000_000.0
TOLD = Told(at=NOW, had=1, wanted=3, by="forecast", line="up to 30 expected → 3 instances")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models.scaling.db"


@pytest.fixture
def store(path):
    opened = Store.open(path)
    yield opened
    opened.close()


def start(at=0):
    return int(NOW) - 600 + at


def test_what_is_saved_is_read_again_by_the_next_server(path):
    first = Store.open(path)
    buckets = [(start(), 10, 25.0), (start(10), 10, 3.5), (start(), 300, 28.5)]
    first.save({"m": Fresh(buckets, [(NOW, 2.5)], [TOLD]), "other": Fresh([(start(), 10, 1.0)])}, NOW)
    first.close()
    again = Store.open(path)
    assert again.read("m") == Known(sorted(buckets), [2.5], [TOLD])
    assert again.read("nobody") == Known([], [], [])
    again.close()


def test_a_bucket_that_is_saved_twice_is_kept_once(store):
    for count in (5.0, 7.0, 7.0):
        store.save({"m": Fresh([(start(), 10, count)])}, NOW)
    assert store.read("m").buckets == [(start(), 10, 7.0)]


def test_what_is_old_goes(store):
    weeks = 7 * 86_400
    old = [
        (int(NOW) - 3 * weeks, 10, 1.0),
        (int(NOW) - 3 * weeks, 300, 2.0),
        (int(NOW) - 9 * weeks, 300, 3.0),
    ]
    told = [Told(at=NOW, had=1, wanted=at, by="floor", line="") for at in range(MOST_DECISIONS + 5)]
    store.save({"m": Fresh(old, [(NOW, float(at)) for at in range(STARTS + 5)], told)}, NOW)
    known = store.read("m", decisions=MOST_DECISIONS + 5)
    assert known.buckets == [(int(NOW) - 3 * weeks, 300, 2.0)]
    assert known.starts == [float(at) for at in range(5, STARTS + 5)]
    assert len(known.decisions) == MOST_DECISIONS
    assert known.decisions[0].wanted == MOST_DECISIONS + 4


def test_a_series_is_the_same_after_a_restart(store):
    series = Series()
    for second in range(7200):
        series.add(NOW + second, second % 7)
    end = NOW + 7200
    series.advance(end)
    store.save({"m": Fresh(series.buckets(0.0))}, end)
    again = Series()
    again.restore(store.read("m").buckets)
    again.advance(end)
    assert again.fine.last().tolist() == series.fine.last().tolist()
    assert again.coarse.last().tolist() == series.coarse.last().tolist()


def test_a_full_disk_is_told_of_and_nothing_is_half_written(path):
    store = Store.open(path)
    store.save({"m": Fresh([(start(), 10, 1.0)])}, NOW)
    many = Fresh([(start(at), 10, 1.0) for at in range(0, 500_000, 10)])
    with no_room(path.stat().st_size + 4096), pytest.raises(HistoryFailed, match="request histories"):
        store.save({"m": many}, NOW)
    assert store.read("m").buckets == [(start(), 10, 1.0)]
    store.save({"m": Fresh([(start(10), 10, 2.0)])}, NOW)
    assert len(store.read("m").buckets) == 2
    store.close()


def test_a_damaged_file_is_moved_aside(path, caplog):
    path.write_bytes(b"no database" * 1000)
    store = Store.open(path)
    assert store.read("m") == Known([], [], [])
    assert "moved to" in caplog.text
    store.close()


def test_a_second_server_keeps_its_own_in_memory(tmp_path, caplog):
    terms = Metering(file=str(tmp_path / "books.db"))
    first = open_store(terms, "models")
    with caplog.at_level(logging.WARNING):
        second = open_store(terms, "models")
    assert (first.path, second.path) == (tmp_path / "books.scaling.db", None)
    assert "another server keeps its request histories" in caplog.text
    with pytest.raises(HistoryBusy):
        Store.open(tmp_path / "books.scaling.db")
    first.close()
    second.close()


def test_a_named_place_that_is_none_is_an_error_and_none_is_memory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="cannot hold the request histories"):
        open_store(Metering(file=str(tmp_path / "file" / "books.db")), "models")
    assert usual(Metering(file=NO_FILE), "models") is None
