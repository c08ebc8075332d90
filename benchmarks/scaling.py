"""Scaling: requests over the target and instance hours, ours beside other rules, on a made-up clock.

Traces are made by seed; ``--trace`` adds recorded ones.
A real server, loaded and measured, says whether the simulation can be believed.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core simulates

from benchmarks import scaling_plots
from benchmarks.machine import report
from benchmarks.scaling_aims import aims
from benchmarks.scaling_fluid import TARGET, Outcome, Policy, run
from benchmarks.scaling_forecast import Score, Watch, score
from benchmarks.scaling_rivals import Clairvoyant, Hpa, Ours, RayServe, Static, Tracking
from benchmarks.scaling_traces import MADE, Kind, Trace, made, read
from penstock.scaling.forecast.fit import horizon
from penstock.scaling.types import Terms

Row = dict[str, Any]
DELAYS = (5.0, 30.0, 120.0)
"""Seconds of start-up."""
CHOSEN, REPORTED = 21, 31
"""Seeds: of the traces that the policy was developed on, and of those that figures are of."""


def policies(trace: Trace, most: int) -> dict[str, Callable[[], Policy]]:
    """The one setting of ours is the default, but for the bound that all share."""
    return {
        "static peak": partial(Static, trace),
        "HPA at 0.7": Hpa,
        "Ray Serve default": RayServe,
        "target tracking": Tracking,
        "ours, reactive only": partial(Ours, Terms(most=most, ahead=False)),
        "ours": partial(Ours, Terms(most=most)),
    }


def simulated(name: str, path: Path | None, days: float, seed: int) -> tuple[list[Row], list[Row], Row]:
    """Rows of one trace, the forecast's scores, and what plots need."""
    trace = read(path, days, seed) if path else made(name, days, seed)
    sight = Clairvoyant(trace)
    first, most = sight.counts[0], 2 * Static(trace).count
    known = run(trace, sight, 0.0, first, most)
    rows: list[Row] = [row(trace, 0.0, "clairvoyant", known, known)]
    scores: list[Row] = []
    drawn: Row = {"name": trace.name, "kind": trace.kind}
    for delay in DELAYS:
        for policy, make in policies(trace, most).items():
            acting = make()
            watch = Watch(acting) if policy == "ours" and isinstance(acting, Ours) else None
            rows.append(row(trace, delay, policy, run(trace, acting, delay, first, most, on=watch), known))
            if watch:
                drawn[f"{delay:g}"] = {"decided": watch.decided[-8640:], "carries": trace.carries}
                scores += scored(trace, delay, score(watch, trace.each_second(), horizon(delay, 10.0)))
    return rows, scores, drawn


def row(trace: Trace, delay: float, policy: str, got: Outcome, known: Outcome) -> Row:
    return {
        "trace": trace.name,
        "kind": trace.kind,
        "start-up, s": delay,
        "policy": policy,
        "over the target, %": round(100 * got.share, 3),
        "hours, × clairvoyant": round(got.hours / known.hours, 3),
        "worst day, %": round(100 * got.worst, 2),
        "actions a day": round(got.actions / trace.seconds * 86400),
        "hours": round(got.hours, 1),
    }


def scored(trace: Trace, delay: float, found: Score | None) -> list[Row]:
    if found is None:
        return []
    return [
        {
            "trace": trace.name,
            "kind": trace.kind,
            "start-up, s": delay,
            "policy": "forecast",
            "points": found.points,
            "covered": found.covered,
            "coverage, %": round(100 * found.covered / found.points, 2),
            "pinball": round(found.loss, 5),
            "× persistence": round(found.loss / found.persistence, 3),
            "× seasonal naive": round(found.loss / found.seasonal, 3),
            "persistence": round(found.persistence, 5),
            "seasonal": round(found.seasonal, 5),
        }
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: two days, fewer traces")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", action="append", default=[], help="a recorded one too"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots there")
    parser.add_argument("--days", type=float, help="of each trace (3)")
    parser.add_argument(
        "--seed", type=int, default=REPORTED, help=f"of traces; {CHOSEN} is what was developed on"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--no-real", action="store_true", help="without the real server")
    args = parser.parse_args()
    days = args.days or (2.2 if args.quick else 3.0)
    kept: dict[str, Kind] = {name: MADE[name][0] for name in (("daily",) if args.quick else MADE)}
    jobs: list[tuple[str, Path | None]] = [
        *((name, None) for name in kept),
        *((p.stem, p) for p in args.trace),
    ]
    real: list[Row] = []
    wanted: list[Row] = []
    if not args.no_real:
        from benchmarks.scaling_real import validated

        real, wanted = validated(args.quick)
    with Pool(args.processes) as pool:
        found = pool.starmap(simulated, [(name, path, days, args.seed) for name, path in jobs], chunksize=1)
    rows = [each for part, _, _ in found for each in part]
    scores = [each for _, part, _ in found for each in part]
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
        scaling_plots.write(args.plots, rows, [drawn for _, _, drawn in found])
    title = (
        f"scaling: up to {days:g} days of each trace (seed {args.seed}), at most {TARGET:g} s in the queue; "
        "hours count from the moment an instance begins to start"
    )
    return 0 if report([*rows, *scores, *real], [*aims(rows, scores), *wanted], args.json, title) else 1


if __name__ == "__main__":
    sys.exit(main())
