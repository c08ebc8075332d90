"""Totals: sums since the start and of the last hour, by version and by tenant, and never by payer."""

from penstock.core.account import Account, Payer
from penstock.metering.charges import Span, Took, Used
from penstock.metering.totals import Totals


def span(start, *payers):
    used = tuple(Used(payer, Account(queries=1, cpu=0.5), cpu_money=0.1) for payer in payers)
    return Span(start, Took(seconds=5.0, cpu_capacity=10.0, cpu_busy=0.5 * len(used)), used)


def test_what_was_used_is_summed_by_version_and_by_tenant():
    totals = Totals()
    ann, bob, other = Payer("m", "1", "ann"), Payer("m", "1", "bob"), Payer("m", "2", "ann")
    totals.add(span(0.0, ann, bob))
    totals.add(span(5.0, ann, other))
    assert {key: used.account.queries for key, used in totals.by_version.items()} == {
        ("m", "1"): 3,
        ("m", "2"): 1,
    }
    assert {key: used.account.queries for key, used in totals.by_tenant.items()} == {"ann": 3, "bob": 1}
    assert totals.took.seconds == 10.0


def test_the_last_hour_grows_with_versions_and_not_with_payers():
    totals = Totals()
    for minute in range(100):
        totals.add(span(60.0 * minute, *[Payer("m", "1", f"t{at}") for at in range(50)]))
    (used,) = totals.hour_used.values()
    assert used.account.queries == 61 * 50
    assert totals.hour_queries == {f"t{at}": 61 for at in range(50)}
    assert totals.hour.cpu_busy == 61 * 25.0
