"""Which probes there are: counters where they can be read, else an estimate; and what the building adds."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from penstock.core.errors import BadSetting
from penstock.core.terms import EnergyTerms
from penstock.metering.energy import estimate, family, nvml, rapl, zeus
from penstock.metering.energy.probe import NullProbe, Part, Probe

DEV = Path("/dev")
PUE = {"aws": 1.135, "gcp": 1.1, "azure": 1.185}
"""Cloud Carbon Footprint's: PUE_AVG in packages/*/src/domain/*FootprintEstimationConstants.ts."""


class Ways(NamedTuple):
    """What is asked; others in tests."""

    powercap: Path = rapl.POWERCAP
    proc: Path = estimate.PROC
    library: Callable[[], nvml.Library | None] = nvml.load
    others: Callable[[], Sequence[Probe]] = zeus.open_probes


HERE = Ways()


def probes(terms: EnergyTerms, ways: Ways = HERE) -> Sequence[Probe]:
    """One for each part of the machine that can tell; ``none``: none.

    A method that is named is used for the part that it is for; the other part is told as by ``auto``.
    Blocks for up to some seconds, because drivers are loaded.
    Raises BadSetting where the one that is named cannot be had here.
    """
    if terms.probe == "none":
        return ()
    watts = family.watts(terms, ways.proc)
    ways = ways._replace(others=cache(ways.others))
    if terms.probe == "zeus" and not ways.others():
        _refused(
            "zeus", "the package zeus is not installed (pip install zeus), or finds no device that counts"
        )
    found = (_cpu(terms.probe, watts, ways), _gpu(terms.probe, ways))
    return [probe for probe in found if probe is not None]


def _cpu(wanted: str, watts: family.Watts, ways: Ways) -> Probe | None:
    if wanted == "rapl":
        return _rapl(ways) or _refused("rapl", rapl.why_not(ways.powercap))
    if wanted == "estimate":
        why = f"{ways.proc / 'stat'} does not tell how busy the processors are (Linux's does)"
        return estimate.open_probe(watts, ways.proc) or _refused("estimate", why)
    first = _other("cpu", ways) if wanted == "zeus" else None
    return first or _rapl(ways) or _other("cpu", ways) or estimate.open_probe(watts, ways.proc)


def _gpu(wanted: str, ways: Ways) -> Probe | None:
    library = ways.library()
    if wanted == "zeus" and (other := _other("gpu", ways)) is not None:
        return other
    counted = nvml.open_probe(library) if library is not None else None
    if counted is None and wanted == "nvml":
        silent = "NVML finds no GPU, or one that does not tell; nvidia-smi shows what the driver sees"
        missing = "the package nvidia-ml-py is not installed (pip install nvidia-ml-py)"
        _refused("nvml", missing if library is None else silent)
    return counted or _other("gpu", ways)


def _rapl(ways: Ways) -> Probe | None:
    probe = rapl.open_probe(ways.powercap)
    return None if isinstance(probe, NullProbe) else probe


def _other(part: Part, ways: Ways) -> Probe | None:
    return next((probe for probe in ways.others() if probe.part == part), None)


def _refused(wanted: str, why: str) -> NoReturn:
    raise BadSetting(f"energy.probe = {wanted!r}: {why}; 'auto' takes what there is")


def gpu_count(dev: Path = DEV, load: Callable[[], nvml.Library | None] = nvml.load) -> int:
    """NVIDIA's GPUs that this process may see: by their device files, else (Windows' Linux) by NVML."""
    try:
        files = sum(file.name.removeprefix("nvidia").isdigit() for file in dev.glob("nvidia[0-9]*"))
    except OSError:
        files = 0
    return files or nvml.count(load())


def pue(terms: EnergyTerms, cloud: str) -> tuple[float, str]:
    """What the building takes for each joule of the machine, and where that is from. Pure.

    Without a setting and outside the known clouds 1: the machine alone.
    """
    if terms.pue is not None:
        return terms.pue, "setting"
    if cloud in PUE:
        return PUE[cloud], f"Cloud Carbon Footprint, {cloud}"
    return 1.0, "machine alone"
