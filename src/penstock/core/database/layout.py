"""What a database of ours holds: whose it is, its schema, and how an older file is brought up to date."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.errors import BadSetting, Failed

Migration: TypeAlias = Sequence[str]
"""Statements that bring a file from one version to the next."""


class Layout(Struct, frozen=True, kw_only=True):
    """One kind of file, and the words for it in errors and logs."""

    what: str
    """In the plural, ``books``."""
    mark: int
    """SQLite's ``application_id``."""
    migrations: Sequence[Migration]
    setting: str
    """What names the file; ``none`` there is a database in memory."""
    log: str
    """Logger."""
    busy: type[BadSetting]
    """Another server has the file open."""
    failed: type[Failed]
    """It cannot be read or written now."""
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """``FULL``: what was written is there even after a power cut; costs a flush each time."""


def migrate(file: sqlite3.Connection, name: str, layout: Layout) -> None:
    """Bring a file up to date, all of it or nothing; changes nothing where it raises.

    Raises BadSetting where the file is another program's, or a newer version of ours wrote it.
    """
    if _pragma(file, "application_id") != layout.mark and _tables(file):
        raise BadSetting(f"{name} is a database of another program; name another file with {layout.setting}")
    version, newest = _pragma(file, "user_version"), len(layout.migrations)
    if version > newest:
        raise BadSetting(
            f"{name} was written by a newer Penstock (version {version} of the {layout.what}, this one knows "
            f"{newest}); upgrade Penstock, or name another file with {layout.setting}"
        )
    if version < newest:
        with transaction(file):
            for statement in (each for migration in layout.migrations[version:] for each in migration):
                file.execute(statement)
            file.execute(f"PRAGMA user_version = {newest}")
            file.execute(f"PRAGMA application_id = {layout.mark}")


@contextmanager
def transaction(file: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, and nobody else writes meanwhile."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors.
        if file.in_transaction:
            file.execute("ROLLBACK")
        raise


def text(words: str) -> str:
    """Such that SQLite can hold it: callers may send anything as a name."""
    return words if words.isascii() else words.encode(errors="backslashreplace").decode()


def _pragma(file: sqlite3.Connection, name: str) -> int:
    (value,) = file.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _tables(file: sqlite3.Connection) -> bool:
    return file.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
