"""A bill as JSON and as CSV: flat records with units in their names, and nothing where nothing is known."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.metering.amount import Amount
from penstock.metering.bill import Bill, Line
from penstock.metering.spread import Rest

MONEY = ("cost", "cost_marginal", "cost_per_1000", "cost_marginal_per_1000")
"""Fields in the currency, which CSV puts into their names."""


def document(bill: Bill, price_source: str = "") -> dict[str, Any]:
    """The bill as JSON has it; ``price_source`` is where the price comes from, in words.

    Times are seconds since the epoch, ``_s`` seconds, ``_j`` joules, ``_g`` grams of CO2-equivalents.
    ``cost``, ``energy_j`` and ``carbon_g`` are full: with their part of what was idle.
    """
    return _known(
        {
            "since": bill.since,
            "until": bill.until,
            "start": bill.start,
            "end": bill.end,
            "by": list(bill.by),
            "only": dict(bill.only) or None,
            "sites": list(bill.sites),
            "currency": bill.currency or None,
            "price_source": (bill.currency and price_source) or None,
            "energy_methods": list(bill.methods) or None,
            "priced": bill.priced,
            "metered": bill.metered,
            "lines": [line(each, bill) for each in bill.lines],
            "total": line(bill.total, bill),
            "idle": _idle(bill.idle),
            "machine": _machine(bill),
            "notes": list(bill.notes),
        }
    )


def line(one: Line, bill: Bill) -> dict[str, Any]:
    """One group: its keys, what it used, and what that cost."""
    account = one.account
    has_gpu = bill.took.gpu_capacity or account.gpu
    keys: Mapping[str, str] = one.keys  # type: ignore[assignment]  # literals are texts
    return _known(
        {
            **keys,
            "queries": account.queries,
            "rows": account.rows,
            "queue_s": account.queued,
            "cpu_s": account.cpu,
            "gpu_s": account.gpu if has_gpu else None,
            "received_bytes": account.received,
            "sent_bytes": account.sent,
            "share": one.share,
            **_amounts(one.full, one.marginal),
            "embodied_g": one.embodied,
            "cost_per_1000": one.full_1000.money,
            "cost_marginal_per_1000": one.marginal_1000.money,
            "energy_per_1000_j": _mid(one.full_1000),
            "energy_marginal_per_1000_j": _mid(one.marginal_1000),
            "sci_g_per_1000": one.sci,
        }
    )


def as_csv(bill: Mapping[str, Any]) -> str:
    """The lines of a bill's document, one a row; a column is there if any line has a value for it."""
    lines = bill["lines"]
    columns = [*bill["by"], *(name for name in _FIELDS if any(name in each for each in lines))]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_titled(name, bill.get("currency", "")) for name in columns)
    rows.writerows([_cell(each.get(name, "")) for name in columns] for each in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Tenants may be named by callers: a spreadsheet must not take a name for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _titled(name: str, currency: str) -> str:
    if name in MONEY:
        return f"{name}_{currency}" if currency else name
    return {"cpu_s": "cpu_core_s"}.get(name, name)


def _idle(idle: Rest) -> dict[str, Any] | None:
    return _known({**_amounts(idle.full, idle.marginal), "embodied_g": idle.embodied}) or None


def _machine(bill: Bill) -> dict[str, Any]:
    took = bill.took
    has_gpu = took.gpu_capacity or took.gpu_busy
    return _known(
        {
            "seconds": took.seconds,
            "cpu_s": took.cpu_capacity,
            "cpu_busy_s": took.cpu_busy,
            "gpu_s": took.gpu_capacity if has_gpu else None,
            "gpu_busy_s": took.gpu_busy if has_gpu else None,
            **_amounts(bill.machine, Amount()),
            "embodied_g": bill.embodied,
        }
    )


def _amounts(full: Amount, marginal: Amount) -> dict[str, Any]:
    joules = full.joules
    return {
        "cost": full.money,
        "cost_marginal": marginal.money,
        "energy_j": _mid(full),
        "energy_low_j": None if joules is None else joules.low,
        "energy_high_j": None if joules is None else joules.high,
        "energy_marginal_j": _mid(marginal),
        "carbon_g": full.grams,
        "carbon_marginal_g": marginal.grams,
    }


def _mid(amount: Amount) -> float | None:
    return None if amount.joules is None else amount.joules.mid


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_FIELDS: Sequence[str] = (
    "queries",
    "rows",
    "queue_s",
    "cpu_s",
    "gpu_s",
    "received_bytes",
    "sent_bytes",
    "share",
    "cost",
    "cost_marginal",
    "cost_per_1000",
    "cost_marginal_per_1000",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "energy_marginal_j",
    "energy_per_1000_j",
    "energy_marginal_per_1000_j",
    "carbon_g",
    "carbon_marginal_g",
    "embodied_g",
    "sci_g_per_1000",
)
