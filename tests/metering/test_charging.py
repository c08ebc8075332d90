"""Marginal and full charges: what a busy second costs, over spans of any use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.account import Account, Payer
from penstock.core.types import Timing
from penstock.metering.charges import NOTHING
from penstock.metering.charging import HORIZON, Memories, Resource, Seen, charge, full
from penstock.metering.energy.probe import KWH, Joules
from penstock.metering.totals import Totals

NONE = Resource()
A, B = Payer("a", "1", ""), Payer("b", "1", "team")


def seen(
    *used, at=0.0, seconds=5.0, cores=2, money=0.01, watts=None, idle=None, active=None, gpu=NONE, **more
):
    joules = None if watts is None else Joules(watts * 0.5, watts, watts * 2) * seconds
    cpu = Resource(capacity=cores * seconds, money=money, joules=joules, idle_watts=idle, active=active)
    return Seen(start=at, seconds=seconds, used=used, cpu=cpu, gpu=gpu, currency="USD", **more)


def test_a_busy_core_second_costs_what_the_machine_costs_for_each_that_it_has():
    span, tariff, _ = charge(seen((A, Account(cpu=4.0)), (B, Account(cpu=1.0))), Memories())
    assert [used.cpu_money for used in span.used] == pytest.approx([0.004, 0.001])
    assert tariff.marginal.cpu_money == pytest.approx(0.001)
    assert (span.took.cpu_money, span.took.cpu_busy, span.took.priced) == (0.01, 5.0, 5.0)


def test_what_is_not_known_is_absent_and_never_nothing():
    span, tariff, _ = charge(seen((A, Account(cpu=4.0)), money=None), Memories())
    (used,) = span.used
    assert (used.cpu_money, used.gpu_money, used.cpu_joules, used.gpu_joules) == (None,) * 4
    assert (span.took.priced, span.took.metered, span.took.grams) == (0, 0, None)
    assert tariff.marginal.money(1, 0) is None
    assert full(span.took).money(1, 0) is None


def test_a_busy_core_takes_its_part_of_idle_power_and_all_that_is_beyond_it():
    # 60 W of which 40 W are idle, on two cores of which one is busy: 20 W and 20 W.
    span, _, _ = charge(seen((A, Account(cpu=5.0)), watts=60, idle=40), Memories())
    assert span.used[0].cpu_joules == Joules(100, 200, 400)
    assert span.took.cpu_joules == Joules(150, 300, 600)


def test_what_others_take_is_not_put_on_the_queries():
    # One core-second of ten in which the processors were busy: a tenth of the 20 W beyond idle.
    span, _, _ = charge(seen((A, Account(cpu=1.0)), watts=60, idle=40, active=10.0), Memories())
    assert span.used[0].cpu_joules.mid == pytest.approx(20 + 10)
    # What is charged was busy at least.
    span, _, _ = charge(seen((A, Account(cpu=5.0)), watts=60, idle=40, active=0.5), Memories())
    assert span.used[0].cpu_joules.mid == pytest.approx(200)


def test_a_counter_that_has_not_moved_yet_tells_no_rate():
    span, tariff, _ = charge(seen((A, Account(cpu=1.0)), watts=0.0, idle=40), Memories())
    assert span.used[0].cpu_joules is None
    assert tariff.quote(Timing(0.0, 1.0, 1, cpu=1.0)).keys() == {
        "penstock_cpu_s", "penstock_cost_marginal", "penstock_currency"
    }  # fmt: skip


def test_without_a_figure_for_it_idle_power_is_the_least_that_was_seen():
    memories = Memories()
    for at, watts in enumerate((30, 60)):
        used = ((A, Account(cpu=5.0)),) if watts == 60 else ()
        span, _, memories = charge(seen(*used, at=at * 5.0, watts=watts), memories)
    # 15 W of idle power for its core, and the 30 W that came with it.
    assert span.used[0].cpu_joules.mid == pytest.approx(5 * (15 + 30))


def test_a_run_longer_than_a_span_is_charged_in_full():
    memories = Memories()
    for at in range(5):
        span, _, memories = charge(seen(at=at * 5.0), memories)
    span, _, _ = charge(seen((A, Account(cpu=50.0)), at=25.0), memories)
    assert span.used[0].cpu_money == pytest.approx(50 * 0.001)


def test_an_entry_of_no_time_leaves_the_rates_as_they_are():
    _, before, memories = charge(seen((A, Account(cpu=1.0)), watts=60), Memories())
    _, after, _ = charge(seen(at=5.0, seconds=0.0, money=0.0, watts=60), memories)
    assert after == before


def test_threads_that_share_cores_cannot_have_had_more_than_there_was():
    memories = Memories()
    for at in range(int(HORIZON / 5) + 1):
        span, tariff, memories = charge(seen((A, Account(cpu=20.0)), at=at * 5.0), memories)
    assert span.used[0].cpu_money == pytest.approx(0.01)
    assert tariff.marginal.cpu_money == pytest.approx(0.0005)


def test_full_cost_spreads_what_was_idle_over_what_was_busy():
    span, _, _ = charge(seen((A, Account(cpu=1.0)), watts=60), Memories())
    rates = full(span.took)
    assert rates.money(1.0, 0.0) == pytest.approx(0.01)
    assert rates.joules(1.0, 0.0).mid == pytest.approx(300)
    assert full(NOTHING).cpu_money is None


def test_gpus_are_priced_apart_and_their_users_bear_them():
    gpu = Resource(capacity=5.0, money=0.09, joules=Joules(900, 1000, 1100), idle_watts=100)
    span, tariff, _ = charge(seen((A, Account(cpu=1.0, gpu=1.0)), (B, Account(cpu=1.0)), gpu=gpu), Memories())
    assert tariff.marginal.gpu_money == pytest.approx(0.018)
    assert [used.gpu_money for used in span.used] == pytest.approx([0.018, 0.0])
    assert full(span.took).gpu_money == pytest.approx(0.09)
    assert full(span.took).cpu_money == pytest.approx(0.005)


def test_a_gpu_that_nobody_used_is_borne_by_who_used_the_processors():
    gpu = Resource(capacity=5.0, money=0.09)
    span, _, _ = charge(seen((A, Account(cpu=2.0)), gpu=gpu), Memories())
    assert full(span.took).cpu_money == pytest.approx(0.05)
    assert full(span.took).money(2.0, 0.0) == pytest.approx(0.1)


def test_carbon_is_the_grids_for_the_energy():
    span, tariff, _ = charge(seen(watts=720, seconds=5.0, grams=500.0, embodied=0.1), Memories())
    assert span.took.grams == pytest.approx(0.5)
    assert span.took.embodied == pytest.approx(0.5)
    assert tariff.grams == 500 / KWH


uses = st.lists(st.floats(0, 5, allow_subnormal=False), min_size=2, max_size=2)


@given(st.lists(st.tuples(uses, st.floats(20, 200)), min_size=1, max_size=40))
def test_full_charges_of_an_hour_are_what_the_machine_cost(entries):
    totals, memories = Totals(), Memories()
    for at, (cores, watts) in enumerate(entries):
        used = [(p, Account(queries=1, cpu=c)) for p, c in zip((A, B), cores, strict=True) if c]
        span, _, memories = charge(seen(*used, at=at * 5.0, watts=watts), memories)
        totals.add(span)
    rates, took = full(totals.hour), totals.hour
    if took.cpu_busy > 1e-6:
        bills = [rates.money(used.account.cpu, 0.0) for used in totals.by_version.values()]
        assert sum(bills) == pytest.approx(took.cpu_money)
        energy = [rates.joules(used.account.cpu, 0.0).mid for used in totals.by_version.values()]
        assert sum(energy) == pytest.approx(took.cpu_joules.mid)
    marginal = sum(used.cpu_money for used in totals.by_version.values())
    assert marginal <= took.cpu_money * (1 + 1e-9)


def test_a_counter_that_has_not_moved_in_a_moment_does_not_make_idle_power_nothing():
    memory = Memories()
    for _ in range(30):
        _, _, memory = charge(seen(watts=40), memory)
    _, _, memory = charge(seen(watts=0, seconds=0.001), memory)
    span, _, _ = charge(seen((A, Account(cpu=5.0)), watts=60), memory)
    assert memory.cpu.least_watts == pytest.approx(40, rel=1e-3)
    # Of 60 W 40 W are idle, on two cores: half of them, and what all the two minutes had beyond.
    assert span.used[0].cpu_joules.mid == pytest.approx(5 * (20 + 100 / 5), rel=0.01)


def test_time_whose_energy_is_not_known_does_not_make_the_rest_cheaper():
    memory = Memories()
    for watts in [None] * 12 + [60] * 12:
        _, tariff, memory = charge(seen((A, Account(cpu=5.0)), watts=watts, idle=40), memory)
    assert tariff.marginal.cpu_joules.mid == pytest.approx(20 + 20)


def test_a_part_whose_energy_is_known_does_not_pass_for_the_machine():
    gpu = Resource(capacity=5.0, money=0.09)
    span, tariff, _ = charge(
        seen((A, Account(cpu=1.0, gpu=1.0)), watts=60, gpu=gpu, grams=500.0, methods=frozenset({"estimate"})),
        Memories(),
    )
    took = span.took
    assert (took.cpu_joules, took.metered, took.grams, took.methods) == (None, 0.0, None, frozenset())
    assert (span.used[0].cpu_joules, tariff.marginal.cpu_joules, tariff.method) == (None, None, "")
    assert (took.cpu_money, took.gpu_money) == (0.01, 0.09)


def test_ten_thousand_short_entries_take_no_more_room_than_their_seconds():
    memory, whole, use = Memories(), Memories(), Account(cpu=0.0005)
    for at in range(10_000):
        _, tariff, memory = charge(seen((A, use), at=at * 1e-3, seconds=1e-3, watts=60, idle=40), memory)
    assert len(memory.cpu.past) == 10
    _, coarse, _ = charge(seen((A, Account(cpu=5.0)), seconds=10.0, watts=60, idle=40), whole)
    assert tariff.marginal.cpu_joules.mid == pytest.approx(coarse.marginal.cpu_joules.mid)
    assert sum(each.seconds for each in memory.cpu.past) == pytest.approx(10.0)


def test_what_is_kept_of_ten_minutes_is_bounded():
    memory = Memories()
    for at in range(1500):
        _, _, memory = charge(seen(at=at * 0.7, seconds=0.7, watts=60), memory)
    assert len(memory.cpu.past) <= HORIZON
    assert sum(each.seconds for each in memory.cpu.past) >= HORIZON


def test_short_entries_of_which_less_is_known_stand_by_themselves():
    memory = Memories()
    for watts in (60, None, 60):
        _, tariff, memory = charge(seen((A, Account(cpu=0.5)), seconds=0.5, watts=watts, idle=40), memory)
    assert [each.joules is None for each in memory.cpu.past] == [False, True, False]
    assert tariff.marginal.cpu_joules.mid == pytest.approx(20 + 20)
