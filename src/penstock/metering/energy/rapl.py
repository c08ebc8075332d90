"""Energy by the processors' own counters: RAPL, as Linux shows it: https://docs.kernel.org/power/powercap/powercap.html."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from penstock.metering.energy.probe import Joules, NullProbe, Part, Probe

POWERCAP = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")
"""Also AMD's; those of intel-rapl-mmio are the same counted twice."""
PACKAGE, MEMORY = 0.10, 0.20
"""Parts of a reading by which it may be wrong, either way.

Intel's packages since Haswell are measured at their voltage regulators and follow a reference meter closely
(Hackenberg et al., IPDPSW 2015, doi:10.1109/IPDPSW.2015.70); AMD's are modelled and miss what depends on the
data (Schöne et al., 2021, arXiv:2108.00808).
Memory is off by a constant that differs between machines (Desrochers et al., MEMSYS 2016,
doi:10.1145/2989081.2989088).
Neither counts what is not in these zones: fans, disks, network, and what the power supply loses.
"""


MOST_WATTS = 2000.0
"""Of one zone: more than any takes, less than a wrap-around in a few seconds would be."""


class Rapl:
    """The processor packages of this machine together, and its memory where that has counters.

    The hardware's counters wrap around, at 100 W after some 40 minutes: read more often than that.
    """

    part: Part = "cpu"
    method = "rapl"
    idle_watts: float | None = None

    def __init__(self, packages: Sequence["Zone"], memory: Sequence["Zone"] = ()) -> None:
        self._zones = [(zone, PACKAGE) for zone in packages] + [(zone, MEMORY) for zone in memory]

    def joules(self) -> Joules | None:
        """Since the start; None from the first failure on, because what it missed is not known."""
        total = Joules()
        for zone, error in self._zones:
            used = zone.microjoules()
            if used is None:
                return None
            total += Joules(1 - error, 1.0, 1 + error) * (used / 1e6)
        return total


class Zone:
    """One counter that wraps around, as one that does not.

    Raises OSError or ValueError where it cannot be read now.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._file = folder / "energy_uj"
        self._range = _number(folder / "max_energy_range_uj")
        self._last = _number(self._file)
        self._used: int | None = 0
        if self._range <= 0:
            raise ValueError(f"{folder} does not say where its counter wraps around")

    def microjoules(self) -> int | None:
        """Used since it was opened; None from the first failure on."""
        if self._used is not None:
            try:
                now = _number(self._file)
            except (OSError, ValueError):
                self._used = None
            else:
                self._used += self._spent(now)
                self._last = now
        return self._used

    def _spent(self, now: int) -> int:
        """Since the last reading; a counter that was put back by a suspend begins anew."""
        before, self._since = self._since, self._clock()
        if now >= self._last:
            return now - self._last
        wrapped = now - self._last + self._range
        return wrapped if wrapped <= MOST_WATTS * 1e6 * (self._since - before) else now


def open_probe(root: Path = POWERCAP, *, clock: Callable[[], float] = monotonic) -> Probe:
    """What this machine has to tell by; a ``NullProbe`` where that is nothing, or may not be read.

    Most systems let only root read the counters (``energy_uj``).
    """
    try:
        packages, memory = _zones(root, "package", clock), _zones(root, "dram", clock)
    except (OSError, ValueError):
        return NullProbe()  # a part of the zones would pass for all of them
    return Rapl(packages, memory) if packages else NullProbe()


def why_not(root: Path = POWERCAP) -> str:
    """Why there is no probe, and what to do about it, for whoever asked for one."""
    try:
        found = _folders(root, "package")
        for folder in found:
            Zone(folder)
    except PermissionError as error:
        return (
            f"{error.filename} may be read by root alone: run the server as root, give it the capability "
            f"CAP_DAC_READ_SEARCH, or chmod a+r {root}/intel-rapl*/energy_uj after each start of the machine"
        )
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        return f"the counters cannot be read ({error})"
    return f"there are no counters in {root}, as in most virtual machines"


def _zones(root: Path, name: str, clock: Callable[[], float]) -> list[Zone]:
    return [Zone(folder, clock) for folder in _folders(root, name)]


def _folders(root: Path, name: str) -> list[Path]:
    """The zones of that name; cores and graphics are part of their package, and ``psys`` has it in it."""
    found = sorted(entry for entry in root.iterdir() if _ZONE.fullmatch(entry.name))
    return [folder for folder in found if (folder / "name").read_text().startswith(name)]


def _number(file: Path) -> int:
    return int(file.read_text())
