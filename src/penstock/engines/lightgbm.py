"""LightGBM: boosters from its own text files, with labels and probabilities as outputs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed, one_line
from penstock.core.spec import Isolation, ModelSpec, Signature
from penstock.core.tensors import Array, datatype_of
from penstock.engines.boosted import Meaning, Predict, answers
from penstock.engines.files import find
from penstock.engines.require import require
from penstock.engines.tabular import TableSession, on_cpu, plan_outputs, plan_rows

log = logging.getLogger("penstock.engines.lightgbm")


class LightGbmEngine:
    """Opens a version's ``model.txt`` (or ``spec.file``); runs on the CPU."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> TableSession:
        """Raises LoadFailed with LightGBM's reason, and BadSetting where a declared signature disagrees."""
        lightgbm = require("lightgbm", "LightGBM", "lightgbm")
        lightgbm.register_logger(_Quiet())
        path = find(spec, files, "model.txt")
        on_cpu(spec, "LightGBM")
        threads = spec.instances.threads or 1
        try:
            raw = path.read_bytes()
            header = read_header(raw)
            booster = lightgbm.Booster(model_str=raw.decode(), params={"verbosity": -1})
            predict = _predict(booster, threads)
            columns = booster.num_feature()
            sample = predict(np.zeros((2, columns)))
        except Exception as error:
            raise LoadFailed(f"LightGBM refuses {path.name}: {one_line(error)}") from error
        rows = plan_rows(spec, columns, names(booster), "FP64")
        meaning = Meaning(objective(header), datatype_of(sample.dtype), sample.shape[1:])
        signature = Signature(rows.inputs, plan_outputs(spec, meaning.outputs))
        return TableSession("lightgbm", signature, threads, answers(rows, predict, meaning, np.float64))


class _Quiet:
    """Takes LightGBM's words off stderr: its errors are raised as well."""

    def info(self, text: str) -> None:
        log.debug(text)

    def warning(self, text: str) -> None:
        log.debug(text)


class _Width:
    """Lets runs of one thread count pass together, and those of another wait for their turn.

    The count is one variable of the whole library. A run makes a buffer for each thread, then reads the
    count again, so that a count raised in between lets it write behind the buffers' end.
    """

    def __init__(self) -> None:
        self._turn = Lock()
        self._free = Condition()
        self._threads = 0
        self._running = 0

    @contextmanager
    def __call__(self, threads: int) -> Iterator[None]:
        with self._turn, self._free:
            while self._running and self._threads != threads:
                self._free.wait()
            self._threads = threads
            self._running += 1
        try:
            yield
        finally:
            with self._free:
                self._running -= 1
                if not self._running:
                    self._free.notify()


_WIDTH = _Width()


def _predict(booster: Any, threads: int) -> Predict:
    def predict(x: Array) -> Array:
        with _WIDTH(threads):
            values: Array = booster.predict(x, num_threads=threads, verbosity=-1)
            return values

    return predict


def names(booster: Any) -> tuple[str, ...]:
    """The columns' names; none where LightGBM made them up (Column_0 …)."""
    there = tuple(booster.feature_name())
    return () if there == tuple(f"Column_{i}" for i in range(len(there))) else there


def read_header(raw: bytes) -> dict[str, str]:
    """What stands before the trees; raises ValueError where these are not as long as it says.

    A file that is cut off would end the process (seen in 4.7: trees are read in parallel, and what a
    thread raises there nobody catches).
    """
    head, gap, _ = raw.partition(b"\n\n")
    if not raw.startswith(b"tree\n") or not gap:
        raise ValueError("it is no text model of LightGBM")
    header = dict(line.partition("=")[::2] for line in head.decode().splitlines())
    at = len(head) + len(gap)
    for i, size in enumerate(header.get("tree_sizes", "").split()):
        if not raw.startswith(b"Tree=%d\n" % i, at):
            raise ValueError(f"tree {i} is not where the header says; is the file whole?")
        at += int(size)
    if "tree_sizes" in header and not raw.startswith(b"end of trees", at):
        raise ValueError("the trees do not end where the header says; is the file whole?")
    return header


def objective(header: dict[str, str]) -> str:
    """Its first word; empty for a custom one, which a file does not keep."""
    return next(iter(header.get("objective", "").split()), "")
