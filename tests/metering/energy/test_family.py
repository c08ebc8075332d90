"""A processor's family is told by its numbers, and its watts are those published, with a band."""

from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import EnergyTerms
from penstock.metering.energy.family import FAMILIES, described, family, table, unknown, watts

X86 = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\nstepping\t: {}\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU part\t: {}\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (X86.format("AuthenticAMD", 23, 1, "AMD EPYC 7601 32-Core Processor", 2), "EPYC 1st Gen"),
        (X86.format("AuthenticAMD", 23, 49, "AMD EPYC 7B12", 0), "EPYC 2nd Gen"),
        (X86.format("AuthenticAMD", 25, 1, "AMD EPYC-Milan Processor", 1), "EPYC 3rd Gen"),
        (X86.format("AuthenticAMD", 25, 17, "AMD EPYC 9R14", 1), "EPYC 4th Gen"),
        (X86.format("AuthenticAMD", 26, 2, "AMD EPYC", 1), "EPYC 5th Gen"),
        (X86.format("AuthenticAMD", 25, 97, "AMD Ryzen 9 7950X 16-Core Processor", 2), ""),
        (X86.format("GenuineIntel", 6, 63, "Intel(R) Xeon(R) CPU @ 2.30GHz", 0), "Haswell"),
        (X86.format("GenuineIntel", 6, 79, "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", 1), "Broadwell"),
        (X86.format("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", 4), "Skylake"),
        (X86.format("GenuineIntel", 6, 85, "Intel(R) Xeon(R) CPU @ 2.80GHz", 7), "Cascade Lake"),
        (X86.format("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Gold 6348H CPU", 11), "Cascade Lake"),
        (X86.format("GenuineIntel", 6, 106, "Intel(R) Xeon(R) CPU @ 2.60GHz", 6), "Ice Lake"),
        (X86.format("GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8488C", 8), "Sapphire Rapids"),
        (X86.format("GenuineIntel", 6, 207, "INTEL(R) XEON(R) PLATINUM 8581C", 2), "Emerald Rapids"),
        (X86.format("GenuineIntel", 6, 173, "Intel(R) Xeon(R) 6985P-C", 1), "Granite Rapids"),
        (ARM.format("0xd0c"), "Neoverse N1"),
        (ARM.format("0xd4f"), "Graviton4"),
        (ARM.format("0xd03"), ""),
        ("", ""),
    ],
)
def test_the_family_is_told_by_the_numbers_not_by_the_name(tmp_path: Path, said: str, expected: str) -> None:
    (tmp_path / "cpuinfo").write_text(said)
    assert family(described(tmp_path)) == expected


def test_every_family_that_is_told_has_watts() -> None:
    assert {name for _, name in FAMILIES} <= set(table())


def test_bands_hold_what_is_published_and_idle_is_below_busy() -> None:
    for row in [*table().values(), unknown()]:
        for watts_ in row:
            assert 0 < watts_.low < watts_.mid < watts_.high
        assert row.least.mid < row.most.mid


def test_published_watts_are_those_of_cloud_carbon_footprint() -> None:
    assert (table()["Skylake"].least.mid, table()["Skylake"].most.mid) == (0.6130, 4.1042)


def test_the_outlier_of_the_source_is_not_used() -> None:
    """Its 5th generation of EPYC: 3.68 W to 8.96 W."""
    fifth, fourth = table()["EPYC 5th Gen"], table()["EPYC 4th Gen"]
    assert fifth.most.mid == fourth.most.mid
    assert fifth.most.low < fourth.most.low
    assert fifth.most.high > fourth.most.high


def test_an_epyc_9965_lies_in_the_band_of_its_generation() -> None:
    """SPECpower_ssj2008, ASUS RS720A-E13-RS8U, May 2025: 150 W idle, 800 W busy, 768 threads."""
    fifth = table()["EPYC 5th Gen"]
    assert fifth.least.low < 150 / 768 < fifth.least.high
    assert fifth.most.low < 800 / 768 < fifth.most.high


def test_an_unknown_processor_has_the_mean_of_all_and_a_band_over_all(tmp_path: Path) -> None:
    expected = unknown()
    assert watts(EnergyTerms(), tmp_path) == expected
    assert (expected.least.mid, expected.most.mid) == (0.74, 3.5)
    assert all(row.most.high <= expected.most.high for row in table().values())


def test_a_family_may_be_named_in_any_case(tmp_path: Path) -> None:
    assert watts(EnergyTerms(processor="ice lake"), tmp_path) == table()["Ice Lake"]


def test_a_family_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="Ice Lake"):
        watts(EnergyTerms(processor="Icelake"), tmp_path)


def test_watts_that_are_given_replace_the_family_s(tmp_path: Path) -> None:
    given = watts(EnergyTerms(processor="Ice Lake", min_watts=1, max_watts=5), tmp_path)
    assert (given.least.low, given.least.mid, given.most.high) == (1, 1, 5)


@pytest.mark.parametrize(("least", "most"), [(1, None), (None, 5), (5, 1)])
def test_half_of_the_watts_or_turned_round_are_refused(
    tmp_path: Path, least: float | None, most: float | None
) -> None:
    with pytest.raises(BadSetting, match="give both"):
        watts(EnergyTerms(min_watts=least, max_watts=most), tmp_path)
