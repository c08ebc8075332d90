"""A database's file: locked against other servers, checked, and moved aside where it is damaged."""

import fcntl
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from io import BufferedWriter
from itertools import count
from pathlib import Path

from penstock.core.database.layout import Layout, migrate
from penstock.core.errors import BadSetting

PATIENCE = 5.0
"""Seconds to wait for others that read or write the file, e.g. SQLite's shell."""
CHECKED = 64 << 20
"""Bytes up to which a file is checked whole at the start, which takes a tenth of a second."""
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Damaged(sqlite3.DatabaseError):
    """Found out by us rather than by SQLite."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def damaged(error: sqlite3.Error) -> bool:
    """The file is no database any more; its content is lost, and another one has to be begun."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def lock(path: Path, layout: Layout) -> BufferedWriter:
    """Ours until it is closed, or until the process ends, however it ends.

    Raises ``layout.busy`` where another server holds it, and BadSetting where no file can be made there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = Path(f"{path}.lock").open("ab")  # noqa: SIM115 - held for as long as the database is open
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), layout) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise layout.busy(
            f"another server keeps its {layout.what} in {path}; give each its own with {layout.setting}"
        ) from None
    except OSError as error:
        held.close()
        raise _unusable(path, f"it cannot be locked ({error.strerror})", layout) from None
    return held


def connect(path: Path, layout: Layout) -> sqlite3.Connection:
    """Of a file that is ours, made or brought up to date; a damaged one is moved aside, and a new one begun.

    Raises BadSetting.
    """
    try:
        try:
            return _connect(path, layout)
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            move_aside(path, error, layout)
            return _connect(path, layout)
    except sqlite3.Error as error:
        raise _unusable(path, str(error), layout) from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), layout) from None


def connect_memory(layout: Layout) -> sqlite3.Connection:
    """A database that ends with the process."""
    file = _plain(":memory:")
    migrate(file, "memory", layout)
    return file


def move_aside(path: Path, error: sqlite3.Error, layout: Layout) -> None:
    """With what belongs to it, so that somebody may still rescue what can be read; raises OSError."""
    at = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{path}.corrupt-{at}" + (f"-{number}" if number else "") for number in count())
    aside = next(name for name in names if not Path(name).exists())
    for tail in ("", "-wal", "-shm"):
        part = Path(f"{path}{tail}")
        if part.exists():
            part.rename(aside + tail)
    logging.getLogger(layout.log).error(
        "the %s in %s are damaged (%s): moved to %s, and new ones begun", layout.what, path, error, aside
    )


def _connect(path: Path, layout: Layout) -> sqlite3.Connection:
    file = _plain(path)
    try:
        _check(file, path)
        migrate(file, str(path), layout)
        # Where WAL cannot be had, e.g. on some network file systems, SQLite keeps to its journal.
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(f"PRAGMA synchronous = {layout.synchronous}")
    except BaseException:
        file.close()
        raise
    return file


def _plain(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _check(file: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED:
        return  # damage is found when it is read
    with closing(file.execute("PRAGMA quick_check(1)")) as found:
        (verdict,) = found.fetchone()
    if verdict != "ok":
        raise Damaged(verdict)


def _unusable(path: Path, why: str, layout: Layout) -> BadSetting:
    return BadSetting(
        f"{path} cannot hold the {layout.what}: {why}; name another file with {layout.setting}, or `none`"
    )
