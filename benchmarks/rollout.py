"""Rollouts: good versions taken back, requests that reach a bad one, and what judging costs.

Simulated requests, judged by the server's own guards with the margins and the risk (1 %) of a default plan.
``--real`` adds a loaded server: how fast a version is gone, and whether a client sees an error of it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from time import process_time
from timeit import repeat
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core simulates

from benchmarks.machine import report
from benchmarks.rollout_false import Row, false_rollbacks
from benchmarks.rollout_power import detection
from benchmarks.rollout_streams import CHUNK, pieces, product, rollout

Part = Callable[[], tuple[list[Row], list[Row]]]
FOLDED = 1.5
"""Microseconds a request that judging may take, of the 3 that a rollout may add to a request in all."""


def cost(quick: bool) -> tuple[list[Row], list[Row]]:
    """Microseconds a request of folding it into all guards, and of asking all of them for a verdict."""
    found = {
        "independent callers": folded(sticky=False, quick=quick),
        "returning callers": folded(sticky=True, quick=quick),
    }
    judge, _ = product()
    for seen in pieces(rollout(1, 2500).seen):
        judge.fold(seen)
    asked = min(repeat(partial(judge.verdicts, 1.0), number=5, repeat=10)) / 5 * 1e6
    rows = [
        {"what": "cost", "method": f"µs a request, {CHUNK} at a time", **rounded(found)},
        {"what": "cost", "method": "µs for all verdicts", "independent callers": round(asked)},
    ]
    got = found["independent callers"]
    return rows, [
        {
            "name": f"folding a request into all guards, µs, {CHUNK} at a time",
            "aim": f"≤ {FOLDED}",
            "got": round(got, 2),
            "met": got <= FOLDED,
        }
    ]


def folded(sticky: bool, quick: bool) -> float:
    """The least of some repeats: other work on the machine only adds."""
    chunks = list(pieces(rollout(1, 2560, sticky).seen))
    judge, _ = product(sticky)

    def fold() -> None:
        for seen in chunks:
            judge.fold(seen)

    fold()
    return (
        min(repeat(fold, timer=process_time, number=1, repeat=20 if quick else 50))
        / sum(map(len, chunks))
        * 1e6
    )


def rounded(values: dict[str, float]) -> dict[str, Any]:
    return {name: round(value, 2) for name, value in values.items()}


def real(quick: bool) -> tuple[list[Row], list[Row]]:
    """A loaded server: seconds from a verdict to the last request, and a hundred rollbacks."""
    from benchmarks.rollout_served import served

    return served(quick)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer and shorter runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument("--real", action="store_true", help="a real server too")
    parser.add_argument(
        "--runs", type=int, help="rollouts of a good version (1,000), a fifth as many of bad ones"
    )
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    runs = args.runs or (100 if args.quick else 1000)
    each = 5000 if args.quick else 25_000
    rows: list[Row] = []
    aims: list[Row] = []
    with Pool(args.processes) as pool:
        parts: list[Part] = [
            partial(cost, args.quick),
            partial(false_rollbacks, pool, runs, each),
            partial(detection, pool, runs // 5, args.quick),
        ]
        if args.real:
            parts.append(partial(real, args.quick))
        for part in parts:
            more, wanted = part()
            rows += more
            aims += wanted
    title = (
        f"rollouts: {runs:,} of a good version, {4 * each:,} requests in four stages with bursts and a "
        "slow day, at a risk of 1 % in all; bad ones at 1 % of the traffic"
    )
    return 0 if report(rows, aims, args.json, title) else 1


if __name__ == "__main__":
    sys.exit(main())
