"""The books: what was used and what it cost, kept in SQLite across restarts."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from penstock.core.database.layout import text, transaction
from penstock.core.database.opened import Database
from penstock.metering.books import ageing, reading
from penstock.metering.books.reading import Spent
from penstock.metering.books.schema import BOOKS
from penstock.metering.books.series import Point, points
from penstock.metering.books.tables import HOUR, MACHINE, USAGE, machine_row, usage_rows
from penstock.metering.charges import Span
from penstock.metering.entry import Entry
from penstock.metering.events import Event

MOST_EVENTS = 10_000


class Books:
    """Of one server; each method blocks, and any thread may call, one at a time.

    All raise BooksFailed where the file cannot be written or read now: what a call would have written is not
    there then, and the same call may be made again.
    A file that is found to be damaged is moved aside and a new one begun.
    """

    def __init__(self, database: Database, site: str) -> None:
        self.path = database.path
        self.site = text(site)
        self._database = database
        self._do = database.do

    @classmethod
    def open(cls, path: Path | None, site: str) -> Self:
        """Made where there is none, its folder too; None: in memory.

        Raises BooksBusy where another server has the file open, and BadSetting where it cannot be used.
        """
        return cls(Database.open(path, BOOKS), site)

    def write(self, spans: Sequence[Span], events: Sequence[Event] = ()) -> None:
        """Add to the minutes in which the spans began; all of it or nothing."""
        usage = [row for span in spans for row in usage_rows(span, self.site)]
        machine = [machine_row(span, self.site) for span in spans]
        befell = [
            (event.at, text(event.model), text(event.version), event.what, text(event.detail))
            for event in events
        ]

        def work(books: sqlite3.Connection) -> None:
            with transaction(books):
                books.executemany(USAGE.upsert, usage)
                books.executemany(MACHINE.upsert, machine)
                if befell:
                    books.executemany(_NEW_EVENT, befell)
                    books.execute(_OLD_EVENTS, (MOST_EVENTS,))

        self._do(work)

    def read(self, since: float, until: float) -> list[Entry]:
        """Sums for each site and currency, of every minute, hour or day that lies in it, if only in part."""
        return self._do(lambda books: reading.whole(books, since, until))

    def series(self, model: str, since: float, until: float, width: int) -> list[Point]:
        """One model in pieces of ``width`` seconds (minutes, hours or days), the earliest first."""
        model = text(model)
        return points(self._do(lambda books: reading.pieces(books, since, until, width, model)), model, width)

    def events(self, model: str, since: float = 0.0, limit: int = 1000) -> list[Event]:
        """The newest of a model's from then on, the earliest first."""
        return self._do(lambda books: reading.events(books, text(model), since, limit))

    def recent(self, now: float) -> list[Spent]:
        """What each tenant spent here in each minute of the last hour."""
        return self._do(lambda books: reading.spent(books, self.site, now - HOUR, now))

    def age(self, now: float, steps: int = 4) -> bool:
        """Make at most so many hours or days coarser; True where more may be left.

        To be called every minute or so; others get their turn between the steps.
        """
        folds = ageing.IN_MEMORY if self.path is None else ageing.FOLDS
        return all(self._do(lambda books: ageing.step(books, now, folds)) for _ in range(steps))

    def close(self) -> None:
        """Give the file back; the second time does nothing."""
        self._database.close()


_NEW_EVENT = "INSERT INTO events (at, model, version, what, detail) VALUES (?, ?, ?, ?, ?)"
_OLD_EVENTS = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"
