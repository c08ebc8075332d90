"""Faults of the file: taken, damaged, full, cut off, not to be written; nothing is lost without a word."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.metering.books.faults import BooksBusy, BooksFailed
from penstock.metering.books.store import Books
from tests.metering.books.spans import span, used
from tests.room import no_room

NOON = 1_793_534_400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "books.sqlite"


def spanned(books: Books) -> float:
    return sum(entry.took.seconds for entry in books.read(0, 2 * NOON))


def filled(path: Path, minutes: int) -> None:
    books = Books.open(path, "here")
    books.write([span(NOON + 60 * at, used()) for at in range(minutes)])
    books.close()


def asides(path: Path) -> list[str]:
    return [each.name for each in path.parent.glob("*.corrupt-*")]


def test_a_second_server_is_told_that_the_file_is_taken(path):
    books = Books.open(path, "here")
    with pytest.raises(BooksBusy, match=r"another server keeps its books in .*books\.sqlite; give each"):
        Books.open(path, "there")
    books.close()
    Books.open(path, "there").close()


def test_a_name_that_leads_to_the_same_file_is_as_taken(path, tmp_path):
    (tmp_path / "other.sqlite").symlink_to(path)
    books = Books.open(path, "here")
    with pytest.raises(BooksBusy):
        Books.open(tmp_path / "other.sqlite", "here")
    books.close()


def test_the_file_keeps_a_write_ahead_log(path):
    books = Books.open(path, "here")
    books.write([span(NOON, used())])
    assert path.with_name("books.sqlite-wal").stat().st_size
    books.close()
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


@pytest.mark.parametrize("size", [50, 4096, 100_000])
def test_garbage_is_moved_aside_and_new_books_begun(path, size, caplog):
    garbage = bytes(range(1, 256)) * (size // 255 + 1)
    path.write_bytes(garbage[:size])
    with caplog.at_level(logging.ERROR):
        books = Books.open(path, "here")
    books.write([span(NOON, used())])
    assert spanned(books) == 5.0
    books.close()
    (aside,) = asides(path)
    assert path.with_name(aside).read_bytes() == garbage[:size]
    assert aside in caplog.text


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_moved_aside(path, part):
    filled(path, 600)
    os.truncate(path, int(path.stat().st_size * part))
    books = Books.open(path, "here")
    books.write([span(NOON, used())])
    assert spanned(books) == 5.0
    books.close()
    assert len(asides(path)) == 1


def test_damage_within_a_file_is_found_at_the_start(path):
    filled(path, 600)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 40_000)
    Books.open(path, "here").close()
    assert len(asides(path)) == 1


def test_damage_while_the_books_are_open_is_met_the_same_way(path, monkeypatch, caplog):
    monkeypatch.setattr("penstock.core.database.file.CHECKED", 0)
    filled(path, 600)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    books = Books.open(path, "here")
    assert asides(path) == []
    books.write([span(NOON, used())])
    assert spanned(books) == 5.0
    books.close()
    assert len(asides(path)) == 1
    assert "are damaged" in caplog.text


def test_every_damaged_file_is_kept(path):
    for _ in range(3):
        path.write_bytes(b"not a database" * 100)
        Books.open(path, "here").close()
    assert len(asides(path)) == 3


def test_an_empty_file_is_new_books(path):
    path.touch()
    Books.open(path, "here").close()
    assert asides(path) == []


def test_the_database_of_another_program_is_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(BadSetting, match="is a database of another program; name another file"):
        Books.open(path, "here")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # root
        folder = Path("/sys/kernel")
    with pytest.raises(BadSetting, match=r"books\.sqlite cannot hold the books: .*; name another file"):
        Books.open(folder / "books.sqlite", "here")


def test_a_folder_in_the_place_of_the_file_is_named(path):
    path.mkdir()
    with pytest.raises(BadSetting, match="cannot hold the books"):
        Books.open(path, "here")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(BadSetting, match="cannot hold the books"):
        Books.open(tmp_path / "state" / "books.sqlite", "here")


def test_what_a_full_disk_has_no_room_for_can_be_written_later(path):
    books = Books.open(path, "here")
    books.write([span(NOON, used())])
    more = [span(NOON + 60 * at, used()) for at in range(1, 2000)]
    with (
        no_room(path.with_name("books.sqlite-wal").stat().st_size),
        pytest.raises(BooksFailed, match=r"the books in .*books\.sqlite: "),
    ):
        books.write(more)
    assert spanned(books) == 5.0
    books.write(more)
    assert spanned(books) == 10_000.0
    books.close()
    assert asides(path) == []


def test_a_file_that_was_deleted_is_begun_anew(path, caplog):
    books = Books.open(path, "here")
    books.write([span(NOON, used())])
    path.unlink()
    books.write([span(NOON, used())])
    books.close()
    assert "have gone: new ones begun" in caplog.text
    books = Books.open(path, "here")
    assert spanned(books) == 5.0
    books.close()


def test_another_program_that_writes_too_long_is_waited_for_then_named(path, monkeypatch):
    monkeypatch.setattr("penstock.core.database.file.PATIENCE", 0.05)
    books = Books.open(path, "here")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BooksFailed, match="database is locked"):
        books.write([span(NOON, used())])
    other.execute("ROLLBACK")
    other.close()
    books.write([span(NOON, used())])
    assert spanned(books) == 5.0
    books.close()


WRITER = """
import sys
from pathlib import Path
from penstock.core.account import Payer
from penstock.metering.books.store import Books
from tests.metering.books.spans import span, used
from tests.room import no_room

books = Books.open(Path(sys.argv[1]), "here")
users = [used(Payer("digits", str(at), "shop"), cpu=1.0) for at in range(50)]
print("open", flush=True)
at = 0
while True:
    books.write([span(1_793_534_400.0 + at, *users)])
    at += 5
"""


def test_after_a_kill_a_span_is_there_whole_or_not_at_all(path):
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as writer:
            assert writer.stdout.readline() == b"open\n"
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(0.1)
            writer.send_signal(signal.SIGKILL)
        books = Books.open(path, "here")
        (entry,) = books.read(0, 2 * NOON)
        books.close()
        assert entry.took.cpu_busy == sum(each.account.cpu for each in entry.used) > 0
        assert {each.account.cpu for each in entry.used} == {entry.took.seconds / 5}
    assert asides(path) == []
