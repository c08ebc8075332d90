"""The schema of the books' file, and how an older one is brought up to date."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from penstock.core.errors import BadSetting

OURS = 0x50656E73
"""SQLite's ``application_id`` of our files: "Pens"."""

Migration: TypeAlias = Sequence[str]
"""Statements that bring a file from one version to the next."""

_TIME = "width INTEGER NOT NULL, start INTEGER NOT NULL, site TEXT NOT NULL, currency TEXT NOT NULL"
_SUMS = """cpu_money REAL, gpu_money REAL,
    cpu_low REAL, cpu_mid REAL, cpu_high REAL, gpu_low REAL, gpu_mid REAL, gpu_high REAL"""

MIGRATIONS: Sequence[Migration] = (
    (
        f"""CREATE TABLE usage (
            {_TIME}, model TEXT NOT NULL, version TEXT NOT NULL, tenant TEXT NOT NULL,
            queries INTEGER NOT NULL, rows INTEGER NOT NULL, queued REAL NOT NULL,
            cpu REAL NOT NULL, gpu REAL NOT NULL, received INTEGER NOT NULL, sent INTEGER NOT NULL, {_SUMS},
            PRIMARY KEY (width, start, site, currency, model, version, tenant)
        ) WITHOUT ROWID""",
        f"""CREATE TABLE machine (
            {_TIME}, methods TEXT NOT NULL,
            seconds REAL NOT NULL, cpu_capacity REAL NOT NULL, gpu_capacity REAL NOT NULL,
            cpu_busy REAL NOT NULL, gpu_busy REAL NOT NULL, priced REAL NOT NULL, metered REAL NOT NULL,
            {_SUMS}, grams REAL, embodied REAL,
            PRIMARY KEY (width, start, site, currency, methods)
        ) WITHOUT ROWID""",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, at REAL NOT NULL,
            model TEXT NOT NULL, version TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
        )""",
    ),
)


def migrate(books: sqlite3.Connection, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a file up to date, all of it or nothing; changes nothing where it raises.

    Raises BadSetting where the file is another program's, or a newer version of ours wrote it.
    """
    version = _pragma(books, "user_version")
    if version > len(migrations):
        raise BadSetting(
            f"{name} was written by a newer Penstock (version {version} of the books, this one knows "
            f"{len(migrations)}); upgrade Penstock, or name another file with `file` in [meter]"
        )
    if _pragma(books, "application_id") != OURS and _tables(books):
        raise BadSetting(f"{name} is a database of another program; name another file with `file` in [meter]")
    if version < len(migrations):
        with transaction(books):
            for statement in (each for migration in migrations[version:] for each in migration):
                books.execute(statement)
            books.execute(f"PRAGMA user_version = {len(migrations)}")
            books.execute(f"PRAGMA application_id = {OURS}")


@contextmanager
def transaction(books: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, and nobody else writes meanwhile."""
    books.execute("BEGIN IMMEDIATE")
    try:
        yield
        books.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors.
        if books.in_transaction:
            books.execute("ROLLBACK")
        raise


def _pragma(books: sqlite3.Connection, name: str) -> int:
    (value,) = books.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _tables(books: sqlite3.Connection) -> bool:
    return books.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
