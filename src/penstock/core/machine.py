"""What the machine has to share out: cores for each process, memory for how many, and who holds it."""

import os
import platform
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from penstock.core.cgroup import quota

SHARE = 0.8
"""Of the memory that is free, for more processes of one model."""


def cores() -> list[int]:
    """Those that this process may use, where the system tells (macOS does not).

    A container that may take less time than that of all of them has as many as it can keep busy; on which
    they run is the system's to say.
    """
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return within(usable or list(range(os.cpu_count() or 1)), quota())


def within(usable: Sequence[int], limit: float | None) -> list[int]:
    """As many as a limit in processors keeps busy, at least one. Pure."""
    return list(usable) if limit is None else list(usable[: max(1, ceil(limit))])


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process holds now; 0 where the system does not tell (it is Linux that does)."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """Processor seconds that a process has used; 0 where the system does not tell."""
    try:
        # The name, in brackets, may hold anything; utime and stime are the 14th and 15th field (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def is_arm() -> bool:
    """Whether it is a 64-bit ARM."""
    return platform.machine().lower() in ("arm64", "aarch64")


def overflows_int8() -> bool:
    """Whether sums of two 8-bit products may overflow 16 bits, as on x86 before VNNI.

    Weights of 7 bits then keep answers right; where the system does not tell, it is taken for newer.
    """
    try:
        return not is_arm() and "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def place(count: int, threads: int, cores: Sequence[int]) -> list[tuple[int, ...]]:
    """Cores for each of ``count`` processes: their own where they fill the machine, else any (empty).

    Fewer processes than fill it are left to the system: another model's would be put on the same cores
    while others stand idle. Pure.
    """
    if count < 2 or count * threads != len(cores):
        return [()] * count
    return [tuple(cores[at * threads : (at + 1) * threads]) for at in range(count)]


def pin(pid: int, cores: Sequence[int]) -> None:
    """Move a process, with the threads that it has, to these cores; nothing where none are named.

    Nor where time is what is limited: other containers would pin theirs to the same cores.
    """
    if not cores or quota() is not None or not hasattr(os, "sched_setaffinity"):
        return
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            os.sched_setaffinity(int(task.name), cores)
        except OSError:
            pass  # it ended meanwhile


def affordable(wanted: int, each: int, free: int) -> int:
    """How many processes to have, when one of ``each`` bytes runs already and so much is free. Pure."""
    if not each or not free:
        return wanted
    return max(1, min(wanted, 1 + int(free * SHARE) // each))


def free_memory() -> int:
    """Bytes that may still be taken without swapping or being killed; 0 where the system does not tell."""
    found = [free for free in (_meminfo(), _cgroup()) if free is not None]
    return min(found, default=0)


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _cgroup() -> int | None:
    """A container's limit (cgroup v2), which /proc/meminfo knows nothing of."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
