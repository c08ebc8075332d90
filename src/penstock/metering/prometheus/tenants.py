"""What each tenant used, what that cost and took at the margin, and how much of its budget is gone."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from penstock.metering.budget import Standing
from penstock.metering.charges import Used
from penstock.metering.prometheus.family import Samples, counter, gauge
from penstock.metering.prometheus.sums import energy, method, money
from penstock.metering.totals import Totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

NOBODY = "(none)"
"""Queries without a tenant; an empty label would be none."""


def families(totals: Totals) -> "Iterator[Metric]":
    """As many tenants as ``Accounts`` keeps apart."""
    rows = _rows(totals)
    yield counter(
        "tenant_queries",
        "Queries that were answered and charged.",
        ("tenant",),
        [((tenant,), used.account.queries) for tenant, used in rows],
    )
    yield counter(
        "tenant_cost",
        "Money for the time that its queries kept the machine busy.",
        ("tenant", "part", "currency"),
        _money(rows, totals),
    )
    yield counter(
        "tenant_energy_joules",
        "Energy for the time that its queries kept the machine busy.",
        ("tenant", "part", "method"),
        _energy(rows, totals),
    )


def budgets(standings: Sequence[Standing]) -> "Iterator[Metric]":
    found = {(each.tenant or NOBODY, each.what): each for each in standings}
    keyed = sorted(found.items(), key=itemgetter(0))
    yield gauge(
        "budget_used_ratio",
        "Part of its budget that the tenant has used in the last hour; may be over 1.",
        ("tenant", "what"),
        [(key, each.share) for key, each in keyed],
    )
    yield gauge(
        "budget_warn_ratio",
        "Part of its budget at which a tenant is warned.",
        ("tenant", "what"),
        [(key, each.warn) for key, each in keyed],
    )


def _rows(totals: Totals) -> list[tuple[str, Used]]:
    used = dict(totals.by_tenant)
    nobody = used.pop("", None)
    if nobody is not None:  # a header may say just that, and two series may not have one name
        named = used.get(NOBODY)
        used[NOBODY] = nobody if named is None else nobody + named
    return sorted(used.items(), key=itemgetter(0))


def _money(rows: list[tuple[str, Used]], totals: Totals) -> Samples:
    for tenant, used in rows:
        for part, cost in money(used):
            yield (tenant, part, totals.took.currency), cost


def _energy(rows: list[tuple[str, Used]], totals: Totals) -> Samples:
    for tenant, used in rows:
        for part, joules in energy(used):
            yield (tenant, part, method(totals.took, part)), joules.mid
