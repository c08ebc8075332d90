"""What is kept of models over restarts: their request series, start-up times, and decisions."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypeAlias

import msgspec
from msgspec import Struct

from penstock.core.database.layout import text, transaction
from penstock.core.database.opened import Database
from penstock.core.errors import BadSetting
from penstock.core.terms import NO_FILE, Metering
from penstock.metering import shelf
from penstock.scaling import tables
from penstock.scaling.tables import HISTORY, HistoryBusy
from penstock.scaling.words import Told

KEPT = {10: 14 * 86_400, 300: 56 * 86_400}
"""Seconds for which buckets of each width are kept."""
STARTS = 40
"""Start-ups of a model that count."""
MOST_STARTS = 10_000
MOST_DECISIONS = 20_000
"""Of all models."""

Bucket: TypeAlias = tuple[int, int, float]
"""Start (Unix seconds), width (seconds), and rows that came in it."""

log = logging.getLogger("penstock.scaling")


class Fresh(Struct, frozen=True):
    """What came of one model since the last time."""

    buckets: Sequence[Bucket] = ()
    starts: Sequence[tuple[float, float]] = ()
    """When (Unix seconds), and how long it took."""
    decisions: Sequence[Told] = ()


class Known(Struct, frozen=True):
    """What was kept of one model."""

    buckets: Sequence[Bucket] = ()
    """The oldest first."""
    starts: Sequence[float] = ()
    """Seconds, the oldest first."""
    decisions: Sequence[Told] = ()
    """The newest first."""


class Store:
    """Of one server; each method blocks, and any thread may call, one at a time.

    All raise HistoryFailed where the file cannot be written or read now; the same call may be made again.
    """

    def __init__(self, database: Database) -> None:
        self.path = database.path
        self._do = database.do
        self.close = database.close

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Made where there is none; None: in memory. Raises HistoryBusy or BadSetting."""
        return cls(Database.open(path, HISTORY))

    def save(self, fresh: Mapping[str, Fresh], now: float) -> None:
        """Add what is new, and let go of what is old: all of it or nothing."""

        def work(file: sqlite3.Connection) -> None:
            with transaction(file):
                for model, new in fresh.items():
                    name = text(model)
                    file.executemany(tables.COUNT, [(name, *bucket) for bucket in new.buckets])
                    file.executemany(tables.START, [(name, *start) for start in new.starts])
                    told = [(name, each.at, msgspec.json.encode(each)) for each in new.decisions]
                    file.executemany(tables.DECISION, told)
                for width, seconds in KEPT.items():
                    file.execute(tables.OLD_COUNTS, (width, int(now) - seconds))
                file.execute(tables.OLD_STARTS, (MOST_STARTS,))
                file.execute(tables.OLD_DECISIONS, (MOST_DECISIONS,))

        self._do(work)

    def read(self, model: str, decisions: int = 100) -> Known:
        """All that was kept of a model."""

        def work(file: sqlite3.Connection) -> Known:
            name = text(model)
            buckets = file.execute(tables.COUNTS, (name,)).fetchall()
            starts = [seconds for (seconds,) in file.execute(tables.STARTS, (name, STARTS))]
            told = [said for (said,) in file.execute(tables.DECISIONS, (name, decisions))]
            return Known(buckets, starts[::-1], [each for said in told if (each := _told(said)) is not None])

        return self._do(work)


def _told(said: bytes) -> Told | None:
    try:
        return msgspec.json.decode(said, type=Told)
    except msgspec.MsgspecError:
        return None


def open_store(terms: Metering, repository: str) -> Store:
    """A server's, beside its books; in memory where the file is taken, or its usual place no good.

    Blocks; raises BadSetting where the settings name a file beside which none can be.
    """
    path = usual(terms, repository)
    try:
        return Store.open(path)
    except BadSetting as error:
        if terms.file and not isinstance(error, HistoryBusy):
            raise
        log.warning("%s; those of this one are kept in memory and end with it", error)
        return Store.open(None)


def usual(terms: Metering, repository: str) -> Path | None:
    """Beside the books, under their name; None where those are kept in memory alone."""
    if terms.file == NO_FILE:
        return None
    books = Path(terms.file).expanduser() if terms.file else shelf.usual(repository)
    return books.with_name(f"{books.stem}.scaling.db")
