"""Readings of the machine: this server's share, the building's part, and nothing that is not known."""

import pytest

from penstock.metering.carbon import Steady
from penstock.metering.energy.probe import Joules
from penstock.metering.equipment import Equipment, Reading


class Counter:
    """A probe that tells what it is told to."""

    def __init__(self, *joules, part="cpu", method="rapl", idle=None):
        self.part, self.method, self.idle_watts = part, method, idle
        self._joules = iter(joules)

    def joules(self):
        mid = next(self._joules)
        return None if mid is None else Joules(mid * 0.5, mid, mid * 2)


def test_a_reading_is_what_our_share_took_since_the_last_one():
    machine = Equipment(cores=8, share=0.25, pue=1.5, probes=[Counter(100, 180), Counter(10, 30)])
    assert machine.read() == Reading(None, None, None)
    assert machine.read() == Reading(Joules(50, 100, 200) * 0.375, None, None, frozenset({"rapl"}))
    assert machine.cores == 2


def test_where_one_counter_of_a_part_is_silent_the_part_is_not_known():
    probes = [Counter(100, 180, 200), Counter(10, None, 20), Counter(5, 6, 7, part="gpu", method="nvml")]
    machine = Equipment(gpus=1, probes=probes)
    machine.read()
    for _ in range(2):
        reading = machine.read()
        assert reading.cpu is None
        assert reading.gpu == Joules(0.5, 1, 2)
        assert reading.methods == {"nvml"}


def test_idle_power_is_known_where_all_counters_know_it():
    assert Equipment(probes=[Counter(idle=10), Counter(idle=5)], share=0.5, pue=2).idle_watts("cpu") == 15
    assert Equipment(probes=[Counter(idle=10), Counter()]).idle_watts("cpu") is None
    assert Equipment(probes=[]).idle_watts("gpu") is None


def test_a_machine_whose_gpus_nothing_tells_has_no_method():
    assert Equipment(gpus=1, probes=[Counter()]).methods == []
    assert Equipment(gpus=1, probes=[Counter()]).untold == {"gpu"}
    assert Equipment(gpus=1, probes=[Counter(), Counter(part="gpu", method="nvml")]).methods == [
        "nvml",
        "rapl",
    ]
    assert Equipment(gpus=1, share_gpus=0, probes=[Counter()]).methods == ["rapl"]
    assert Equipment().untold == {"cpu"}


def test_embodied_carbon_is_our_share_of_it():
    assert Equipment(embodied=0.08, share=0.25).embodied == pytest.approx(0.02)
    assert Equipment(share=0.25).embodied is None


def test_our_share_of_the_price_is_by_the_second():
    machine = Equipment(cores=4, share=0.5, cpu_per_hour=3.6, gpu_per_hour=0.0, currency="EUR")
    assert machine.cpu_per_s == pytest.approx(0.0005)
    assert machine.gpu_per_s is None
    assert Equipment(gpus=2, gpu_per_hour=7.2).gpu_per_s == pytest.approx(0.002)


def test_gpus_are_all_ours_unless_told_otherwise():
    probes = [Counter(0, 10, idle=4), Counter(0, 10, part="gpu", method="nvml", idle=4)]
    machine = Equipment(cores=8, gpus=2, gpu_per_hour=7.2, share=0.125, share_gpus=0.5, probes=probes)
    machine.read()
    reading = machine.read()
    assert (reading.cpu.mid, reading.gpu.mid) == (1.25, 5.0)
    assert (machine.gpus, machine.gpu_per_s) == (1.0, pytest.approx(0.001))
    assert (machine.idle_watts("cpu"), machine.idle_watts("gpu")) == (0.5, 2.0)
    assert Equipment(gpus=2, share=0.125).gpus == 2


def test_how_busy_our_share_was_is_since_the_last_reading():
    worked = iter([100.0, 104.0, None, 110.0, 112.0])
    machine = Equipment(cores=8, share=0.25, load=lambda: next(worked))
    assert [machine.read().busy for _ in range(4)] == [1.0, None, None, 0.5]


def test_the_grid_is_asked_with_each_reading():
    assert Equipment(grid=Steady(344.0, "setting")).read().grams == 344.0
