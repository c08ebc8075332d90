"""A bill from the file in which a server keeps its books: read only, whether the server runs or not."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import time
from typing import Any

from penstock.core.database.layout import migrate
from penstock.core.errors import BadSetting
from penstock.doors.bill_form import document
from penstock.metering.bill import By, bill, keys
from penstock.metering.books import reading
from penstock.metering.books.schema import BOOKS
from penstock.metering.entry import Entry
from penstock.metering.window import window


def kept(
    file: Path, by: str, since: str, until: str, model: str | None, tenant: str | None
) -> dict[str, Any]:
    """The bill as a server would give it.

    Raises BadSetting for a file that holds no books, and InvalidRequest for a question that is none.
    """
    asked = keys(by)
    start, end = window(since, until, time())
    named: Sequence[tuple[By, str | None]] = (("model", model), ("tenant", tenant))
    only = {key: value for key, value in named if value is not None}
    return document(bill(read(file, start, end), asked, start, end, only))


def read(file: Path, since: float, until: float) -> list[Entry]:
    """What the books hold of a time (seconds since the epoch); raises BadSetting."""
    if not file.is_file():
        raise BadSetting(
            f"--file: no file {file}; it must be the books of a server, as [meter] file names it"
        )
    try:
        with closing(sqlite3.connect(_address(file.resolve()), uri=True, isolation_level=None)) as books:
            migrate(books, str(file), BOOKS)
            return reading.whole(books, since, until)
    except sqlite3.Error as error:
        raise BadSetting(f"--file: {file} cannot be read as the books of a server: {error}") from None


def _address(file: Path) -> str:
    """SQLite makes files beside what may be written to; where it cannot, nobody writes, and it need not."""
    alone = not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()
    return f"{file.as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
