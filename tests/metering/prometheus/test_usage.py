"""What the meter's totals look like to Prometheus: by version, of the machine, by tenant."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.core.account import Account, Payer
from penstock.metering.budget import Standing
from penstock.metering.charges import Span, Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus import render
from penstock.metering.totals import Totals

METER = [
    "queries", "cpu_seconds", "gpu_seconds", "received_bytes", "sent_bytes", "cost",
    "energy_joules", "energy_low_joules", "energy_high_joules",
    "machine_cpu_capacity_seconds", "machine_gpu_capacity_seconds", "machine_cost",
    "machine_energy_joules", "machine_energy_low_joules", "machine_energy_high_joules",
    "machine_carbon_grams", "tenant_queries", "tenant_cost", "tenant_energy_joules",
]  # fmt: skip


def band(mid):
    return Joules(mid * 0.5, mid, mid * 2)


def used(model, tenant="", cpu_money=None, joules=None, version="1", **account):
    return Used(
        Payer(model, version, tenant), Account(**account),
        cpu_money=cpu_money, cpu_joules=None if joules is None else band(joules),
    )  # fmt: skip


def totals_of(took, *uses):
    totals = Totals()
    totals.add(Span(0.0, took, uses))
    return totals


def scrape(totals, versions=(("a", "1"), ("b", "1")), standings=()):
    """Values by metric, then by the values of the labels in the order of their names."""
    ledger = Ledger()
    for version in versions:
        ledger.book(*version)
    body, _ = render(ledger, (), "", SimpleNamespace(totals=totals, unsaved=7.5), standings)
    found = defaultdict(dict)
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            assert key not in found[sample.name]
            found[sample.name][key] = sample.value
    return found


BARE = Took(seconds=5.0, cpu_capacity=10.0)
PRICED = Took(seconds=5.0, cpu_capacity=10.0, cpu_money=0.25, currency="EUR", priced=5.0)
METERED = Took(
    seconds=5.0, cpu_capacity=10.0, cpu_joules=band(40.0), metered=5.0, grams=0.5, embodied=0.125,
    methods=frozenset({"rapl"}),
)  # fmt: skip


def test_use_is_summed_over_tenants():
    found = scrape(
        totals_of(
            BARE,
            used("a", "red", queries=2, cpu=0.5, received=10, sent=7),
            used("a", "blue", queries=3, cpu=0.25, received=20, sent=8),
        )
    )
    expected = {"queries": 5, "cpu_seconds": 0.75, "received_bytes": 30, "sent_bytes": 15}
    assert expected == {name: found[f"penstock_{name}_total"]["a", "1"] for name in expected}


def test_a_version_that_used_nothing_has_zero_so_that_increase_sees_its_first_use():
    found = scrape(totals_of(PRICED, used("a", cpu_money=0.5, queries=1)))
    assert found["penstock_queries_total"] == {("a", "1"): 1, ("b", "1"): 0}
    assert found["penstock_cost_total"] == {("EUR", "a", "cpu", "1"): 0.5, ("EUR", "b", "cpu", "1"): 0}


def test_what_is_not_known_has_no_series():
    found = scrape(totals_of(BARE, used("a", "red", queries=1, cpu=1.0)))
    there = {name for name in METER if found[f"penstock_{name}_total"]}
    assert there == {
        "queries", "cpu_seconds", "received_bytes", "sent_bytes", "machine_cpu_capacity_seconds",
        "tenant_queries",
    }  # fmt: skip


def test_every_family_is_announced_though_it_has_no_series():
    ledger = Ledger()
    body, _ = render(ledger, (), "", SimpleNamespace(totals=Totals(), unsaved=7.5))
    announced = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}
    assert {f"penstock_{name}_total" for name in METER} - announced == set()


def test_energy_comes_with_its_band_and_method():
    found = scrape(totals_of(METERED, used("a", joules=8.0)), versions=[("a", "1")])
    for name, expected in {"energy": 8.0, "energy_low": 4.0, "energy_high": 16.0}.items():
        assert found[f"penstock_{name}_joules_total"] == {("rapl", "a", "cpu", "1"): expected}
        assert found[f"penstock_machine_{name}_joules_total"] == {("rapl", "cpu"): expected * 5}


def test_each_part_says_how_its_own_energy_is_told():
    told = frozenset({"rapl", "estimate", "nvml", "zeus"})
    took = Took(seconds=1.0, cpu_capacity=1.0, cpu_joules=band(1.0), gpu_joules=band(2.0), methods=told)
    found = scrape(totals_of(took))["penstock_machine_energy_joules_total"]
    assert list(found) == [("estimate+rapl+zeus", "cpu"), ("nvml+zeus", "gpu")]


def test_carbon_tells_energy_and_making_apart():
    found = scrape(totals_of(METERED))
    assert found["penstock_machine_carbon_grams_total"] == {("energy",): 0.5, ("embodied",): 0.125}


def test_a_machine_with_gpus_has_them_apart():
    took = Took(
        seconds=5.0, cpu_capacity=10.0, gpu_capacity=5.0, cpu_money=0.25, gpu_money=2.0, currency="USD",
        cpu_joules=band(1.0), gpu_joules=band(9.0), methods=frozenset({"nvml", "estimate"}),
    )  # fmt: skip
    one = Used(Payer("a", "1", ""), Account(cpu=1.0, gpu=2.5), 0.025, 1.0, band(0.5), band(4.5))
    found = scrape(totals_of(took, one), versions=[("a", "1")])
    assert found["penstock_gpu_seconds_total"] == {("a", "1"): 2.5}
    assert found["penstock_machine_gpu_capacity_seconds_total"] == {(): 5.0}
    assert found["penstock_machine_cost_total"] == {("USD", "cpu"): 0.25, ("USD", "gpu"): 2.0}
    assert found["penstock_cost_total"] == {
        ("USD", "a", "cpu", "1"): 0.025,
        ("USD", "a", "gpu", "1"): 1.0,
    }
    assert found["penstock_energy_joules_total"] == {
        ("estimate", "a", "cpu", "1"): 0.5,
        ("nvml", "a", "gpu", "1"): 4.5,
    }


def test_tenants_are_summed_over_versions_whether_these_are_still_there_or_not():
    found = scrape(
        totals_of(
            PRICED,
            used("a", "red", cpu_money=0.5, queries=1),
            used("gone", "red", cpu_money=0.25, queries=2),
            used("a", "", cpu_money=0.125, queries=4),
        )
    )
    assert found["penstock_tenant_queries_total"] == {("red",): 3, ("(none)",): 4}
    assert found["penstock_tenant_cost_total"] == {
        ("EUR", "cpu", "red"): 0.75,
        ("EUR", "cpu", "(none)"): 0.125,
    }


def test_a_tenant_that_calls_itself_nobody_is_counted_with_nobody():
    found = scrape(totals_of(BARE, used("a", "(none)", queries=1), used("a", "", queries=2)))
    assert found["penstock_tenant_queries_total"] == {("(none)",): 3}


def test_versions_that_the_ledger_has_dropped_are_not_in_the_output():
    uses = [used("a", version=str(version), queries=1) for version in range(1000)]
    found = scrape(totals_of(BARE, *uses), versions=[("a", "999")])
    assert found["penstock_queries_total"] == {("a", "999"): 1}


def test_marginal_cost_and_energy_never_fall_from_one_entry_to_the_next():
    totals = totals_of(PRICED, used("a", "red", cpu_money=0.5, queries=1))
    before = scrape(totals)
    totals.add(Span(5.0, BARE, (used("a", "red", queries=1),)))  # the price was not known
    after = scrape(totals)
    assert after["penstock_cost_total"] == before["penstock_cost_total"]
    assert after["penstock_queries_total"]["a", "1"] == 2


def test_budgets_tell_how_much_of_them_is_used_and_when_they_warn():
    standings = [
        Standing("red", "money", used=3.0, limit=2.0, warn=0.8),
        Standing("", "queries", used=5, limit=20, warn=0.5),
    ]
    found = scrape(Totals(), standings=standings)
    assert found["penstock_budget_used_ratio"] == {("red", "money"): 1.5, ("(none)", "queries"): 0.25}
    assert found["penstock_budget_warn_ratio"] == {("red", "money"): 0.8, ("(none)", "queries"): 0.5}


def test_books_that_cannot_be_written_are_told_of():
    assert scrape(Totals())["penstock_meter_unsaved_seconds"] == {(): 7.5}


@pytest.mark.parametrize("name", ['te"na\\nt', "zwei\nZeilen"])
def test_odd_tenants_are_escaped(name):
    assert scrape(totals_of(BARE, used("a", name, queries=1)))["penstock_tenant_queries_total"] == {
        (name,): 1
    }
