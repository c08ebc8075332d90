"""Joules are counted over all packages, through wrap-arounds, or it is said that they are not known."""

from collections.abc import Iterator
from os import geteuid, seteuid
from pathlib import Path

import pytest

from penstock.metering.energy.probe import Joules, NullProbe, Probe
from penstock.metering.energy.rapl import MEMORY, PACKAGE, Rapl, open_probe, why_not
from penstock.testing import ManualClock

RANGE = 262_143_328_850


def zone(root: Path, folder: str, name: str, microjoules: int) -> Path:
    at = root / folder
    at.mkdir(parents=True)
    (at / "name").write_text(f"{name}\n")
    (at / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (at / "energy_uj").write_text(f"{microjoules}\n")
    return at / "energy_uj"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One package with its cores, the platform, and the same package by another way."""
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 3_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def used(probe: Probe, before: Joules | None) -> float:
    now = probe.joules()
    assert now is not None
    assert before is not None
    return round((now - before).mid, 6)


def test_what_was_used_is_the_difference_of_two_readings(root: Path) -> None:
    probe = open_probe(root)
    before = probe.joules()
    (root / "intel-rapl:0/energy_uj").write_text("7500000\n")
    assert used(probe, before) == 2.5
    assert used(probe, before) == 2.5


def test_only_whole_packages_count_and_each_once(root: Path) -> None:
    zone(root, "intel-rapl:2", "package-1", 1_000_000)
    probe = open_probe(root)
    assert isinstance(probe, Rapl)
    before = probe.joules()
    for folder in ("intel-rapl:0:0", "intel-rapl:1", "intel-rapl-mmio:0"):
        (root / folder / "energy_uj").write_text("99000000")
    assert used(probe, before) == 0
    (root / "intel-rapl:0/energy_uj").write_text("6000000")
    (root / "intel-rapl:2/energy_uj").write_text("3000000")
    assert used(probe, before) == 3


def test_a_counter_that_wraps_around_goes_on(root: Path) -> None:
    file = root / "intel-rapl:0/energy_uj"
    file.write_text(f"{RANGE - 1_000_000}")
    clock = ManualClock()
    probe = open_probe(root, clock=clock)
    before = probe.joules()
    for _ in range(2):
        clock.advance(2000)
        file.write_text("2000000")
        after = used(probe, before)
        file.write_text(f"{RANGE - 1_000_000}")
        probe.joules()
    assert after == pytest.approx(RANGE / 1e6 + 3)


def test_a_counter_that_a_suspend_put_back_begins_anew(root: Path) -> None:
    file = root / "intel-rapl:0/energy_uj"
    file.write_text("50000000")
    clock = ManualClock()
    probe = open_probe(root, clock=clock)
    before = probe.joules()
    clock.advance(5)
    file.write_text("2000000")
    assert used(probe, before) == 2
    file.write_text("3000000")
    assert used(probe, before) == 3


def test_what_cannot_be_read_any_more_is_not_known_from_then_on(root: Path) -> None:
    probe = open_probe(root)
    file = root / "intel-rapl:0/energy_uj"
    file.unlink()
    assert probe.joules() is None
    file.write_text("6000000")
    assert probe.joules() is None


@pytest.mark.parametrize("text", ["", "-", "x"])
def test_a_package_that_cannot_be_read_makes_all_unknown(root: Path, text: str) -> None:
    zone(root, "intel-rapl:2", "package-1", 1).write_text(text)
    assert isinstance(open_probe(root), NullProbe)


def test_a_package_that_hides_its_counter_makes_all_unknown(root: Path) -> None:
    zone(root, "intel-rapl:2", "package-1", 1).unlink()
    assert isinstance(open_probe(root), NullProbe)


def test_a_counter_without_a_range_is_not_trusted(root: Path) -> None:
    (root / "intel-rapl:0/max_energy_range_uj").write_text("0")
    assert isinstance(open_probe(root), NullProbe)


def test_a_machine_without_counters_cannot_tell(tmp_path: Path) -> None:
    assert open_probe(tmp_path).joules() is None
    assert open_probe(tmp_path / "absent").joules() is None


def test_memory_that_has_counters_counts_beside_its_package(root: Path) -> None:
    zone(root, "intel-rapl:0:1", "dram", 1_000_000)
    probe = open_probe(root)
    before = probe.joules()
    (root / "intel-rapl:0/energy_uj").write_text("6000000\n")
    (root / "intel-rapl:0:1/energy_uj").write_text("3000000\n")
    assert used(probe, before) == 3


def test_a_reading_says_how_wrong_it_may_be_memory_more_than_packages(root: Path) -> None:
    zone(root, "intel-rapl:0:1", "dram", 0)
    probe = open_probe(root)
    (root / "intel-rapl:0/energy_uj").write_text("15000000\n")
    (root / "intel-rapl:0:1/energy_uj").write_text("5000000\n")
    read = probe.joules()
    assert read is not None
    assert pytest.approx(
        (10 * (1 - PACKAGE) + 5 * (1 - MEMORY), 15, 10 * (1 + PACKAGE) + 5 * (1 + MEMORY))
    ) == (
        read.low,
        read.mid,
        read.high,
    )


def test_a_memory_that_hides_its_counter_makes_all_unknown(root: Path) -> None:
    zone(root, "intel-rapl:0:1", "dram", 1).unlink()
    assert isinstance(open_probe(root), NullProbe)


def test_it_is_said_why_there_are_no_counters(root: Path, tmp_path: Path) -> None:
    assert "there are no counters" in why_not(tmp_path / "absent")
    (root / "intel-rapl:0/max_energy_range_uj").write_text("0")
    assert "does not say where its counter wraps around" in why_not(root)


@pytest.fixture
def nobody(root: Path) -> Iterator[None]:
    """Root may read everything, and tests may be run by it."""
    (root / "intel-rapl:0/energy_uj").chmod(0)
    if geteuid():
        yield
        return
    seteuid(65534)
    try:
        yield
    finally:
        seteuid(0)


def test_counters_for_root_alone_come_with_how_to_open_them(root: Path, nobody: None) -> None:
    assert isinstance(open_probe(root), NullProbe)
    assert "root" in why_not(root)
    assert "chmod a+r" in why_not(root)
