"""The books: what was used and what it cost, kept in SQLite across restarts."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from threading import RLock
from typing import TypeVar

from penstock.core.errors import BadSetting
from penstock.metering.books import ageing, reading
from penstock.metering.books.faults import BooksFailed, damaged
from penstock.metering.books.file import connect, connect_memory, lock, move_aside
from penstock.metering.books.reading import Spent
from penstock.metering.books.schema import transaction
from penstock.metering.books.series import Point, points
from penstock.metering.books.tables import HOUR, MACHINE, USAGE, machine_row, text, usage_rows
from penstock.metering.charges import Span
from penstock.metering.entry import Entry
from penstock.metering.events import Event

MOST_EVENTS = 10_000

log = logging.getLogger("penstock.meter")

R = TypeVar("R")


class Books:
    """Of one server; each method blocks, and any thread may call, one at a time.

    All raise BooksFailed where the file cannot be written or read now: what a call would have written is not
    there then, and the same call may be made again.
    A file that is found to be damaged is moved aside and a new one begun.
    """

    def __init__(self, path: Path | None, site: str, held: BufferedWriter | None = None) -> None:
        """Rather use ``open``; ``held`` is the lock of the file."""
        self.path = path
        self.site = text(site)
        self._held = held
        self._books: sqlite3.Connection | None = None
        self._closed = False
        self._lock = RLock()

    @classmethod
    def open(cls, path: Path | None, site: str) -> "Books":
        """Made where there is none, its folder too; None: in memory.

        Raises BooksBusy where another server has the file open, and BadSetting where it cannot be used.
        """
        if path is not None:
            path = path.expanduser().resolve()
        books = cls(path, site, lock(path) if path is not None else None)
        try:
            books._connected()
        except BaseException:
            books.close()
            raise
        return books

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
        with self._lock:
            self._closed = True
            self._let_go()
            if self._held is not None:
                self._held.close()

    def _do(self, work: Callable[[sqlite3.Connection], R]) -> R:
        with self._lock:
            if self._closed:
                raise BooksFailed("the books are closed; open them again")
            try:
                try:
                    return work(self._connected())
                except sqlite3.DatabaseError as error:
                    if self.path is None or not damaged(error):
                        raise
                    self._let_go()
                    move_aside(self.path, error)
                    return work(self._connected())
            except (sqlite3.Error, OSError, BadSetting, OverflowError, UnicodeError) as error:
                raise BooksFailed(f"the books in {self.path or 'memory'}: {error}") from None

    def _connected(self) -> sqlite3.Connection:
        """Again, where the file has gone, or a damaged one could not be replaced the last time."""
        if self.path is not None and self._books is not None and not self.path.exists():
            log.error("the books in %s have gone: new ones begun", self.path)
            self._let_go()
        if self._books is None:
            self._books = connect_memory() if self.path is None else connect(self.path)
        return self._books

    def _let_go(self) -> None:
        if self._books is not None:
            with suppress(sqlite3.Error):
                self._books.close()
            self._books = None


_NEW_EVENT = "INSERT INTO events (at, model, version, what, detail) VALUES (?, ?, ?, ?, ?)"
_OLD_EVENTS = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"
