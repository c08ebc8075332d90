"""Energy is watts by utilisation, added up over time, with a band; or it is said that it is not known."""

from os import sysconf
from pathlib import Path

import pytest

from penstock.core.terms import EnergyTerms
from penstock.metering.energy.estimate import MEMORY, STILL, Estimate, busy_seconds, open_probe
from penstock.metering.energy.family import watts
from penstock.metering.energy.probe import Joules
from penstock.testing import ManualClock

GIVEN = EnergyTerms(min_watts=1, max_watts=5)


def stat(root: Path, busy: int, idle: int, steal: int = 0, processors: int = 4) -> None:
    lines = [f"cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0"]
    lines += [f"cpu{number} {busy // processors} 0 0 0 0 0 0 0 0 0" for number in range(processors)]
    (root / "stat").write_text("\n".join([*lines, "intr 12 3", "ctxt 4", ""]))


def meminfo(root: Path, gigabytes: float) -> None:
    (root / "meminfo").write_text(f"MemTotal:  {round(gigabytes * 1e9 / 1024)} kB\nMemFree:  12 kB\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four vCPUs with the memory that is in their watts already."""
    stat(tmp_path, 1000, 1000)
    meminfo(tmp_path, 4)
    return tmp_path


def opened(root: Path, clock: ManualClock, terms: EnergyTerms = GIVEN) -> Estimate:
    probe = open_probe(watts(terms, root), root, clock)
    assert probe is not None
    return probe


def mid(joules: Joules | None) -> float:
    assert joules is not None
    return round(joules.mid, 3)


def test_half_busy_is_half_way_from_idle_to_busy(root: Path) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(10)
    stat(root, 3000, 3000)
    assert mid(probe.joules()) == 4 * 3 * 10


def test_each_span_has_its_own_utilisation(root: Path) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    for busy, idle in ((1000, 1400), (1400, 1400)):
        clock.advance(1)
        stat(root, busy, idle)
        last = probe.joules()
    assert mid(last) == 4 * 1 + 4 * 5


def test_time_that_others_have_taken_is_not_busy(root: Path) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(1)
    stat(root, 1000, 1000, steal=400)
    assert mid(probe.joules()) == 4


def test_memory_beyond_that_of_the_servers_measured_is_added(root: Path) -> None:
    meminfo(root, 4 + 10)
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(1)
    stat(root, 1000, 1400)
    assert mid(probe.joules()) == pytest.approx(4 + 10 * 0.392, abs=0.001)
    assert probe.idle_watts == pytest.approx(4 + 10 * 0.392, abs=0.001)


def test_the_band_holds_other_shapes_of_load_and_what_makers_say_of_memory(root: Path) -> None:
    meminfo(root, 4 + 10)
    probe = opened(root, ManualClock())
    power = probe.power(0.5)
    assert power.low == pytest.approx(4 * (1 + 4 * 0.4) + 10 * MEMORY.low, abs=0.001)
    assert power.high == pytest.approx(4 * (1 + 4 * 0.6) + 10 * MEMORY.high, abs=0.001)


@pytest.mark.parametrize("busy", [0.0, 0.03, 0.5, 0.97, 1.0])
def test_the_band_is_in_order_at_any_load(root: Path, busy: float) -> None:
    power = opened(root, ManualClock(), EnergyTerms(processor="Skylake")).power(busy)
    assert 0 < power.low < power.mid < power.high


def test_between_two_ticks_nothing_is_added_and_nothing_lost(root: Path) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(0.001)
    assert mid(probe.joules()) == 0
    clock.advance(0.999)
    stat(root, 1400, 1000)
    assert mid(probe.joules()) == 4 * 5


def test_counts_that_stand_still_are_not_known_from_then_on(root: Path) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(STILL + 1)
    assert probe.joules() is None
    stat(root, 9000, 9000)
    assert probe.joules() is None


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 x 4", "intr 1 2 3 4", "cpu 1 0 0 1"])
def test_what_cannot_be_read_any_more_is_not_known_from_then_on(root: Path, text: str) -> None:
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(1)
    (root / "stat").write_text(text)
    assert probe.joules() is None
    stat(root, 9000, 9000)
    assert probe.joules() is None


@pytest.mark.parametrize("text", ["", "cpu 0 0 0 0\ncpu0 0 0 0 0\n", "cpu 1 0 0 1\n"])
def test_a_system_that_does_not_count_has_no_probe(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    assert open_probe(watts(GIVEN, tmp_path), tmp_path) is None
    assert open_probe(watts(GIVEN, tmp_path), tmp_path / "absent") is None


def test_a_kernel_of_few_columns_is_read_too(root: Path) -> None:
    (root / "stat").write_text("cpu 10 0 0 10\ncpu0 10 0 0 10\n")
    clock = ManualClock()
    probe = opened(root, clock)
    clock.advance(1)
    (root / "stat").write_text("cpu 20 0 0 10\ncpu0 20 0 0 10\n")
    assert mid(probe.joules()) == pytest.approx(5 + 3 * 0.392, abs=0.001)


def test_without_its_size_no_memory_is_added(root: Path) -> None:
    (root / "meminfo").write_text("what?")
    assert opened(root, ManualClock()).idle_watts == 4


def test_how_long_the_machine_was_busy_is_told_in_core_seconds(root: Path) -> None:
    stat(root, busy=1200, idle=5000)
    assert busy_seconds(root) == pytest.approx(1200 / sysconf("SC_CLK_TCK"))
    assert busy_seconds(root / "absent") is None
