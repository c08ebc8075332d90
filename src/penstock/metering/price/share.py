"""The part of the machine that is this server's, of which it bears the cost and the energy."""

import os
from pathlib import Path

from penstock.core.machine import cores

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc/self/cgroup")


def share(setting: float, total: int, usable: int, quota: float | None) -> float:
    """More than 0 and at most 1: ``setting`` unless it is 0, else processors to use over processors there.

    ``quota``: processors by the time that a container may take of them; None: no limit.
    Pure.
    """
    if setting > 0:
        return min(setting, 1.0)
    mine = float(usable) if quota is None else min(quota, usable)
    return min(mine / total, 1.0) if mine > 0 and total > 0 else 1.0


def mine(setting: float) -> float:
    """``share`` by what the system says of this process."""
    return share(setting, os.cpu_count() or 1, len(cores()), quota())


def quota(root: Path = CGROUP, proc: Path = PROC) -> float | None:
    """Processors by the least ``cpu.max`` (cgroup v2) of this process' group and those around it."""
    found = [_limit(folder / "cpu.max") for folder in _groups(root, proc)]
    return min((limit for limit in found if limit is not None), default=None)


def _groups(root: Path, proc: Path) -> list[Path]:
    """The process's own group and those around it; in a container its own is the root."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return [root]
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    inner = root / own
    return [inner, *(above for above in inner.parents if above.is_relative_to(root))]


def _limit(file: Path) -> float | None:
    """``200000 100000`` is two processors: microseconds of time in each period of so many."""
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
