"""Energy by the processors' own counters: RAPL, as Linux shows it: https://docs.kernel.org/power/powercap/powercap.html."""

import re
from collections.abc import Sequence
from pathlib import Path

from penstock.metering.energy.probe import Joules, NullProbe, Part, Probe

POWERCAP = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:\d+")
"""Also AMD's; zones below a package (``intel-rapl:0:1``) are part of it, those of intel-rapl-mmio are
the same counted twice."""


class Rapl:
    """The processor packages of this machine together: cores, caches and what else is on the chip.

    The hardware's counters wrap around, at 100 W after some 40 minutes: read more often than that.
    """

    part: Part = "cpu"
    method = "rapl"
    idle_watts: float | None = None

    def __init__(self, zones: Sequence["Zone"]) -> None:
        self._zones = zones

    def joules(self) -> Joules | None:
        """Since the start; None from the first failure on, because what it missed is not known."""
        total = 0
        for zone in self._zones:
            used = zone.microjoules()
            if used is None:
                return None
            total += used
        spent = total / 1e6
        return Joules(spent, spent, spent)


class Zone:
    """One counter that wraps around, as one that does not.

    Raises OSError or ValueError where it cannot be read now.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = _number(folder / "max_energy_range_uj")
        self._last = _number(self._file)
        self._used: int | None = self._last
        if self._range <= 0:
            raise ValueError(f"{folder} does not say where its counter wraps around")

    def microjoules(self) -> int | None:
        if self._used is not None:
            try:
                now = _number(self._file)
            except (OSError, ValueError):
                self._used = None
            else:
                self._used += now - self._last + (self._range if now < self._last else 0)
                self._last = now
        return self._used


def open_probe(root: Path = POWERCAP) -> Probe:
    """What this machine has to tell by; a ``NullProbe`` where that is nothing, or may not be read.

    Most systems let only root read the counters (``energy_uj``).
    """
    try:
        zones = [Zone(folder) for folder in _packages(root)]
    except (OSError, ValueError):
        return NullProbe()  # a part of the packages would pass for all of them
    return Rapl(zones) if zones else NullProbe()


def _packages(root: Path) -> list[Path]:
    """The zones of whole processors; ``psys`` beside them has them in it."""
    zones = sorted(entry for entry in root.iterdir() if _ZONE.fullmatch(entry.name))
    return [zone for zone in zones if (zone / "name").read_text().startswith("package")]


def _number(file: Path) -> int:
    return int(file.read_text())
