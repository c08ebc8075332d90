"""The books' file: locked against other servers, checked, and moved aside where it is damaged."""

import fcntl
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from io import BufferedWriter
from itertools import count
from pathlib import Path

from penstock.core.errors import BadSetting
from penstock.metering.books.faults import BooksBusy, Damaged, damaged
from penstock.metering.books.schema import migrate

PATIENCE = 5.0
"""Seconds to wait for others that read or write the file, e.g. SQLite's shell."""
CHECKED = 64 << 20
"""Bytes up to which a file is checked whole at the start, which takes a tenth of a second."""

log = logging.getLogger("penstock.meter")


def lock(path: Path) -> BufferedWriter:
    """Ours until it is closed, or until the process ends, however it ends.

    Raises BooksBusy where another server holds it, and BadSetting where no file can be made there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = Path(f"{path}.lock").open("ab")  # noqa: SIM115 - held for as long as the books are open
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise BooksBusy(
            f"another server keeps its books in {path}; give each its own with `file` in [meter]"
        ) from None
    except OSError as error:
        held.close()
        raise _unusable(path, f"it cannot be locked ({error.strerror})") from None
    return held


def connect(path: Path) -> sqlite3.Connection:
    """Of a file that is ours, made or brought up to date; a damaged one is moved aside, and a new one begun.

    Raises BadSetting.
    """
    try:
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            move_aside(path, error)
            return _connect(path)
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None


def connect_memory() -> sqlite3.Connection:
    """Books that end with the process."""
    books = _plain(":memory:")
    migrate(books, "memory")
    return books


def move_aside(path: Path, error: sqlite3.Error) -> None:
    """With what belongs to it, so that somebody may still rescue what can be read; raises OSError."""
    at = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{path}.corrupt-{at}" + (f"-{number}" if number else "") for number in count())
    aside = next(name for name in names if not Path(name).exists())
    for tail in ("", "-wal", "-shm"):
        part = Path(f"{path}{tail}")
        if part.exists():
            part.rename(aside + tail)
    log.error("the books in %s are damaged (%s): moved to %s, and new ones begun", path, error, aside)


def _connect(path: Path) -> sqlite3.Connection:
    books = _plain(path)
    try:
        _check(books, path)
        migrate(books, str(path))
        # Where WAL cannot be had, e.g. on some network file systems, SQLite keeps to its journal.
        books.execute("PRAGMA journal_mode = WAL")
        books.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        books.close()
        raise
    return books


def _plain(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _check(books: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED:
        return  # damage is found when it is read
    with closing(books.execute("PRAGMA quick_check(1)")) as found:
        (verdict,) = found.fetchone()
    if verdict != "ok":
        raise Damaged(verdict)


def _unusable(path: Path, why: str) -> BadSetting:
    return BadSetting(
        f"{path} cannot hold the books: {why}; name another file with `file` in [meter], or `none`"
    )
