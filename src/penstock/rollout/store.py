"""The state of rollouts: where each stands, what it has seen, and what was done; it outlives restarts."""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from penstock.core.database.layout import text, transaction
from penstock.core.database.opened import Database
from penstock.core.errors import BadSetting
from penstock.core.terms import NO_FILE, Metering
from penstock.metering import shelf
from penstock.rollout import tables
from penstock.rollout.tables import ROLLOUTS, Saved, StateBusy
from penstock.rollout.words import Bad, Change, Pin

MOST_ENDED = 200
MOST_CHANGES = 10_000
MOST_BAD = 10_000

log = logging.getLogger("penstock.rollout")


class State:
    """Of one server; each method blocks, and any thread may call, one at a time.

    All raise StateFailed where the file cannot be written or read now: what a call would have written is not
    there then, and the same call may be made again.
    A file that is found to be damaged is moved aside and a new one begun.
    """

    def __init__(self, database: Database) -> None:
        self.path = database.path
        self._database = database
        self._do = database.do

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Made where there is none, its folder too; None: in memory.

        Raises StateBusy where another server has the file open, and BadSetting where it cannot be used.
        """
        return cls(Database.open(path, ROLLOUTS))

    def running(self) -> list[Saved]:
        """Those that have not ended, in the order in which they began."""
        return self._saved("WHERE ended IS NULL ORDER BY number")

    def ended(self, limit: int = 100) -> list[Saved]:
        """The newest first."""
        return self._saved("WHERE ended IS NOT NULL ORDER BY ended DESC, number DESC LIMIT ?", limit)

    def save(
        self, saved: Saved, changes: Sequence[Change] = (), bad: Bad | None = None, pin: Pin | None = None
    ) -> None:
        """Keep a rollout in the place of what was known of it, and what goes with it: all of it or nothing.

        What is on disk outlives a power cut.
        """
        row = tables.saved_row(saved)
        lines = [tables.change_row(change) for change in changes]

        def work(file: sqlite3.Connection) -> None:
            with transaction(file):
                file.execute(tables.SAVE, row)
                if saved.ended is not None:
                    file.execute(_OLD_ENDED, (MOST_ENDED,))
                if lines:
                    file.executemany(tables.CHANGE, lines)
                    file.execute(_OLD_CHANGES, (MOST_CHANGES,))
                if bad is not None:
                    file.execute(tables.BAD, tables.bad_row(bad))
                    file.execute(_OLD_BAD, (MOST_BAD,))
                if pin is not None:
                    file.execute(tables.PIN, tables.pin_row(pin))

        self._do(work)

    def changes(self, model: str = "", limit: int = 100) -> list[Change]:
        """The audit log of one model, or of all, the newest line first."""
        where = "WHERE model = ? " if model else ""
        given = (text(model), limit) if model else (limit,)
        rows = self._all(f"{tables.CHANGES} {where}ORDER BY number DESC LIMIT ?", *given)
        return [Change(*row) for row in rows]

    def bad(self, model: str = "") -> list[Bad]:
        """Versions of one model, or of all, that were taken back, the last one first."""
        where = "WHERE model = ? " if model else ""
        rows = self._all(f"{tables.BADS} {where}ORDER BY number DESC", *([text(model)] if model else []))
        return [Bad(*row) for row in rows]

    def forgive(self, model: str, version: str) -> None:
        """Let a version be rolled out again by itself."""
        self._do(
            lambda file: file.execute(
                "DELETE FROM bad WHERE model = ? AND version = ?", (text(model), text(version))
            )
        )

    def keep(self, pin: Pin) -> None:
        """Which version answers, where no rollout has left it so."""
        row = tables.pin_row(pin)
        self._do(lambda file: file.execute(tables.PIN, row))

    def pins(self) -> list[Pin]:
        """One for each model that a rollout has left a version for."""
        return [tables.pin(row) for row in self._all(tables.PINS)]

    def close(self) -> None:
        """Give the file back; the second time does nothing."""
        self._database.close()

    def _saved(self, which: str, *given: Any) -> list[Saved]:
        return [Saved(*row) for row in self._all(f"{tables.SAVED} {which}", *given)]

    def _all(self, query: str, *given: Any) -> list[Any]:
        return self._do(lambda file: file.execute(query, given).fetchall())


def open_state(terms: Metering, repository: str) -> State:
    """The state of a server's rollouts; in memory where the file is taken, or its usual place no good.

    Blocks; raises BadSetting where the settings name a file beside which none can be.
    """
    path = usual(terms, repository)
    try:
        state = State.open(path)
    except BadSetting as error:
        if terms.file and not isinstance(error, StateBusy):
            raise
        log.warning("%s; the rollouts of this one are kept in memory and end with it", error)
        return State.open(None)
    if path is not None:
        log.info("rollouts in %s", path)
    return state


def usual(terms: Metering, repository: str) -> Path | None:
    """Beside the books, under their name; None where those are kept in memory alone."""
    if terms.file == NO_FILE:
        return None
    books = Path(terms.file).expanduser() if terms.file else shelf.usual(repository)
    return books.with_name(f"{books.stem}.rollouts.db")


_OLD_ENDED = """DELETE FROM rollouts WHERE ended IS NOT NULL AND number NOT IN (
    SELECT number FROM rollouts WHERE ended IS NOT NULL ORDER BY ended DESC, number DESC LIMIT ?)"""
_OLD_CHANGES = "DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?"
_OLD_BAD = """DELETE FROM bad WHERE number <= (SELECT max(number) FROM bad) - ?"""
