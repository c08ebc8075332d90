"""How many requests reach a bad version at 1 % of the traffic before it is taken back."""

from functools import partial
from itertools import islice
from math import inf, isfinite
from typing import Any

import numpy as np

from benchmarks.rollout_streams import Fault, degraded, product

Row = dict[str, Any]
SHARE = 0.01
MIRRORED = 0.05
CHUNKS = 4000
"""After which a run counts as not found: 20,000 requests of the candidate."""
FAULTS: dict[Fault, int | None] = {
    Fault("errors 0.1 → 5 %", errors=0.05): 100,
    Fault("errors 0.1 → 1 %", errors=0.01): 750,
    Fault("p99 × 2", tail=2.0): 800,
    Fault("p99 + 50 %", tail=1.5): 4000,
    Fault("agreement 99 → 97 %, 1 % allowed", differs=0.03): 900,
    Fault("agreement 99 → 97 %, stable itself 99.7 %", differs=0.03, control=0.003): None,
    Fault("agreement 99 → 95 %, 1 % allowed", differs=0.05): None,
    Fault("nine of ten fail", errors=0.9): None,
}
"""By fault, the most that are aimed at."""


def until_found(seed: int, fault: Fault) -> tuple[float, str]:
    """Requests (mirrored ones for answers) of the candidate until an alarm, and the guard; inf: never."""
    rng = np.random.default_rng((seed, 2))
    judge, _ = product()
    seen = pairs = 0
    for chunk in islice(degraded(seed, SHARE, fault), CHUNKS):
        judge.fold(chunk)
        seen += int(chunk.candidate.sum())
        some = int(rng.binomial(len(chunk), MIRRORED))
        pairs += some
        judge.compared(rng.random(some) < fault.differs, rng.random(some) < fault.control)
        if found := judge.alarmed():
            return (pairs if fault.differs else seen), found[0]
    return inf, ""


def detection(pool: Any, runs: int, quick: bool) -> tuple[list[Row], list[Row]]:
    """A row for each fault, and the aims; ``quick``: a third of the runs where it takes long."""
    rows: list[Row] = []
    aims: list[Row] = []
    for fault, aim in FAULTS.items():
        count = max(5, runs // 3) if quick and fault.tail > 1 else runs
        found = pool.map(partial(until_found, fault=fault), range(1000, 1000 + count), chunksize=1)
        taken = np.sort([taken for taken, _ in found])
        middle, late = (float(taken[int(share * (count - 1))]) for share in (0.5, 0.9))
        guards = [guard for _, guard in found if guard]
        rows.append(
            {
                "what": f"found at 1 %, {count} runs",
                "method": fault.name,
                "requests, median": shown(middle),
                "p90": shown(late),
                "mostly by": max(set(guards), key=guards.count) if guards else "none",
            }
        )
        if aim is not None:
            aims.append(
                {
                    "name": f"requests of the new version until it is taken back, {fault.name}, median",
                    "aim": f"≤ {aim:,}",
                    "got": shown(middle),
                    "met": middle <= aim,
                }
            )
    return rows, aims


def shown(requests: float) -> int | str:
    return int(requests) if isfinite(requests) else "never"
