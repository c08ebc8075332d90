"""The schema of the books' file."""

from collections.abc import Sequence

from penstock.core.database.layout import Layout, Migration
from penstock.metering.books.faults import BooksBusy, BooksFailed

_TIME = "width INTEGER NOT NULL, start INTEGER NOT NULL, site TEXT NOT NULL, currency TEXT NOT NULL"
_SUMS = """cpu_money REAL, gpu_money REAL,
    cpu_low REAL, cpu_mid REAL, cpu_high REAL, gpu_low REAL, gpu_mid REAL, gpu_high REAL"""

MIGRATIONS: Sequence[Migration] = (
    (
        f"""CREATE TABLE usage (
            {_TIME}, model TEXT NOT NULL, version TEXT NOT NULL, tenant TEXT NOT NULL,
            queries INTEGER NOT NULL, rows INTEGER NOT NULL, queued REAL NOT NULL,
            cpu REAL NOT NULL, gpu REAL NOT NULL, received INTEGER NOT NULL, sent INTEGER NOT NULL, {_SUMS},
            PRIMARY KEY (width, start, site, currency, model, version, tenant)
        ) WITHOUT ROWID""",
        f"""CREATE TABLE machine (
            {_TIME}, methods TEXT NOT NULL,
            seconds REAL NOT NULL, cpu_capacity REAL NOT NULL, gpu_capacity REAL NOT NULL,
            cpu_busy REAL NOT NULL, gpu_busy REAL NOT NULL, priced REAL NOT NULL, metered REAL NOT NULL,
            {_SUMS}, grams REAL, embodied REAL,
            PRIMARY KEY (width, start, site, currency, methods)
        ) WITHOUT ROWID""",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, at REAL NOT NULL,
            model TEXT NOT NULL, version TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
        )""",
    ),
)

BOOKS = Layout(
    what="books",
    mark=0x50656E73,  # "Pens"
    migrations=MIGRATIONS,
    setting="`file` in [meter]",
    log="penstock.meter",
    busy=BooksBusy,
    failed=BooksFailed,
)
