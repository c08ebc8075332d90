"""Energy where there is no counter: watts by processor family and utilisation, and memory by its size."""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from penstock.metering.energy.family import Watts
from penstock.metering.energy.probe import Joules, Part

PROC = Path("/proc")
BENT = 0.1
"""Of full load, either way: power is taken to grow straight with it, which it does not, and a busy hardware
thread may have its core for itself or share it.
"""
MEMORY = Joules(0.1, 0.392, 0.408)
"""Watts for each GB.

Cloud Carbon Footprint's coefficient, 0.000392 kWh for each GB-hour, is the mean of what two makers say:
0.375 W and 0.408 W.
Large modules of today take less: a whole server with 192 GB idles at 47 W, 0.25 W for each GB
(SPECpower_ssj2008, ASUS RS720-E9-RS8, July 2019).
"""
MEASURED = 1.0
"""GB to a vCPU that are in the processors' watts already, which are those of whole servers: 0.5 to 1.7 in
those of SPECpower_ssj2008 with EPYC 7742 to 9965 and Xeon 8180 to 8592+.
"""
STILL = 60.0
"""Seconds without a tick after which the counts are held to be no counts."""


class Ticks(NamedTuple):
    """The first line of ``/proc/stat``: time of all processors together since the start."""

    busy: int
    total: int


class Estimate:
    """watts = vCPUs × (min + (max − min) × utilisation) + memory, added up between readings; a ``Probe``.

    It is the whole machine's utilisation, as a virtual machine sees it.
    """

    part: Part = "cpu"
    method = "estimate"

    def __init__(
        self,
        watts: Watts,
        processors: int,
        gigabytes: float,
        root: Path = PROC,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Raises OSError or ValueError where nothing tells how busy the processors are."""
        self.watts = watts
        self.processors = processors
        self._memory = MEMORY * max(0.0, gigabytes - MEASURED * processors)
        self.idle_watts: float | None = processors * watts.least.mid + self._memory.mid
        self._file = root / "stat"
        self._clock = clock
        self._at, self._ticks = clock(), read(self._file)
        self._sum: Joules | None = Joules()
        if not self._ticks.total:
            raise ValueError(f"{self._file} does not count")

    def joules(self) -> Joules | None:
        """Since the start; None from the first failure on."""
        if self._sum is not None:
            try:
                self._add(self._clock(), read(self._file))
            except (OSError, ValueError):
                self._sum = None
        return self._sum

    def _add(self, at: float, ticks: Ticks) -> None:
        passed, seconds = ticks.total - self._ticks.total, at - self._at
        if passed > 0:
            busy = (ticks.busy - self._ticks.busy) / passed
            self._sum = (self._sum or Joules()) + self.power(min(max(busy, 0.0), 1.0)) * seconds
            self._at, self._ticks = at, ticks
        elif passed < 0 or seconds > STILL:
            raise ValueError(f"{self._file} has stopped counting")

    def power(self, busy: float) -> Joules:
        """Watts of the machine when such a part (0 to 1) of its processors' time is busy."""
        least, most = self.watts
        low = _between(least.low, most.low, max(0.0, busy - BENT))
        high = _between(least.high, most.high, min(1.0, busy + BENT))
        return Joules(low, _between(least.mid, most.mid, busy), high) * self.processors + self._memory


def open_probe(watts: Watts, root: Path = PROC, clock: Callable[[], float] = monotonic) -> Estimate | None:
    """None where the system does not tell how busy it is (Linux does)."""
    try:
        return Estimate(watts, processors(root), memory(root), root, clock)
    except (OSError, ValueError):
        return None


def read(file: Path) -> Ticks:
    """User, nice, system, interrupts are busy; idle, waiting and what others have taken (steal) are not.

    Guests' time is in the user's: https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
    """
    with file.open() as lines:
        name, *counts = lines.readline().split()
    if name != "cpu" or len(counts) < 4:
        raise ValueError(f"{file} begins with {name!r}, not with the sums of all processors")
    user, nice, system, idle, waiting, hard, soft, steal = [int(count) for count in [*counts, *"0000"][:8]]
    busy = user + nice + system + hard + soft
    return Ticks(busy, busy + idle + waiting + steal)


def busy_seconds(root: Path = PROC) -> float | None:
    """Core-seconds in which the machine was busy so far, whoever with; None where it does not tell."""
    try:
        return read(root / "stat").busy / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


def processors(root: Path = PROC) -> int:
    """How many vCPUs there are, whoever may use them. Raises OSError or ValueError."""
    lines = (root / "stat").read_text().splitlines()
    found = sum(line.startswith("cpu") and line[3:4].isdigit() for line in lines)
    if not found:
        raise ValueError(f"{root / 'stat'} names no processor")
    return found


def memory(root: Path = PROC) -> float:
    """GB of the machine; 0 where it is not told."""
    try:
        lines = (root / "meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("MemTotal:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0.0


def _between(least: float, most: float, part: float) -> float:
    return least + (most - least) * part
