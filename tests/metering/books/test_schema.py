"""Versions of the file: older ones are brought up to date, newer ones refused."""

import sqlite3

import pytest
from msgspec.structs import replace

from penstock.core.database.layout import migrate
from penstock.core.errors import BadSetting
from penstock.metering.books.schema import BOOKS, MIGRATIONS
from penstock.metering.books.store import Books
from penstock.metering.books.tables import MACHINE, USAGE
from tests.metering.books.spans import span, used

MORE = ("ALTER TABLE machine ADD COLUMN water REAL", "CREATE TABLE more (what TEXT)")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "books.sqlite"
    books = Books.open(path, "here")
    books.write([span(0.0, used())])
    books.close()
    return path


@pytest.fixture
def file(path):
    file = sqlite3.connect(path, isolation_level=None)
    yield file
    file.close()


def later(migration):
    """The books of a version to come."""
    return replace(BOOKS, migrations=(*MIGRATIONS, migration))


def version(file) -> int:
    return file.execute("PRAGMA user_version").fetchone()[0]


def test_an_older_file_is_brought_up_to_date_with_what_is_in_it(file):
    migrate(file, "books", later(MORE))
    assert version(file) == len(MIGRATIONS) + 1
    assert file.execute("SELECT seconds, water FROM machine").fetchall() == [(5.0, None)]
    migrate(file, "books", later(MORE))


def test_a_migration_that_fails_changes_nothing(file):
    with pytest.raises(sqlite3.OperationalError):
        migrate(file, "books", later((*MORE, "no SQL")))
    assert version(file) == len(MIGRATIONS)
    migrate(file, "books", later(MORE))


def test_a_newer_file_is_refused_and_left_alone(path, file):
    file.execute("PRAGMA user_version = 99")
    with pytest.raises(BadSetting, match=r"newer Penstock \(version 99 of the books.*upgrade Penstock, or"):
        Books.open(path, "here")
    assert version(file) == 99
    assert file.execute("SELECT count(*) FROM usage").fetchone() == (1,)


@pytest.mark.parametrize("table", [USAGE, MACHINE])
def test_the_tables_have_the_columns_that_are_written(file, table):
    columns = [row[1] for row in file.execute(f"PRAGMA table_info({table.name})")]
    assert sorted(columns) == sorted((*table.keys, *table.sums))
