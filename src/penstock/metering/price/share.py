"""The part of the machine that is this server's, of which it bears the cost and the energy."""

import os

from penstock.core.cgroup import quota
from penstock.core.machine import cores


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
