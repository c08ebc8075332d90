"""Where the meter puts its entries: the books, and what waits while they cannot be written."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from time import monotonic, time
from typing import TypeAlias

from penstock.core.errors import BadSetting
from penstock.core.terms import NO_FILE, Metering
from penstock.metering.books.backlog import Backlog
from penstock.metering.books.faults import BooksBusy, BooksFailed
from penstock.metering.books.reading import Spent
from penstock.metering.books.series import Point
from penstock.metering.books.store import Books
from penstock.metering.charges import Span
from penstock.metering.entry import Entry
from penstock.metering.events import KEPT, Event

log = logging.getLogger("penstock.meter")

_AGEING = 60.0
"""Seconds between looks for what has grown old."""

Past: TypeAlias = tuple[list[Event], list[Point]]


class Shelf:
    """``put`` is for the event loop; all else blocks, and any thread may call."""

    def __init__(self, books: Books | None = None) -> None:
        """Without books it forgets."""
        self._books = books
        self._new: deque[tuple[Span, Sequence[Event]]] = deque()
        self._backlog = Backlog()
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._failing: float | None = None
        self._aged = monotonic()
        self._lock = Lock()

    def put(self, span: Span, events: Sequence[Event]) -> None:
        """To be saved with the next ones."""
        if self._books is not None:
            self._new.append((span, events))

    @property
    def unsaved(self) -> float:
        """Seconds for which nothing could be written; 0 while all is well."""
        return 0.0 if self._failing is None else monotonic() - self._failing

    def save(self) -> None:
        """Write what was put; what cannot be written waits for the next time, and nothing is raised."""
        with self._lock:
            if self._books is None:
                return
            self._collect()
            self._write(self._books)
            self._age(self._books)

    def _collect(self) -> None:
        while self._new:
            span, events = self._new.popleft()
            self._backlog.add([span])
            self._events.extend(events)

    def _write(self, books: Books) -> None:
        spans, events = self._backlog.take(), list(self._events)
        try:
            books.write(spans, events)
        except BooksFailed as error:
            self._backlog.add(spans)
            if self._failing is None:
                self._failing = monotonic()
                log.error("%s; what is used is kept in memory until they can be written again", error)
            return
        self._events.clear()
        if self._failing is not None:
            log.info("the books can be written again; nothing was lost")
            self._failing = None

    def _age(self, books: Books) -> None:
        """A little at a time: what is left is for the next time."""
        if self._failing is not None or monotonic() - self._aged < _AGEING:
            return
        try:
            more = books.age(time())
        except BooksFailed as error:
            log.warning("%s; its old entries stay as they are for now", error)
            more = False
        if not more:
            self._aged = monotonic()

    def read(self, since: float, until: float) -> list[Entry]:
        """What was used and what the machine took between two times, saved or not."""
        if self._books is None:
            return []
        with self._lock:
            self._collect()
            entries = self._books.read(since, until)
            waiting = self._backlog.take()
            self._backlog.add(waiting)
        site = self._books.site
        return entries + [
            Entry(span.start, span.start + span.took.seconds, site, span.took, span.used)
            for span in waiting
            if span.start < until and span.start + span.took.seconds > since
        ]

    def past(self, model: str, since: float, until: float, width: int) -> Past:
        """What befell a model's versions, and its use in pieces of ``width`` seconds.

        Nothing where the books cannot be read now.
        """
        if self._books is None:
            return [], []
        try:
            return self._books.events(model, since), self._books.series(model, since, until, width)
        except BooksFailed as error:
            log.warning("%s; the history is what is in memory", error)
            return [], []

    def last_hour(self) -> list[Spent]:
        """What tenants spent; nothing where the books cannot be read now."""
        try:
            return [] if self._books is None else self._books.recent(time())
        except BooksFailed as error:
            log.error("%s; budgets begin anew", error)
            return []

    def close(self) -> None:
        """Save what is left, and give the file back."""
        self.save()
        with self._lock:
            if self._books is not None:
                if self._failing is not None:
                    log.error("the books could not be written; what was used since is lost")
                self._books.close()


def open_shelf(terms: Metering, repository: str) -> Shelf:
    """The books of a server, in memory where its file is taken or its usual place cannot be written.

    Blocks; raises BadSetting where a file that the settings name cannot be used.
    """
    if terms.file == NO_FILE:
        return Shelf(Books.open(None, terms.site))
    path = Path(terms.file).expanduser() if terms.file else usual(repository)
    try:
        shelf = Shelf(Books.open(path, terms.site))
        log.info("books in %s", path)
        return shelf
    except BadSetting as error:
        if terms.file and not isinstance(error, BooksBusy):
            raise
        log.warning("%s; what this one meters is kept in memory and ends with it", error)
        return Shelf(Books.open(None, terms.site))


def usual(repository: str) -> Path:
    """In the user's state folder (XDG), one file for each repository."""
    root = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    whole = Path(repository).expanduser().resolve()
    mark = hashlib.sha256(str(whole).encode()).hexdigest()[:8]
    return Path(root).expanduser() / "penstock" / f"{whole.name or 'models'}-{mark}.db"
