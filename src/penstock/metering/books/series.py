"""What one model used and cost, piece by piece of time, for charts. Pure."""

from collections.abc import Iterable
from itertools import groupby

from msgspec import Struct

from penstock.core.account import Account
from penstock.metering.amount import Amount
from penstock.metering.bill import bill
from penstock.metering.entry import Entry


class Point(Struct, frozen=True, kw_only=True):
    """One piece; there is one wherever the server ran, whether the model was used or not."""

    start: float
    """Seconds since the epoch."""
    width: float
    """Seconds; more than were asked for where the books are coarser."""
    seconds: float
    """That were metered in it."""
    account: Account
    marginal: Amount
    full: Amount
    """Idle time is spread within the piece, so that pieces need not sum to a bill over all of them."""
    currency: str
    queries: dict[str, int]
    """By version."""


def points(entries: Iterable[Entry], model: str, width: int) -> list[Point]:
    """Of entries as ``reading.pieces`` gives them, the earliest first."""

    def piece(entry: Entry) -> tuple[float, float]:
        wide = max(float(width), entry.end - entry.start)
        return entry.start // wide * wide, wide

    groups = groupby(sorted(entries, key=piece), key=piece)
    return [_point(start, wide, list(parts), model) for (start, wide), parts in groups]


def _point(start: float, width: float, entries: list[Entry], model: str) -> Point:
    got = bill(entries, ("version",), start, start + width, {"model": model})
    return Point(
        start=start,
        width=width,
        seconds=got.took.seconds,
        account=got.total.account,
        marginal=got.total.marginal,
        full=got.total.full,
        currency=got.currency,
        queries={line.keys["version"]: line.account.queries for line in got.lines},
    )
