"""The processor time that a container may take (cgroup v2), which the number of cores knows nothing of."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc/self/cgroup")


def quota(root: Path = CGROUP, proc: Path = PROC) -> float | None:
    """Processors by the least ``cpu.max`` of this process' group and those around it; None: no limit."""
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
