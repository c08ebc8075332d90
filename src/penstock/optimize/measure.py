"""Two entrants timed in turns on the same rows, so that a noisy machine disturbs both alike."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from msgspec import Struct

from penstock.metering.energy.probe import Probe
from penstock.optimize.bounds import paired_ratio
from penstock.optimize.entrant import Entrant
from penstock.optimize.messages import Spun
from penstock.optimize.types import Batch, Figures

SIZES = (1, 4, 16, 64)
"""Rows of the batches for which throughput is measured."""
LONGEST = 0.1
"""Seconds: larger batches are not measured where one would take the baseline longer."""
PACE = 8
"""Runs from which the baseline's pace is taken."""
PATIENCE = 0.3
"""Seconds for them; fewer runs tell of a model that is slow."""
MOST = 400
"""Runs in one turn: more tell nothing new of a model of microseconds."""
SLOWER = 8.0
"""A candidate that is this much slower is cut off in its turn."""


class Rounds(Struct, frozen=True):
    """How thoroughly to measure."""

    count: int
    turn: float
    """Seconds that the baseline takes at each size in a round."""
    sizes: Sequence[int]


SCREEN = Rounds(3, 0.06, (1, 16))
FULL = Rounds(10, 0.12, SIZES)
CONFIRM = Rounds(15, 0.15, SIZES)
"""At least ten rounds, so that an interval of the median has 95 %."""


class Turn(Struct, frozen=True):
    """What one entrant did in its turn."""

    spun: Spun
    joules: float | None

    @property
    def run(self) -> float:
        """Seconds of a usual batch."""
        return median(self.spun.seconds)

    @property
    def row(self) -> float:
        """Seconds for one row, all instances at work."""
        return self.spun.wall / self.spun.rows


Course = dict[int, list[Turn]]
"""The turns of one entrant, by rows of a batch; 0 stands for one row (or unit) on a single instance."""


def compare(
    baseline: Entrant, entrant: Entrant, rounds: Rounds, unit: int, probe: Probe
) -> tuple[Course, Course]:
    """Measure both; blocks for about twice ``count × turn`` for each size.

    ``unit`` is the least number of rows that a batch may have, or 0 where it has to be one row alone.
    """
    steps = sizes(baseline, rounds.sizes, unit, alone=entrant.alone)
    paces = {size: pace(baseline, size, unit, rounds.turn) for size in steps}
    for size in steps:
        turn(entrant, size, unit, PACE, 0, PATIENCE, probe)  # warms it, as the pace has the baseline
    left: Course = {size: [] for size in steps}
    right: Course = {size: [] for size in steps}
    for number in range(rounds.count):
        for size in steps:
            runs, limit = paces[size]
            start = number * runs
            pair = [(baseline, left), (entrant, right)]
            for who, course in pair if number % 2 else pair[::-1]:
                course[size].append(turn(who, size, unit, runs, start, limit, probe))
    return left, right


def sizes(who: Entrant, larger: Sequence[int], unit: int, *, alone: bool = False) -> list[int]:
    """0 (one alone), the least batch, and of ``larger`` those of which one does not take it too long.

    A model that fixes its batch has just that one.
    """
    found = [0, max(unit, 1)]
    for size in larger if unit == 1 and not alone else ():
        if size > unit:
            if median(who.one(size, 2, 0, LONGEST).seconds) > LONGEST:
                break
            found.append(size)
    return found


def pace(who: Entrant, size: int, unit: int, seconds: float) -> tuple[int, float]:
    """Runs that take it so many seconds, and the seconds after which another is cut off."""
    spun = (who.all if size else who.one)(size or max(unit, 1), PACE, 0, PATIENCE)
    each = spun.wall / len(spun.seconds)
    runs = int(min(MOST, max(2 * who.candidate.instances, seconds / each)))
    return runs, max(runs * each, seconds) * SLOWER


def turn(who: Entrant, size: int, unit: int, runs: int, start: int, limit: float, probe: Probe) -> Turn:
    """``runs`` batches of ``size`` rows on all instances, or (0) of the least size on one."""
    run: Callable[[int, int, int, float], Spun] = who.all if size else who.one
    before = probe.joules()
    spun = run(size or max(unit, 1), runs, start, limit)
    after = probe.joules()
    return Turn(spun, None if before is None or after is None else (after - before).mid)


# -- what it means ----------------------------------------------------------------------------------


def figures(baseline: Course, course: Course, load_s: float, memory: int, file_bytes: int) -> Figures:
    """Of the turns of an entrant and those of the baseline beside them. Pure."""
    alone = course[0]
    each = np.concatenate([turn.spun.seconds for turn in alone]) * 1e3
    return Figures(
        rounds=len(alone),
        p50_ms=float(np.median(each)),
        p99_ms=float(np.percentile(each, 99)),
        speedup=paired_ratio([turn.run for turn in baseline[0]], [turn.run for turn in alone]),
        batches=tuple(_batch(size, baseline[size], course[size]) for size in course if size),
        load_s=load_s,
        memory_bytes=memory,
        file_bytes=file_bytes,
        beside_ms=float(np.median(np.concatenate([turn.spun.seconds for turn in baseline[0]]))) * 1e3,
    )


def _batch(size: int, baseline: Sequence[Turn], turns: Sequence[Turn]) -> Batch:
    gain = paired_ratio([turn.row for turn in baseline], [turn.row for turn in turns])
    return Batch(rows=size, gain=gain, **medians(turns))


def medians(turns: Sequence[Turn]) -> dict[str, Any]:
    """What the turns of one size tell, by the names that ``Batch`` and ``Point`` have for it."""
    each = np.concatenate([turn.spun.seconds for turn in turns]) * 1e3
    energy = [turn.joules / turn.spun.rows for turn in turns if turn.joules is not None]
    return {
        "run_ms": float(np.median(each)),
        "p99_ms": float(np.percentile(each, 99)),
        "rows_per_s": 1 / median(turn.row for turn in turns),
        "cpu_ms": median(turn.spun.cpu / turn.spun.rows for turn in turns) * 1e3,
        "joules": median(energy) if energy else None,
    }
