"""An open database: one connection, a lock that other servers respect, and another file for a damaged one."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from threading import RLock
from typing import TypeVar

from penstock.core.database.file import connect, connect_memory, damaged, lock, move_aside
from penstock.core.database.layout import Layout
from penstock.core.errors import BadSetting

R = TypeVar("R")


class Database:
    """Each method blocks, and any thread may call, one at a time.

    A file that is found to be damaged is moved aside and a new one begun.
    """

    def __init__(self, path: Path | None, layout: Layout, held: BufferedWriter | None = None) -> None:
        """Rather use ``open``; ``held`` is the lock of the file."""
        self.path = path
        self._layout = layout
        self._held = held
        self._file: sqlite3.Connection | None = None
        self._closed = False
        self._lock = RLock()

    @classmethod
    def open(cls, path: Path | None, layout: Layout) -> "Database":
        """Made where there is none, its folder too; None: in memory.

        Raises ``layout.busy`` where another server has the file open, and BadSetting where it cannot be used.
        """
        if path is not None:
            path = path.expanduser().resolve()
        database = cls(path, layout, lock(path, layout) if path is not None else None)
        try:
            database._connected()
        except BaseException:
            database.close()
            raise
        return database

    def do(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Work that is one transaction, so that it may be done again on a new file.

        Raises ``layout.failed`` where the file cannot be written or read now: what it would have written is
        not there then, and the same call may be made again.
        """
        with self._lock:
            if self._closed:
                raise self._layout.failed(f"the {self._layout.what} are closed; open them again")
            try:
                try:
                    return work(self._connected())
                except sqlite3.DatabaseError as error:
                    if self.path is None or not damaged(error):
                        raise
                    self._let_go()
                    move_aside(self.path, error, self._layout)
                    return work(self._connected())
            except (sqlite3.Error, OSError, BadSetting, OverflowError, UnicodeError) as error:
                raise self._layout.failed(
                    f"the {self._layout.what} in {self.path or 'memory'}: {error}"
                ) from None

    def close(self) -> None:
        """Give the file back; the second time does nothing."""
        with self._lock:
            self._closed = True
            self._let_go()
            if self._held is not None:
                self._held.close()

    def _connected(self) -> sqlite3.Connection:
        """Again, where the file has gone, or a damaged one could not be replaced the last time."""
        if self.path is not None and self._file is not None and not self.path.exists():
            logging.getLogger(self._layout.log).error(
                "the %s in %s have gone: new ones begun", self._layout.what, self.path
            )
            self._let_go()
        if self._file is None:
            layout = self._layout
            self._file = connect_memory(layout) if self.path is None else connect(self.path, layout)
        return self._file

    def _let_go(self) -> None:
        if self._file is not None:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None
