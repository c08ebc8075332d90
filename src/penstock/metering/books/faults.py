"""What can go wrong with the books, and which of it means that a file is damaged."""

import sqlite3

from penstock.core.errors import BadSetting, Failed

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class BooksBusy(BadSetting):
    """Another server keeps its books in this file."""


class BooksFailed(Failed):
    """They could not be written or read now, e.g. on a full disk; nothing of it was written."""


class Damaged(sqlite3.DatabaseError):
    """Found out by us rather than by SQLite."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def damaged(error: sqlite3.Error) -> bool:
    """The file is no database any more; its content is lost, and another one has to be begun."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED
