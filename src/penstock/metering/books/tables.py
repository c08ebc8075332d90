"""The two tables of sums, their SQL, and how rows become what was used and what the machine took.

Both hold, for each bucket of time that begins at ``start`` and is ``width`` seconds long, plain sums.
NULL is what is not known: it adds nothing to a sum, and a sum of nothing else is NULL.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from penstock.core.account import Account, Payer
from penstock.core.database.layout import text
from penstock.metering.charges import Span, Took, Used
from penstock.metering.energy.probe import Joules

Row: TypeAlias = Sequence[Any]

MINUTE, HOUR, DAY = 60, 3600, 86_400
WIDTHS = (MINUTE, HOUR, DAY)


class Table(NamedTuple):
    """The columns of a key, and those that are summed."""

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]

    @property
    def totals(self) -> str:
        """For a SELECT."""
        return ", ".join(f"sum({column})" for column in self.sums)

    @property
    def insert(self) -> str:
        return f"INSERT INTO {self.name} ({', '.join(self.keys + self.sums)})"

    @property
    def add(self) -> str:
        """What is there already grows; after an INSERT."""
        grown = ", ".join(
            f"{each} = coalesce({each} + excluded.{each}, {each}, excluded.{each})" for each in self.sums
        )
        return f"ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {grown}"

    @property
    def upsert(self) -> str:
        marks = ", ".join("?" for _ in self.keys + self.sums)
        return f"{self.insert} VALUES ({marks}) {self.add}"


_BANDS = ("cpu_low", "cpu_mid", "cpu_high", "gpu_low", "gpu_mid", "gpu_high")
_TIME = ("width", "start", "site", "currency")

USAGE = Table(
    "usage",
    (*_TIME, "model", "version", "tenant"),
    ("queries", "rows", "queued", "cpu", "gpu", "received", "sent", "cpu_money", "gpu_money", *_BANDS),
)
MACHINE = Table(
    "machine",
    (*_TIME, "methods"),
    (
        *("seconds", "cpu_capacity", "gpu_capacity", "cpu_busy", "gpu_busy"),
        *("cpu_money", "gpu_money", "priced", *_BANDS, "metered", "grams", "embodied"),
    ),
)


def usage_rows(span: Span, site: str) -> list[Row]:
    """For ``USAGE.upsert``: one for each payer, in the minute in which the span began."""
    key = (MINUTE, minute(span.start), site, span.took.currency)
    return [(*key, *map(text, used.payer), *_use(used)) for used in span.used]


def machine_row(span: Span, site: str) -> Row:
    """For ``MACHINE.upsert``."""
    took = span.took
    return (
        *(MINUTE, minute(span.start), site, took.currency, "+".join(sorted(took.methods))),
        *(took.seconds, took.cpu_capacity, took.gpu_capacity, took.cpu_busy, took.gpu_busy),
        *(took.cpu_money, took.gpu_money, took.priced),
        *(*_band(took.cpu_joules), *_band(took.gpu_joules)),
        *(took.metered, took.grams, took.embodied),
    )


def used(payer: Payer, sums: Row) -> Used:
    """From the sums of USAGE, in order."""
    account, (cpu_money, gpu_money), bands = Account(*sums[:7]), sums[7:9], sums[9:]
    return Used(payer, account, cpu_money, gpu_money, _joules(bands[:3]), _joules(bands[3:]))


def took(currency: str, methods: str, sums: Row) -> Took:
    """From the sums of MACHINE, in order."""
    seconds, cpu_capacity, gpu_capacity, cpu_busy, gpu_busy, cpu_money, gpu_money, priced = sums[:8]
    return Took(
        seconds=seconds,
        cpu_capacity=cpu_capacity,
        gpu_capacity=gpu_capacity,
        cpu_busy=cpu_busy,
        gpu_busy=gpu_busy,
        cpu_money=cpu_money,
        gpu_money=gpu_money,
        currency=currency,
        priced=priced,
        cpu_joules=_joules(sums[8:11]),
        gpu_joules=_joules(sums[11:14]),
        metered=sums[14],
        grams=sums[15],
        embodied=sums[16],
        methods=frozenset(methods.split("+") if methods else ()),
    )


def minute(at: float) -> int:
    """The start of its minute."""
    return int(at // MINUTE) * MINUTE


def _use(used: Used) -> Row:
    account = used.account
    return (
        *(account.queries, account.rows, account.queued, account.cpu, account.gpu),
        *(account.received, account.sent, used.cpu_money, used.gpu_money),
        *(*_band(used.cpu_joules), *_band(used.gpu_joules)),
    )


def _band(joules: Joules | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if joules is None else (joules.low, joules.mid, joules.high)


def _joules(band: Row) -> Joules | None:
    return None if None in band else Joules(*band)
