"""Batch policies side by side: rate held, goodput, latency at low load, recovery, and their own cost.

Simulated clock, the policies' real classes.
The policy was tuned on profiles A to K of simulate.py and seeds below 100; what is reported are other
profiles (L to Q, or those measured with ``--real``) and other seeds.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf, isfinite
from multiprocessing import Pool
from pathlib import Path
from statistics import fmean, median
from timeit import repeat
from typing import Any

from benchmarks.contest import MAKERS, Cell, Maker, Told, highest, recovery
from benchmarks.machine import report
from benchmarks.simulate import ARRIVALS, HELD_OUT, TUNED, Job, Model, recorded
from penstock.core.ports import Line
from penstock.core.spec import Batching
from penstock.scheduling.policy import POLICIES, make

Row = dict[str, Any]
LOADS = (0.1, 0.5, 1.0, 1.5, 3.0)
TARGETS = (5, 20)
RATE = "highest rate"
HELD = 0.1
"""A cell counts for the highest rate if some policy holds this share of capacity there."""
CONTESTANTS: dict[str, Maker] = {**MAKERS, "told": Told}


class Contest:
    """Models, streams and seeds, and how long each run is."""

    def __init__(
        self, models: Sequence[Model], seeds: Sequence[int], quick: bool, trace: Path | None
    ) -> None:
        self.models, self.seeds = models, seeds
        self.streams = ["poisson", "gamma"] if quick else list(ARRIVALS)
        self.trace = trace
        self.least, self.most, self.ones = (8000, 10_000, 1000) if quick else (10_000, 40_000, 3000)

    def cells(self) -> list[list[Cell]]:
        """Each cell with all its seeds; the trace, if any, with the noise of each."""
        found: list[list[Cell]] = []
        for model in self.models:
            count = min(self.most, max(self.least, int(self.ones * model.one * model.capacity)))
            for ones in TARGETS:
                target = ones * model.one
                for stream in self.streams:
                    draw = ARRIVALS[stream]
                    found.append([Cell(model, stream, draw(count, s), target, s) for s in self.seeds])
                if self.trace is not None:
                    times = recorded(self.trace, count)
                    found.append([Cell(model, "recorded", times, target, s) for s in self.seeds])
        return found


def measure(cells: list[Cell]) -> dict[str, dict[str, float]]:
    """By measure and policy: highest rate with 99 % in target, goodput by load; as shares of capacity."""
    found: dict[str, dict[str, float]] = {RATE: {}, **{good(load): {} for load in LOADS}}
    for name, maker in CONTESTANTS.items():
        found[RATE][name] = highest(cells, maker)
        for load in LOADS:
            found[good(load)][name] = fmean(cell.goodput(maker, load) for cell in cells)
    return found


def good(load: float) -> str:
    return f"goodput, {load:.0%} load"


def compare(contest: Contest, pool: Any) -> tuple[list[Row], list[Row]]:
    """A row per cell and measure, their means, and the aims on rates and goodput."""
    groups = contest.cells()
    found = pool.map(measure, groups, chunksize=1)
    rows = [
        {"cell": cells[0].name, "measure": name, **rounded(values)}
        for cells, measures in zip(groups, found, strict=True)
        for name, values in measures.items()
        if name in (RATE, good(1.5), good(3.0))
    ]
    rates = [measures[RATE] for measures in found]
    bests = [max(values[name] for name in MAKERS) for values in rates]
    shares = {
        name: [values[name] / best for values, best in zip(rates, bests, strict=True) if best >= HELD]
        for name in CONTESTANTS
    }
    where = f"{len(shares['slo'])} cells in which a policy holds {HELD:.0%} or more"
    rows.append(
        {"cell": where, "measure": "rate / best, mean", **rounded({k: fmean(v) for k, v in shares.items()})}
    )
    rows.append(
        {"cell": where, "measure": "rate / best, worst", **rounded({k: min(v) for k, v in shares.items()})}
    )
    for load in LOADS:
        means = {name: fmean(measures[good(load)][name] for measures in found) for name in CONTESTANTS}
        rows.append({"cell": f"mean of {len(found)} cells", "measure": good(load), **rounded(means)})
    told = [measures[good(1.5)]["slo"] / measures[good(1.5)]["told"] for measures in found]
    kept = [measures[good(3.0)]["slo"] / measures[good(1.5)]["slo"] for measures in found]
    aims = [
        at_least(
            "highest rate with 99 % in target, mean share of the best policy", 0.97, fmean(shares["slo"])
        ),
        at_least("… in the worst cell", 0.85, min(shares["slo"])),
        at_least("goodput at 150 % over the same policy told the run times, mean", 0.9, fmean(told)),
        at_least("… in the worst cell", 0.9, min(told)),
        at_least("goodput at 300 % over that at 150 %, mean", 0.8, fmean(kept)),
        at_least("… in the worst cell", 0.8, min(kept)),
    ]
    return rows, aims


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def at_least(name: str, aim: float, got: float) -> Row:
    return {"name": name, "aim": f"≥ {aim}", "got": round(got, 3), "met": got >= aim}


def at_most(name: str, aim: float, got: float) -> Row:
    return {
        "name": name,
        "aim": f"≤ {aim}",
        "got": round(got, 3) if isfinite(got) else "never",
        "met": got <= aim,
    }


def low_load(cells: list[Cell]) -> dict[int, float]:
    """Latencies at 10 % of what one instance serves one by one, over those of ``none``."""
    model = cells[0].model
    load = 0.1 / model.one / model.capacity
    ratios: dict[int, list[float]] = {50: [], 99: []}
    for cell in cells:
        ours, none = cell.run(MAKERS["slo"], load), cell.run(MAKERS["none"], load)
        for q, found in ratios.items():
            found.append(ours.percentile(q) / none.percentile(q))
    return {q: fmean(found) for q, found in ratios.items()}


def latencies(contest: Contest, pool: Any) -> tuple[list[Row], list[Row]]:
    groups = [
        [Cell(m, "poisson", ARRIVALS["poisson"](contest.least, s), 20 * m.one, s) for s in contest.seeds]
        for m in contest.models
    ]
    found = pool.map(low_load, groups)
    rows = [
        {
            "cell": f"{cells[0].model.name}, 10 % of one by one",
            "measure": f"p{q} / that of none",
            "slo": round(ratios[q], 3),
        }
        for cells, ratios in zip(groups, found, strict=True)
        for q in ratios
    ]
    aims = [
        at_most(f"10 % load: p{q} over that of none, worst model", aim, max(ratios[q] for ratios in found))
        for q, aim in ((50, 1.02), (99, 1.05))
    ]
    return rows, aims


def recover(cell: Cell) -> dict[str, float]:
    """The time until goodput is back after run times double, at two loads."""
    return {f"{load:.0%}": recovery(cell, MAKERS["slo"], load) for load in (0.9, 1.5)}


def recoveries(contest: Contest, pool: Any) -> tuple[list[Row], list[Row]]:
    cells = [cell for cells in contest.cells() for cell in cells if cell.stream == "poisson"]
    times = pool.map(recover, cells)
    rows = [
        {"cell": cell.name, "measure": f"doubled at {load}, l(1) until back", "slo": round(taken, 1)}
        for cell, found in zip(cells, times, strict=True)
        for load, taken in found.items()
    ]
    every = [taken for found in times for taken in found.values()]
    return rows, [
        at_most("run times double: recovered within so many l(1), median", 100, median(every)),
        at_most("… in the worst run", 100, max(every)),
    ]


def own_cost() -> tuple[list[Row], list[Row]]:
    """Microseconds of ``decide`` and ``learn`` per batch: 32 of one row wait for a 10 µs model."""
    costs: Row = {"cell": "32 of one row wait", "measure": "decide+learn, µs"}
    line = Line(0.0, [Job(0.0, 1e9) for _ in range(32)], 32)
    for name in POLICIES:
        policy = make(Batching(policy=name), inf)
        for size in (1, 2, 4, 8, 16, 32, 64):
            for _ in range(3):
                policy.learn(size, 10e-6 + size * 0.1e-6)

        def batch(policy: Any = policy) -> None:
            policy.decide(line)
            policy.learn(32, 13.2e-6)

        cost = min(repeat(batch, number=20_000, repeat=5)) / 20_000 * 1e6
        costs[name] = round(cost, 2)
    return [costs], [at_most("decide and learn of slo per batch of 32, µs", 2.0, costs["slo"])]


def contest_of(args: argparse.Namespace) -> tuple[Contest, list[Row]]:
    """What is asked for, and rows that say what was measured for it."""
    seeds = [201] if args.quick else [201, 202]
    models: Iterable[Model] = TUNED if args.tuned else HELD_OUT[:3] if args.quick else HELD_OUT
    rows: list[Row] = []
    if args.real:
        from benchmarks.batching_real import open_loop, profiles

        measured = profiles()
        models = list(measured.values())
        rows = open_loop(measured, seconds=0.5 if args.quick else 2.0)
    return Contest(list(models), seeds, args.quick, args.trace), rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="under a minute: fewer models, shorter runs, one seed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="csv of single arrivals (first column, seconds)"
    )
    parser.add_argument(
        "--real", action="store_true", help="run times of real ONNX Runtime sessions, served too"
    )
    parser.add_argument("--tuned", action="store_true", help="on the profiles that the policy was tuned on")
    args = parser.parse_args()
    if not sys.stdout.isatty():
        os.environ.setdefault("COLUMNS", "160")
    contest, rows = contest_of(args)
    aims: list[Row] = []
    parts: list[Callable[[], tuple[list[Row], list[Row]]]] = [own_cost]
    with Pool(2) as pool:
        parts += [
            partial(latencies, contest, pool),
            partial(compare, contest, pool),
            partial(recoveries, contest, pool),
        ]
        for part in parts:
            more, wanted = part()
            rows += more
            aims += wanted
    seeds = ", ".join(map(str, contest.seeds))
    profiles = "the profiles it was TUNED on" if args.tuned else "profiles it was not tuned on"
    title = (
        f"batching, simulated after the start-up sweep: {profiles}, seeds {seeds}; "
        "highest rate with 99 % in target, and goodput (answers in target), as shares of capacity"
    )
    return 0 if report(rows, aims, args.json, title) else 1


if __name__ == "__main__":
    sys.exit(main())
