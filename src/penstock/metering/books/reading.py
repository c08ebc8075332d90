"""Questions to the books: sums over a time, in one piece or in many."""

# ruff: noqa: S608 - names and expressions are our own, never a caller's

import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from penstock.core.account import Payer
from penstock.metering.books import tables
from penstock.metering.books.tables import MACHINE, USAGE, WIDTHS
from penstock.metering.charges import NOTHING, Took, Used, both
from penstock.metering.entry import Entry
from penstock.metering.events import Event

# Of each width apart, so that the key's index finds them.
_LIES_IN = " OR ".join(
    f"(width = {width} AND start > :since - {width} AND start < :until)" for width in WIDTHS
)
_ALL = "0, 0"
_PIECES = "start / max(width, :width) * max(width, :width), max(width, :width)"


class Spent(Struct, frozen=True):
    """One tenant in one minute, at marginal cost."""

    start: int
    """Seconds since the epoch."""
    tenant: str
    currency: str
    queries: int
    money: float | None
    joules: float | None


class _Open:
    """An entry that is being read."""

    def __init__(self) -> None:
        self.start = float("inf")
        self.end = 0.0
        self.took: Took = NOTHING
        self.used: list[Used] = []

    def reach(self, start: float, end: float) -> None:
        self.start, self.end = min(self.start, start), max(self.end, end)


def whole(books: sqlite3.Connection, since: float, until: float) -> list[Entry]:
    """One entry for each site and currency, of every bucket that lies in the time, if only with a part."""
    who = "model, version, tenant"
    return list(_entries(books, _ALL, who, {"since": since, "until": until}))


def pieces(books: sqlite3.Connection, since: float, until: float, width: int, model: str) -> list[Entry]:
    """The same for each ``width`` seconds, or more where the books are coarser; the earliest first.

    All tenants are ``""``, and so are all models but one, with their versions.
    """
    who = "CASE model WHEN :model THEN model ELSE '' END, CASE model WHEN :model THEN version ELSE '' END, ''"
    given = {"since": since, "until": until, "width": width, "model": model}
    return sorted(_entries(books, _PIECES, who, given), key=lambda entry: entry.start)


def spent(books: sqlite3.Connection, site: str, since: float, until: float) -> list[Spent]:
    """By tenant and minute, the earliest first; of minutes that are still kept as such."""
    found = books.execute(
        "SELECT start, tenant, currency, sum(queries), "
        "sum(cpu_money), sum(gpu_money), sum(cpu_mid), sum(gpu_mid) FROM usage "
        "WHERE width = 60 AND start > ? - 60 AND start < ? AND site = ? "
        "GROUP BY start, tenant, currency ORDER BY start, tenant, currency",
        (since, until, site),
    )
    return [
        Spent(start, tenant, currency, queries, both(cpu_money, gpu_money), both(cpu_joules, gpu_joules))
        for start, tenant, currency, queries, cpu_money, gpu_money, cpu_joules, gpu_joules in found
    ]


def events(books: sqlite3.Connection, model: str, since: float, limit: int) -> list[Event]:
    """The newest of a model, the earliest first."""
    found = books.execute(
        "SELECT at, model, version, what, detail FROM events WHERE model = ? AND at >= ? "
        "ORDER BY at DESC, id DESC LIMIT ?",
        (model, since, limit),
    )
    return [Event(*row) for row in found][::-1]


def _entries(books: sqlite3.Connection, piece: str, who: str, given: dict[str, Any]) -> Iterator[Entry]:
    found: dict[tuple[Any, ...], _Open] = {}
    bounds = "min(start), max(start + width)"
    for row in books.execute(
        f"SELECT {piece}, site, currency, {bounds}, methods, {MACHINE.totals} FROM machine "
        f"WHERE {_LIES_IN} GROUP BY 1, 2, 3, 4, methods",
        given,
    ):
        entry = found.setdefault(row[:4], _Open())
        entry.reach(row[4], row[5])
        entry.took += tables.took(row[3], row[6], row[7:])
    for row in books.execute(
        f"SELECT {piece}, site, currency, {bounds}, {who}, {USAGE.totals} FROM usage "
        f"WHERE {_LIES_IN} GROUP BY 1, 2, 3, 4, 7, 8, 9",
        given,
    ):
        entry = found.setdefault(row[:4], _Open())
        entry.reach(row[4], row[5])
        entry.used.append(tables.used(Payer(*row[6:9]), row[9:]))
    for (_, _, site, _), entry in found.items():
        yield Entry(entry.start, entry.end, site, entry.took, tuple(entry.used))
