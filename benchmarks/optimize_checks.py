"""What came of a search: served beside the original and asked about fresh rows; beside the best there is."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.optimize_models import MODEL, Prepared
from benchmarks.served import serving
from penstock.client import Client
from penstock.core import machine
from penstock.core.tensors import Array
from penstock.metering.energy.rapl import open_probe
from penstock.optimize.accuracy import judge
from penstock.optimize.bounds import paired_ratio
from penstock.optimize.measure import Rounds, compare, figures
from penstock.optimize.rig import saved
from penstock.optimize.samples import Samples
from penstock.optimize.trial import Bench, least
from penstock.optimize.types import Agreement, Artefact, Candidate, Interval, Targets
from penstock.repository.locate import locate

VERSIONS = ("1", "2")
ROUNDS = 10
WARM = 10
"""Requests to each version before any counts."""
COMMON = Rounds(15, 0.15, ())
"""Of two that are measured against each other: one row alone."""
PATIENCE = 60.0
"""Seconds until both versions serve."""


@dataclass(frozen=True)
class Served:
    """Of the original and the version beside it in one server, asked in turns about rows new to both."""

    ratio: Interval
    """Of their latencies as a client sees them, round by round."""
    ms: tuple[float, float]
    """Medians."""
    ran: Interval
    """Of the times for which they ran in the server, the way of the request left out."""
    agreement: Agreement


def served(repository: Path, fresh: Samples, max_drop: float) -> Served:
    """One client, one row a request; each row is answered by both, and who comes first takes turns."""
    rows = list(fresh.batches(1))
    answers: list[list[Mapping[str, Array]]] = [[], []]
    took: list[list[float]] = [[], []]
    ran: list[list[float]] = [[], []]
    with serving(repository) as server:
        server.wait()
        with Client(server.url) as client:
            _await(client)
            for at, row in enumerate([*rows[:WARM], *rows]):
                for which in (0, 1) if at % 2 else (1, 0):
                    began = time.perf_counter()
                    answer = client.infer(MODEL, row, version=VERSIONS[which], parameters={"timing": True})
                    if at < len(rows[:WARM]):
                        continue
                    took[which].append(time.perf_counter() - began)
                    ran[which].append(answer.timing.ran if answer.timing else 0.0)
                    answers[which].append(dict(answer))
    ours, theirs = (_gathered(each, fresh) for each in answers)
    agreement = judge(ours, theirs, fresh.labels, max_drop=max_drop, inputs=fresh)
    ms = (median(took[0]) * 1e3, median(took[1]) * 1e3)
    return Served(_ratio(took), ms, _ratio(ran), agreement)


def _ratio(times: Sequence[Sequence[float]]) -> Interval:
    """The first one's over the second's, by the medians of rounds."""
    rounds = [[float(np.median(part)) for part in np.array_split(each, ROUNDS)] for each in times]
    return paired_ratio(*rounds)


def _await(client: Client) -> None:
    """A server is ready when a version of each model serves; raises RuntimeError if the others do not."""
    end = time.monotonic() + PATIENCE
    while not all(client.ready(MODEL, version) for version in VERSIONS):
        if time.monotonic() > end:
            raise RuntimeError(f"versions {' and '.join(VERSIONS)} do not both serve: {client.status()}")
        time.sleep(0.1)


def _gathered(answers: Sequence[Mapping[str, Array]], fresh: Samples) -> Samples:
    """In the groups of the rows that were asked about."""
    groups: list[dict[str, Array]] = []
    begin = 0
    for group in fresh.groups:
        end = begin + len(next(iter(group.values())))
        groups.append(
            {name: np.concatenate([answer[name] for answer in answers[begin:end]]) for name in answers[begin]}
        )
        begin = end
    return Samples(tuple(groups))


Entry = tuple[Artefact, Candidate]


def beside(prepared: Prepared, chosen: Entry, best: Entry) -> Interval:
    """The chosen one's time for one row over the best one's, both measured in turns on the same rows."""
    located = locate(f"{MODEL}@1", prepared.repository)
    memory = int(machine.free_memory() * 0.4)
    with tempfile.TemporaryDirectory(prefix="regret-") as scratch, closing(saved(prepared.given)) as rows:
        bench = Bench(located.spec, Targets(), rows, Path(scratch), memory, open_probe())
        with bench.entrant(*chosen) as left, bench.entrant(*best) as right:
            unit = least(left, prepared.given)
            ours, theirs = compare(left, right, COMMON, unit, bench.probe)
            return figures(ours, theirs, 0.0, 0, 0).speedup
