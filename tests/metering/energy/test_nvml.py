"""All GPUs are counted together, by their counters or else by their power, or nothing is said of them."""

from collections.abc import Callable

import pytest

from penstock.metering.energy import nvml
from penstock.metering.energy.nvml import COUNTER, SAMPLES, Metered, count, open_probe
from penstock.metering.energy.probe import Joules
from penstock.testing import ManualClock


class NvmlError(Exception):
    """As ``pynvml.NVMLError``."""


class Gpus:
    """The part of ``pynvml`` that is used, over a table of GPUs; None: not supported."""

    NVMLError = NvmlError

    def __init__(self, *energy: int | None, power: int | None = None, driver: bool = True) -> None:
        self.energy = list(energy)
        self.power = power
        self._driver = driver

    def nvmlInit(self) -> None:
        if not self._driver:
            raise NvmlError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.energy)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return supported(self.energy[handle])

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return supported(self.power)


def supported(value: int | None) -> int:
    if value is None:
        raise NvmlError("Not Supported")
    return value


def opened(gpus: Gpus, clock: Callable[[], float] = float) -> Metered:
    probe = open_probe(gpus, clock)
    assert probe is not None
    return probe


def values(joules: Joules | None) -> tuple[float, float, float]:
    assert joules is not None
    return joules.low, joules.mid, joules.high


def test_the_counters_of_all_gpus_add_up_from_when_it_was_opened() -> None:
    gpus = Gpus(1_000_000, 5_000)
    probe = opened(gpus)
    assert (probe.part, probe.method) == ("gpu", "nvml")
    gpus.energy = [1_030_000, 15_000]
    assert values(probe.joules()) == pytest.approx((40 * (1 - COUNTER), 40, 40 * (1 + COUNTER)))


def test_a_gpu_without_a_counter_is_told_by_its_power_and_less_surely() -> None:
    clock, gpus = ManualClock(), Gpus(None, power=100_000)
    probe = opened(gpus, clock)
    clock.advance(2)
    gpus.power = 300_000
    expected = (2 * 100 * (1 - SAMPLES), 2 * 200, 2 * 300 * (1 + SAMPLES))
    assert values(probe.joules()) == pytest.approx(expected)
    assert expected[0] < 400 * (1 - COUNTER)


def test_a_driver_that_starts_its_counter_again_is_not_known_from_then_on() -> None:
    gpus = Gpus(1_000)
    probe = opened(gpus)
    gpus.energy = [10]
    assert probe.joules() is None
    gpus.energy = [2_000]
    assert probe.joules() is None


def test_one_gpu_that_is_lost_makes_all_unknown() -> None:
    gpus = Gpus(1_000, 1_000)
    probe = opened(gpus)
    gpus.energy[1] = None
    assert probe.joules() is None


@pytest.mark.parametrize(
    "gpus", [Gpus(driver=False), Gpus(), Gpus(1_000, None)], ids=["driver", "none", "mute"]
)
def test_without_a_driver_or_gpus_that_all_tell_there_is_no_probe(gpus: Gpus) -> None:
    assert open_probe(gpus) is None


def test_without_the_package_there_is_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nvml.import_module.__globals__["sys"].modules, "pynvml", None)
    assert nvml.load() is None
    assert open_probe() is None
    assert count() == 0


def test_gpus_are_counted_where_there_is_a_driver() -> None:
    assert count(Gpus(1, 1, None)) == 3
    assert count(Gpus(1, driver=False)) == 0
