"""The schema of the file that keeps what models were asked, how long they took to start, and decisions."""

from collections.abc import Sequence

from penstock.core.database.layout import Layout, Migration
from penstock.core.errors import BadSetting, Failed


class HistoryBusy(BadSetting):
    """Another server keeps its history in this file."""


class HistoryFailed(Failed):
    """It could not be written or read now, e.g. on a full disk; nothing of it was written."""


MIGRATIONS: Sequence[Migration] = (
    (
        """CREATE TABLE series (
            model TEXT NOT NULL, width INTEGER NOT NULL, start INTEGER NOT NULL, count REAL NOT NULL,
            PRIMARY KEY (model, width, start)
        ) WITHOUT ROWID""",
        """CREATE TABLE starts (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, at REAL NOT NULL, seconds REAL NOT NULL
        )""",
        """CREATE TABLE decisions (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, at REAL NOT NULL, said BLOB NOT NULL
        )""",
        "CREATE INDEX decisions_by_model ON decisions (model, number)",
    ),
)

HISTORY = Layout(
    what="request histories",
    mark=0x50656E73,  # "Pens"
    migrations=MIGRATIONS,
    setting="`file` in [meter]",
    log="penstock.scaling",
    busy=HistoryBusy,
    failed=HistoryFailed,
)

COUNT = """INSERT INTO series (model, start, width, count) VALUES (?, ?, ?, ?)
    ON CONFLICT (model, width, start) DO UPDATE SET count = max(count, excluded.count)"""
COUNTS = "SELECT start, width, count FROM series WHERE model = ? ORDER BY start, width"
OLD_COUNTS = "DELETE FROM series WHERE width = ? AND start < ?"
START = "INSERT INTO starts (model, at, seconds) VALUES (?, ?, ?)"
STARTS = "SELECT seconds FROM starts WHERE model = ? ORDER BY number DESC LIMIT ?"
OLD_STARTS = "DELETE FROM starts WHERE number <= (SELECT max(number) FROM starts) - ?"
DECISION = "INSERT INTO decisions (model, at, said) VALUES (?, ?, ?)"
DECISIONS = "SELECT said FROM decisions WHERE model = ? ORDER BY number DESC LIMIT ?"
OLD_DECISIONS = "DELETE FROM decisions WHERE number <= (SELECT max(number) FROM decisions) - ?"
