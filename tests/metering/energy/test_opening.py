"""Counters come before an estimate; a method that is named is had, or refused with a reason."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import EnergyTerms
from penstock.metering.energy.opening import HERE, Ways, gpu_count, probes, pue
from penstock.metering.energy.probe import Joules, Part, Probe


class Told:
    """A device that zeus found."""

    method = "zeus"
    idle_watts: float | None = None

    def __init__(self, part: Part) -> None:
        self.part = part

    def joules(self) -> Joules | None:
        return Joules(1, 1, 1)


class Gpus:
    """One GPU that counts, as pynvml shows it."""

    NVMLError = OSError

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return 1

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 1


def nothing() -> None:
    return None


def machine(root: Path, *, counters: bool = False, gpu: bool = False, others: Sequence[Part] = ()) -> Ways:
    """A machine of one vCPU with these."""
    (root / "stat").write_text("cpu 10 0 0 10\ncpu0 10 0 0 10\n")
    if counters:
        zone = root / "powercap" / "intel-rapl:0"
        zone.mkdir(parents=True)
        for name, text in (("name", "package-0"), ("max_energy_range_uj", "100"), ("energy_uj", "1")):
            (zone / name).write_text(text)
    found: Sequence[Probe] = [Told(part) for part in others]
    return Ways(root / "powercap", root, Gpus if gpu else nothing, lambda: found)


def taken(probe: str, ways: Ways) -> dict[str, str]:
    return {each.part: each.method for each in probes(EnergyTerms(probe=probe), ways)}  # type: ignore[arg-type]


def test_counters_come_first_and_the_estimate_last(tmp_path: Path) -> None:
    assert taken("auto", machine(tmp_path)) == {"cpu": "estimate"}
    assert taken("auto", machine(tmp_path, others=("cpu", "gpu"))) == {"cpu": "zeus", "gpu": "zeus"}
    full = machine(tmp_path, counters=True, gpu=True, others=("cpu", "gpu"))
    assert taken("auto", full) == {"cpu": "rapl", "gpu": "nvml"}


def test_a_method_that_is_named_is_taken_for_its_part_and_the_other_is_as_ever(tmp_path: Path) -> None:
    full = machine(tmp_path, counters=True, gpu=True, others=("cpu", "gpu"))
    assert taken("estimate", full) == {"cpu": "estimate", "gpu": "nvml"}
    assert taken("zeus", full) == {"cpu": "zeus", "gpu": "zeus"}
    assert taken("rapl", full) == taken("nvml", full) == {"cpu": "rapl", "gpu": "nvml"}
    assert taken("none", full) == {}


def test_zeus_that_tells_of_one_part_leaves_the_other(tmp_path: Path) -> None:
    assert taken("zeus", machine(tmp_path, others=("gpu",))) == {"cpu": "estimate", "gpu": "zeus"}


@pytest.mark.parametrize(
    ("probe", "reason"),
    [("rapl", "there are no counters"), ("nvml", "pip install nvidia-ml-py"), ("zeus", "pip install zeus")],
)
def test_a_method_that_cannot_be_had_is_refused_with_the_reason(
    tmp_path: Path, probe: str, reason: str
) -> None:
    with pytest.raises(BadSetting, match=f"'{probe}'.*{reason}.*'auto'"):
        taken(probe, machine(tmp_path))


def test_an_estimate_is_refused_where_nothing_tells_how_busy_it_is(tmp_path: Path) -> None:
    ways = machine(tmp_path)._replace(proc=tmp_path / "absent")
    assert taken("auto", ways) == {}
    with pytest.raises(BadSetting, match="how busy"):
        taken("estimate", ways)


def test_a_wrong_family_is_refused_even_where_there_are_counters(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"energy\.processor"):
        probes(EnergyTerms(processor="Skylark"), machine(tmp_path, counters=True))


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux")
def test_this_machine_tells_something_in_less_than_a_millisecond() -> None:
    found = probes(EnergyTerms(), HERE._replace(library=nothing, others=tuple))
    (probe,) = [each for each in found if each.part == "cpu"]
    least = 1.0
    for _ in range(20):
        before = perf_counter()
        read = probe.joules()
        least = min(least, perf_counter() - before)
    assert read is not None
    assert 0 <= read.low <= read.mid <= read.high
    assert least < 1e-3


def test_pue_is_the_setting_else_the_cloud_s_else_that_of_the_machine_alone() -> None:
    assert pue(EnergyTerms(pue=1.3), "aws") == (1.3, "setting")
    assert [pue(EnergyTerms(), name)[0] for name in ("aws", "gcp", "azure", "")] == [1.135, 1.1, 1.185, 1.0]


def test_gpus_are_counted_by_their_files_else_by_nvml(tmp_path: Path) -> None:
    assert gpu_count(tmp_path, nothing) == 0
    assert gpu_count(tmp_path / "absent", nothing) == 0
    assert gpu_count(tmp_path, Gpus) == 1
    for name in ("nvidia0", "nvidia1", "nvidia-uvm", "nvidiactl"):
        (tmp_path / name).touch()
    assert gpu_count(tmp_path, nothing) == 2
