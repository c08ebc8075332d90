"""The processor's family, by what the system says of it, and the watts of one of its vCPUs."""

import csv
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.terms import EnergyTerms
from penstock.metering.energy.probe import Joules

TABLE = Path(__file__).with_name("processors.csv")
AVERAGE = (0.74, 3.5)
"""Cloud Carbon Footprint's means over processors, for those it does not know (MIN_WATTS_AVG and MAX_WATTS_AVG
of packages/aws/src/domain/AwsFootprintEstimationConstants.ts).
"""
WITHIN = (0.4, 1.7)
"""How far one model may be from the mean of its family.

Of the 4th generation of EPYC, the 9754 and 9654 take 0.31 to 0.46 of the family's mean when idle, and 0.55 to
0.95 when busy; of Emerald Rapids the 8592+ takes 0.68 when busy (SPECpower_ssj2008).
As these have the most cores, those with few must be above the mean.
"""
LIKE = (0.25, 2.5)
"""Likewise of a family that another stands for: an EPYC 9965 takes 0.26 idle and 0.46 busy of the 4th
generation's, and where a vCPU is a core (AWS, of the 5th generation) it takes as much as two threads.
"""

FAMILIES: tuple[tuple[str, str], ...] = (
    (r"AuthenticAMD 23/1/", "EPYC 1st Gen"),
    (r"AuthenticAMD 23/49/", "EPYC 2nd Gen"),
    (r"AuthenticAMD 25/[01]/", "EPYC 3rd Gen"),
    (r"AuthenticAMD 25/(16|17|160)/", "EPYC 4th Gen"),
    (r"AuthenticAMD 26/([012]|16|17)/", "EPYC 5th Gen"),
    (r"GenuineIntel 6/(42|45)/", "Sandy Bridge"),
    (r"GenuineIntel 6/(58|62)/", "Ivy Bridge"),
    (r"GenuineIntel 6/(60|63|69|70)/", "Haswell"),
    (r"GenuineIntel 6/(61|71|79|86)/", "Broadwell"),
    (r"GenuineIntel 6/(78/|94/|85/[0-4]$)", "Skylake"),
    (r"GenuineIntel 6/85/", "Cascade Lake"),
    (r"GenuineIntel 6/158/", "Coffee Lake"),
    (r"GenuineIntel 6/(106|108)/", "Ice Lake"),
    (r"GenuineIntel 6/143/", "Sapphire Rapids"),
    (r"GenuineIntel 6/207/", "Emerald Rapids"),
    (r"GenuineIntel 6/17[34]/", "Granite Rapids"),
    (r"0x41 0xd0c", "Neoverse N1"),
    (r"0x41 0xd40", "Graviton3"),
    (r"0x41 0xd4f", "Graviton4"),
)
"""Regular expressions, the first that matches, of ``vendor family/model/stepping``, Arm ``maker part``.

Not of the name, which clouds cut down to "AMD EPYC" or "Intel Xeon Processor @ 2.60GHz".
The numbers are those of the kernel: arch/x86/include/asm/intel-family.h, arch/arm64/include/asm/cputype.h.
"""


class Watts(NamedTuple):
    """Of one vCPU: idle, and fully busy."""

    least: Joules
    most: Joules


def watts(terms: EnergyTerms, proc: Path) -> Watts:
    """By the settings, else by the processor. Raises BadSetting."""
    if terms.min_watts is not None or terms.max_watts is not None:
        return _given(terms)
    name = terms.processor or family(described(proc))
    if not name:
        return unknown()
    known = {row.casefold(): row for row in table()}
    if name.casefold() not in known:
        raise BadSetting(f"energy.processor = {name!r}; {nearest(name, list(table()))}")
    return table()[known[name.casefold()]]


def _given(terms: EnergyTerms) -> Watts:
    least, most = terms.min_watts, terms.max_watts
    if least is None or most is None or least > most:
        raise BadSetting(
            f"energy.min_watts = {least}, energy.max_watts = {most}; give both, of one vCPU idle and busy, "
            "the second at least as large"
        )
    return Watts(Joules(least, least, least), Joules(most, most, most))


def family(description: str) -> str:
    """Empty where it is none of those known. Pure."""
    return next((name for found, name in FAMILIES if re.match(found, description)), "")


def described(proc: Path) -> str:
    """The first processor, as ``FAMILIES`` wants it; empty where the system does not say."""
    try:
        lines = (proc / "cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    said: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    if "CPU part" in said:
        return f"{said.get('CPU implementer', '')} {said['CPU part']}"
    numbers = (said.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{said.get('vendor_id', '')} {'/'.join(numbers)}"


@cache
def table() -> dict[str, Watts]:
    """By family."""
    return {
        name: Watts(*_banded(least, most, LIKE if like else WITHIN)) for name, least, most, like in _rows()
    }


@cache
def unknown() -> Watts:
    """The mean, and a band from the least to the most that any family takes."""
    columns = [row.least for row in table().values()], [row.most for row in table().values()]
    return Watts(*(_over(mid, column) for mid, column in zip(AVERAGE, columns, strict=True)))


def _banded(least: float, most: float, spread: tuple[float, float]) -> tuple[Joules, Joules]:
    band = Joules(spread[0], 1.0, spread[1])
    return band * least, band * most


def _over(mid: float, found: list[Joules]) -> Joules:
    return Joules(min(each.low for each in found), mid, max(each.high for each in found))


def _rows() -> list[tuple[str, float, float, str]]:
    with TABLE.open(newline="") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return [
            (row["family"], float(row["min_watts"]), float(row["max_watts"]), row["like"]) for row in rows
        ]
