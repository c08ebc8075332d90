"""How the books grow coarser: minutes become hours and hours days, with the same sums, and old days go.

48 hours of minutes, 60 days of hours and 5 years of days are kept, in whole hours and days of UTC.
"""

# ruff: noqa: S608 - names and expressions are our own, never a caller's

import sqlite3
from typing import TypeAlias

from penstock.core.database.layout import transaction
from penstock.metering.books.tables import DAY, HOUR, MACHINE, MINUTE, USAGE, Table

FOLDS = ((MINUTE, HOUR, 48 * HOUR), (HOUR, DAY, 60 * DAY))
"""What becomes what, and after how many seconds."""
IN_MEMORY = ((MINUTE, HOUR, 3 * HOUR), (HOUR, DAY, 7 * DAY))
"""The same without a file: two days of minutes of 2,000 payers would be 700 MB."""
Folds: TypeAlias = tuple[tuple[int, int, int], ...]
KEPT = 5 * 366 * DAY


def step(books: sqlite3.Connection, now: float, folds: Folds = FOLDS) -> bool:
    """Fold the oldest hour or day, or let the oldest day go; False where nothing is old enough.

    One transaction.
    """
    for narrow, wide, after in folds:
        oldest = _oldest(books, narrow)
        if oldest is not None and oldest // wide * wide + wide <= now - after:
            _fold(books, narrow, wide, oldest // wide * wide)
            return True
    oldest = _oldest(books, DAY)
    if oldest is None or oldest + DAY > now - KEPT:
        return False
    with transaction(books):
        for table in (USAGE, MACHINE):
            _delete(books, table, DAY, oldest, oldest + DAY)
    return True


def _oldest(books: sqlite3.Connection, width: int) -> int | None:
    found = [
        books.execute(f"SELECT min(start) FROM {table.name} WHERE width = ?", (width,)).fetchone()[0]
        for table in (USAGE, MACHINE)
    ]
    return min((start for start in found if start is not None), default=None)


def _fold(books: sqlite3.Connection, narrow: int, wide: int, start: int) -> None:
    with transaction(books):
        for table in (USAGE, MACHINE):
            rest = ", ".join(table.keys[2:])
            # Some of it may have been folded before, and more have come since: a clock that was set back.
            books.execute(
                f"{table.insert} SELECT ?, ?, {rest}, {table.totals} FROM {table.name} "
                f"WHERE width = ? AND start >= ? AND start < ? GROUP BY {rest} {table.add}",
                (wide, start, narrow, start, start + wide),
            )
            _delete(books, table, narrow, start, start + wide)


def _delete(books: sqlite3.Connection, table: Table, width: int, since: int, until: int) -> None:
    books.execute(
        f"DELETE FROM {table.name} WHERE width = ? AND start >= ? AND start < ?", (width, since, until)
    )
