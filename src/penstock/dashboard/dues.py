"""What queries of the last hour cost, and what the machine costs and takes now, in the page's words."""

from collections.abc import Sequence
from heapq import nlargest

from msgspec import Struct

from penstock.dashboard.words import Cost, Energy, Standing, Tenant
from penstock.metering import budget
from penstock.metering.amount import Amount, of_machine
from penstock.metering.charges import Took, both
from penstock.metering.energy.probe import KWH
from penstock.metering.spread import Charge, spread
from penstock.metering.totals import Totals

TENANTS = 20
"""At most, the busiest."""


class Share(Struct, frozen=True):
    """For 1,000 queries of one version, with its part of what was idle."""

    money: float | None = None
    joules: float | None = None


class Dues(Struct, frozen=True):
    """As of the last entry of the books."""

    cost: Cost = Cost()
    energy: Energy = Energy()
    busy: float = 0.0
    versions: dict[tuple[str, str], Share] = {}
    queries: dict[str, int] = {}
    """Of the last hour, by tenant."""


def dues(totals: Totals, last: Took, source: str) -> Dues:
    """``last``: the last entry that was long enough.

    Takes some 5 µs for each version that was used in the last hour.
    """
    took = totals.hour
    charges, _ = spread(took, list(totals.hour_used.values()))
    queries = sum(charge.account.queries for charge in charges)
    full = sum((charge.full for charge in charges), Amount())
    marginal = sum((charge.marginal for charge in charges), Amount())
    return Dues(
        cost=_cost(took, full, marginal, queries, source),
        energy=_energy(last, took, full, queries),
        busy=min(1.0, _part(last.cpu_busy, last.cpu_capacity) or 0.0),
        versions=_versions(charges),
        queries=dict(totals.hour_queries),
    )


def _cost(took: Took, full: Amount, marginal: Amount, queries: int, source: str) -> Cost:
    money = both(took.cpu_money, took.gpu_money)
    if money is None:
        return Cost()
    return Cost(
        currency=took.currency,
        per_hour=_part(money * 3600.0, took.priced),
        per_1000=_thousand(full.money, queries),
        marginal_per_1000=_thousand(marginal.money, queries),
        source=source,
    )


def _energy(last: Took, hour: Took, full: Amount, queries: int) -> Energy:
    machine = of_machine(hour)
    if machine.joules is None:
        return Energy()
    now = both(last.cpu_joules, last.gpu_joules)
    watts = now * (1.0 / last.metered) if now is not None and last.metered else None
    joules = full.joules.mid if full.joules is not None else None
    return Energy(
        watts=_round(watts.mid) if watts is not None else None,
        low=_round(watts.low) if watts is not None else None,
        high=_round(watts.high) if watts is not None else None,
        per_1000=_thousand(joules, queries),
        method="+".join(sorted(hour.methods)),
        grams_per_1000=_thousand(full.grams, queries),
        intensity=_intensity(machine),
    )


def _intensity(machine: Amount) -> float | None:
    if machine.grams is None or machine.joules is None:
        return None
    return _part(machine.grams * KWH, machine.joules.mid)


def _versions(charges: Sequence[Charge]) -> dict[tuple[str, str], Share]:
    full: dict[tuple[str, str], tuple[int, Amount]] = {}
    for charge in charges:
        key = charge.payer.model, charge.payer.version
        queries, amount = full.get(key, (0, Amount()))
        full[key] = queries + charge.account.queries, amount + charge.full
    return {key: _share(amount, queries) for key, (queries, amount) in full.items()}


def _share(amount: Amount, queries: int) -> Share:
    joules = amount.joules.mid if amount.joules is not None else None
    return Share(_thousand(amount.money, queries), _thousand(joules, queries))


def tenants(queries: dict[str, int], standings: Sequence[budget.Standing]) -> tuple[Tenant, ...]:
    """The busiest, and those with budgets before others that are as busy.

    Whoever names no tenant is one if there is a budget for that.
    """
    budgets: dict[str, list[Standing]] = {}
    for each in standings:
        told = Standing(each.what, round(each.share, 4), each.limit, each.warn)
        budgets.setdefault(each.tenant, []).append(told)
    names = {name for name in {*queries, *budgets} if name or name in budgets}
    first = nlargest(TENANTS, names, key=lambda name: (queries.get(name, 0), name in budgets, name))
    return tuple(Tenant(name, queries.get(name, 0), tuple(budgets.get(name, ()))) for name in first)


def _thousand(total: float | None, queries: int) -> float | None:
    return None if total is None else _part(total * 1000.0, queries)


def _part(total: float, of: float) -> float | None:
    return _round(total / of) if of else None


def _round(value: float) -> float:
    """To six digits, which is more than is known."""
    return float(f"{value:.6g}")
