"""Energy of AMD's GPUs, Apple silicon and Jetson, as the package zeus reads it: https://ml.energy/zeus."""

from collections.abc import Callable, Sequence
from importlib import import_module
from time import monotonic
from typing import Any

from penstock.metering.energy.nvml import SAMPLES, Counted, Meter, Metered, Sampled
from penstock.metering.energy.probe import Part, Probe

COUNTER = 0.10
"""Part by which a counter may be wrong, either way; the makers publish none.
zeus leaves out counters of AMD that are wide of the power shown.
"""
MODELLED = 0.20
"""Apple's are a model of the chip, and called estimates by its own ``powermetrics``."""


def open_probes(
    load: Callable[[str], Any] = import_module, clock: Callable[[], float] = monotonic
) -> Sequence[Probe]:
    """What zeus finds on this machine, a probe for each part; none without the package or its devices.

    Blocks for up to a second: zeus compares AMD's counters with their power first.
    On Jetson it starts a process that reads the sensors ten times a second.
    """
    return [probe for probe in (_gpus(load, clock), *_chip(load)) if probe is not None]


def _gpus(load: Callable[[str], Any], clock: Callable[[], float]) -> Probe | None:
    try:
        devices = load("zeus.device.gpu").get_gpus().gpus
        meters = [_meter(gpu, clock) for gpu in devices if not _counted_beside(gpu)]
    except Exception:  # noqa: BLE001 - not installed, no driver, or a device that cannot tell
        return None
    return Metered("gpu", "zeus", meters) if meters else None


def _meter(gpu: Any, clock: Callable[[], float]) -> Meter:
    if gpu.supports_get_total_energy_consumption():
        return Counted(gpu.get_total_energy_consumption, COUNTER)
    try:
        return Sampled(gpu.get_average_power_usage, SAMPLES, clock)
    except Exception:  # noqa: BLE001 - which of the two there is differs by model and driver
        return Sampled(gpu.get_instant_power_usage, SAMPLES, clock)


def _counted_beside(gpu: Any) -> bool:
    """The second chiplet of an MI250, whose power is in the first one's."""
    return bool(gpu.gpu_index % 2 and "MI250" in gpu.get_name())


def _chip(load: Callable[[str], Any]) -> list[Probe | None]:
    try:
        chip = load("zeus.device.soc").get_soc()
        first = chip.get_total_energy_consumption()
    except Exception:  # noqa: BLE001 - not installed, or no such chip
        return []
    error = MODELLED if hasattr(first, "ane_mj") else COUNTER
    parts: tuple[tuple[Part, Callable[[Any], float | None]], ...] = (("cpu", _cpu), ("gpu", _gpu))
    return [_on_chip(chip, part, told, error) for part, told in parts]


def _on_chip(chip: Any, part: Part, told: Callable[[Any], float | None], error: float) -> Probe | None:
    def read() -> float:
        millijoules = told(chip.get_total_energy_consumption())
        if millijoules is None:
            raise ValueError(f"the chip does not tell what its {part} takes")
        return millijoules

    try:
        return Metered(part, "zeus", [Counted(read, error)])
    except Exception:  # noqa: BLE001 - it has no such counter
        return None


def _cpu(measured: Any) -> float | None:
    """Millijoules of all that is not the GPU: cores and memory; on Jetson, the board where it tells."""
    total = _sum(measured, "total_energy_mj")
    if total is not None:
        return total - (_gpu(measured) or 0.0)
    cores = _sum(measured, "cpu_total_mj", "cpu_energy_mj")
    return None if cores is None else cores + (_sum(measured, "dram_mj") or 0.0)


def _gpu(measured: Any) -> float | None:
    """Millijoules of what computes beside the cores: GPU and neural engine."""
    gpu = _sum(measured, "gpu_mj", "gpu_energy_mj")
    return None if gpu is None else gpu + (_sum(measured, "gpu_sram_mj", "ane_mj") or 0.0)


def _sum(measured: Any, *fields: str) -> float | None:
    told = [value for field in fields if (value := getattr(measured, field, None)) is not None]
    return float(sum(told)) if told else None
