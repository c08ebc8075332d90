"""A loaded model in a child process: batches of real rows, timed, and answers written down."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import inf
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from penstock.core import machine
from penstock.core.ports import Session
from penstock.core.types import Tensors
from penstock.optimize.messages import Answer, Answered, Spin, Spun
from penstock.optimize.samples import Samples, length

WARM = 0.5
"""Seconds that the first runs at a batch size may take at the most, all shapes included."""
LEAST = 2
"""First runs of each shape, which compile, allocate and fill caches."""


class Running:
    """A session and the rows that it is run on; blocks."""

    def __init__(self, session: Session, samples: Samples) -> None:
        self._session = session
        self._inputs = session.signature.inputs
        self._samples = samples
        self._batches: dict[int, list[Tensors]] = {}

    def spin(self, ask: Spin) -> Spun:
        """Time ``ask.runs`` batches on ``ask.instances`` threads, which take the next one each in turn."""
        batches = self._warm(ask.rows)
        numbers = count()
        deadline = perf_counter() + ask.limit

        def work() -> list[tuple[float, int]]:
            done: list[tuple[float, int]] = []
            while (at := next(numbers)) < ask.runs:
                batch = batches[(ask.start + at) % len(batches)]
                began = perf_counter()
                self._session.run(batch)
                ended = perf_counter()
                done.append((ended - began, length(batch)))
                if ended > deadline:
                    break
            return done

        cpu, began = process_time(), perf_counter()
        done = side_by_side(work, ask.instances)
        wall, cpu = perf_counter() - began, process_time() - cpu
        seconds = tuple(each for each, _ in done)
        return Spun(seconds, sum(rows for _, rows in done), wall, cpu, machine.resident())

    def answer(self, ask: Answer) -> Answered:
        """Run the samples and save their outputs, group by group."""
        end = perf_counter() + (ask.seconds or inf)
        groups: list[Tensors] = []
        counts: list[int] = []
        for group in self._samples.groups:
            part = {name: array[: ask.most or None] for name, array in group.items()}
            done: list[Tensors] = []
            for batch in Samples((part,)).batches(ask.rows):
                if perf_counter() > end and (done or groups):
                    break
                done.append(self._outputs(batch))
            counts.append(min(length(part), len(done) * ask.rows))
            if done:
                groups.append({name: np.concatenate([each[name] for each in done]) for name in done[0]})
        Samples(tuple(groups)).save(Path(ask.out))
        return Answered(tuple(counts))

    def _outputs(self, batch: Tensors) -> Tensors:
        """Copies; a batch smaller than the model's fixed number of rows is filled up with its own."""
        there, wanted = length(batch), max([0, *(spec.shape[0] for spec in self._inputs if spec.shape)])
        if there >= wanted:
            return {name: np.array(array) for name, array in self._session.run(batch).items()}
        places = np.arange(wanted) % there
        full = {name: np.ascontiguousarray(array[places]) for name, array in batch.items()}
        return {name: np.array(array[:there]) for name, array in self._session.run(full).items()}

    def _warm(self, rows: int) -> list[Tensors]:
        """Batches of just so many rows, each shape of which was run before."""
        known = self._batches.get(rows)
        if known is not None:
            return known
        batches = mixed(cut(self._samples, rows))
        end = perf_counter() + WARM
        seen: dict[tuple[tuple[int, ...], ...], int] = {}
        for batch in batches:
            shape = tuple(array.shape for array in batch.values())
            while seen.get(shape, 0) < LEAST:
                self._session.run(batch)
                seen[shape] = seen.get(shape, 0) + 1
        for batch in batches:  # sizes inside may hang on what is in the rows, not on their shapes alone
            if perf_counter() > end:
                break
            self._session.run(batch)
        self._batches[rows] = batches
        return batches


def cut(samples: Samples, rows: int) -> list[Tensors]:
    """Batches of just so many rows each: a group that has fewer gives what it has over and over."""
    batches: list[Tensors] = []
    for group in samples.groups:
        there = length(group)
        for at in range(0, max(there - rows, 0) + 1, rows):
            places = np.arange(at, at + rows) % there
            batches.append({name: np.ascontiguousarray(array[places]) for name, array in group.items()})
    return batches


def mixed(batches: Sequence[Tensors]) -> list[Tensors]:
    """All shapes all along, the same for the same batches: few runs would see just the first shapes."""
    if len({tuple(array.shape for array in batch.values()) for batch in batches}) == 1:
        return list(batches)
    return [batches[at] for at in np.random.default_rng(0).permutation(len(batches))]


def side_by_side(work: Callable[[], Sequence[tuple[float, int]]], threads: int) -> list[tuple[float, int]]:
    """The same in so many threads; in this one where that is enough."""
    if threads == 1:
        return list(work())
    with ThreadPoolExecutor(threads) as pool:
        return [each for done in [pool.submit(work) for _ in range(threads)] for each in done.result()]
