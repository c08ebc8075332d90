"""Other vendors' devices are read as zeus names them, each for the part that it is."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.metering.energy.probe import Probe
from penstock.metering.energy.zeus import COUNTER, MODELLED, open_probes
from penstock.testing import ManualClock


class Gpu:
    """As ``zeus.device.gpu.common.GPU``: millijoules, milliwatts, and errors where it has none."""

    def __init__(self, index: int, name: str, energy: int | None, power: int | None = None) -> None:
        self.gpu_index = index
        self.name = name
        self.energy = energy
        self.power = power

    def get_name(self) -> str:
        return self.name

    def supports_get_total_energy_consumption(self) -> bool:
        return self.energy is not None

    def get_total_energy_consumption(self) -> int:
        assert self.energy is not None
        return self.energy

    def get_average_power_usage(self) -> int:
        raise RuntimeError("Average power usage is not supported on this AMD GPU.")

    def get_instant_power_usage(self) -> int:
        if self.power is None:
            raise RuntimeError("Instant power usage is not supported on this AMD GPU.")
        return self.power


class Chip:
    """As ``zeus.device.soc.common.SoC``; its measurement is cumulative."""

    def __init__(self, **millijoules: float | None) -> None:
        self.now = millijoules

    def get_total_energy_consumption(self) -> SimpleNamespace:
        return SimpleNamespace(**self.now)


def installed(*gpus: Gpu, chip: Chip | None = None) -> Callable[[str], Any]:
    """The package, on a machine with these."""

    def found(what: Any) -> Any:
        if not what:
            raise RuntimeError("ZeusInitError")
        return what

    modules = {
        "zeus.device.gpu": SimpleNamespace(get_gpus=lambda: SimpleNamespace(gpus=found(gpus))),
        "zeus.device.soc": SimpleNamespace(get_soc=lambda: found(chip)),
    }
    return modules.__getitem__


def absent(name: str) -> Any:
    raise ModuleNotFoundError(f"No module named {name!r}")


def mids(probes: list[Probe]) -> dict[str, float | None]:
    read = {probe.part: probe.joules() for probe in probes}
    return {part: None if joules is None else round(joules.mid, 6) for part, joules in read.items()}


def test_without_the_package_or_devices_there_are_no_probes() -> None:
    assert list(open_probes(absent)) == []
    assert list(open_probes(installed())) == []


def test_amd_gpus_are_counted_together() -> None:
    gpus = Gpu(0, "MI300X", 1_000), Gpu(1, "MI300X", 2_000)
    (probe,) = open_probes(installed(*gpus))
    assert (probe.part, probe.method) == ("gpu", "zeus")
    gpus[0].energy, gpus[1].energy = 3_000, 5_000
    read = probe.joules()
    assert read is not None
    assert (read.low, read.mid, read.high) == pytest.approx((5 * (1 - COUNTER), 5, 5 * (1 + COUNTER)))


def test_the_second_chiplet_of_an_mi250_is_in_the_first_one_s_counter() -> None:
    gpus = Gpu(0, "Instinct MI250X", 0), Gpu(1, "Instinct MI250X", None)
    probes = list(open_probes(installed(*gpus)))
    gpus[0].energy = 7_000
    assert mids(probes) == {"gpu": 7}


def test_a_gpu_without_a_counter_that_can_be_trusted_is_told_by_its_power() -> None:
    clock = ManualClock()
    probes = list(open_probes(installed(Gpu(0, "Radeon", None, power=50_000)), clock))
    clock.advance(4)
    assert mids(probes) == {"gpu": 200}


def test_a_gpu_that_tells_nothing_makes_all_unknown() -> None:
    assert list(open_probes(installed(Gpu(0, "Radeon", 0), Gpu(1, "Radeon", None)))) == []


def test_apple_s_memory_counts_with_its_cores_and_its_neural_engine_with_the_gpu() -> None:
    chip = Chip(cpu_total_mj=0, dram_mj=0, gpu_mj=0, gpu_sram_mj=None, ane_mj=0)
    probes = list(open_probes(installed(chip=chip)))
    chip.now = {"cpu_total_mj": 4_000, "dram_mj": 1_000, "gpu_mj": 2_000, "gpu_sram_mj": None, "ane_mj": 500}
    assert mids(probes) == {"cpu": 5, "gpu": 2.5}
    read = probes[0].joules()
    assert read is not None
    assert read.high == pytest.approx(5 * (1 + MODELLED))


def test_jetson_s_board_is_what_is_not_its_gpu() -> None:
    chip = Chip(cpu_energy_mj=0, gpu_energy_mj=0, total_energy_mj=0)
    probes = list(open_probes(installed(chip=chip)))
    chip.now = {"cpu_energy_mj": 2_000, "gpu_energy_mj": 3_000, "total_energy_mj": 9_000}
    assert mids(probes) == {"cpu": 6, "gpu": 3}


def test_a_part_that_a_chip_does_not_tell_of_has_no_probe() -> None:
    chip = Chip(cpu_energy_mj=0, gpu_energy_mj=None, total_energy_mj=None)
    assert [probe.part for probe in open_probes(installed(chip=chip))] == ["cpu"]


def test_a_chip_that_falls_silent_is_not_known_from_then_on() -> None:
    chip = Chip(gpu_energy_mj=0, total_energy_mj=0)
    probes = list(open_probes(installed(chip=chip)))
    chip.now = {}
    assert mids(probes) == {"cpu": None, "gpu": None}
    chip.now = {"gpu_energy_mj": 1.0, "total_energy_mj": 2.0}
    assert mids(probes) == {"cpu": None, "gpu": None}
