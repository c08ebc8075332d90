"""A version measured by itself, over layouts and batch sizes, as numbers to plan by."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from penstock.core import machine
from penstock.metering.energy.rapl import open_probe
from penstock.optimize import origin
from penstock.optimize.entrant import Entrant
from penstock.optimize.facts import facts
from penstock.optimize.measure import SIZES, Turn, medians, pace, turn
from penstock.optimize.measure import sizes as affordable
from penstock.optimize.rig import saved
from penstock.optimize.run import MEMORY
from penstock.optimize.samples import Samples
from penstock.optimize.trial import least
from penstock.optimize.types import Candidate, Point, Profile
from penstock.repository.locate import Located, locate

ROUNDS = 10
TURN = 0.15
"""Seconds that a layout takes at each size in a round."""


def profile(
    model: str,
    data: Samples,
    *,
    repository: Path = Path("models"),
    memory: int = 0,
    sizes: Sequence[int] = SIZES,
    rounds: int = ROUNDS,
    watch: Callable[[str, float], object] = lambda _doing, _part: None,
) -> Profile:
    """Measure ``model`` (as in ``optimize``) on real rows, in each layout over this machine's cores.

    ``sizes`` are rows of a batch; those of which one takes over a tenth of a second are left out.
    ``watch`` is told what is being done, and which part of it all is done.
    Blocks. Raises BadSetting and LoadFailed where the model or the data cannot be used.
    """
    located = locate(model, repository)
    source = origin.original(located)
    with ExitStack() as kept:
        scratch = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="penstock-profile-")))
        memo = saved(data)
        kept.callback(memo.close)
        limit = memory or int(machine.free_memory() * MEMORY)
        points: list[Point] = []
        entrants: list[Entrant] = []
        layouts = origin.layouts(located.spec, len(machine.cores()))
        for at, (instances, threads) in enumerate(layouts):
            watch(f"{instances} × {threads}", at / len(layouts))
            candidate = Candidate(origin.SOURCE, source.engines[0], instances, threads)
            entrant = Entrant(located.spec, source, candidate, memo, scratch, limit)
            with closing(entrant):
                points += _points(entrant, data, sizes, rounds)
            entrants.append(entrant)
        watch("", 1.0)
        return _profile(located, entrants, points, source.bytes)


def _profile(located: Located, entrants: Sequence[Entrant], points: Sequence[Point], size: int) -> Profile:
    return Profile(
        model=located.name,
        version=located.version,
        machine=facts(),
        device=entrants[0].device,
        points=tuple(points),
        load_s=median(each.load_s for each in entrants),
        memory_bytes=max(each.memory for each in entrants),
        file_bytes=size,
    )


def _points(entrant: Entrant, data: Samples, sizes: Sequence[int], rounds: int) -> list[Point]:
    unit = least(entrant, data)
    probe = open_probe()
    done: dict[int, list[Turn]] = {size: [] for size in affordable(entrant, sizes, unit)}
    paces = {size: pace(entrant, size, unit, TURN) for size in done}
    for number in range(rounds):
        for size, turns in done.items():
            runs, limit = paces[size]
            turns.append(turn(entrant, size, unit, runs, number * runs, limit, probe))
    # On one instance, one row alone and rows one by one are the same.
    alone = entrant.candidate.instances == 1
    return [
        _point(entrant.candidate, size, max(unit, 1), turns)
        for size, turns in done.items()
        if size or not alone
    ]


def _point(candidate: Candidate, size: int, unit: int, turns: Sequence[Turn]) -> Point:
    instances = candidate.instances if size else 1
    return Point(instances=instances, threads=candidate.threads, rows=size or unit, **medians(turns))
