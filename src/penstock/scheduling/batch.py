"""Requests into one batch, its answer back into one per request, and the run between; blocks."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from msgspec import Struct

from penstock.core.errors import EngineFailed, InstanceLost, PenstockError, one_line
from penstock.core.ports import Session
from penstock.core.tensors import Array
from penstock.core.types import Tensors

Answer = Tensors | PenstockError


class Ran(Struct, frozen=True):
    """What came of a batch: an answer for each request in order, and the seconds it took."""

    answers: Sequence[Answer]
    seconds: float
    whole: bool
    """Whether it ran in one piece; if not, its seconds say nothing about the model."""
    lost: InstanceLost | None = None
    """Set when the session died; requests whose answer this is did not run, or killed it."""


def merge(parts: Sequence[Tensors]) -> Tensors:
    """Tensors of several requests, of one set of names, dtypes and trailing shapes, joined on axis 0."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(outputs: Tensors, sizes: Sequence[int]) -> Sequence[Tensors]:
    """The rows of each request, as views; raises ValueError where axis 0 is not the sum of ``sizes``."""
    total = sum(sizes)
    for name, array in outputs.items():
        if not array.ndim or len(array) != total:
            raise ValueError(f"output {name!r} has shape {list(array.shape)} for a batch of {total} rows")
    parts: list[dict[str, Array]] = [{} for _ in sizes]
    for name, array in outputs.items():
        end = 0
        for part, size in zip(parts, sizes, strict=True):
            start, end = end, end + size
            part[name] = array[start:end]
    return parts


def run(session: Session, parts: Sequence[Tensors], sizes: Sequence[int], outputs: Sequence[str]) -> Ran:
    """Run a batch; if it fails, run its requests one by one, so that only the guilty one fails.

    If the session dies there is nothing to run them on: that is what the answers then say.
    """
    start = perf_counter()
    try:
        if len(parts) == 1:
            answer = _alone(session, parts[0], outputs)
            return Ran((answer,), perf_counter() - start, not isinstance(answer, PenstockError))
        join = getattr(session, "merge", merge)
        answers = split(session.run(join(parts), outputs), sizes)
    except InstanceLost as lost:
        return Ran([lost] * len(parts), perf_counter() - start, whole=False, lost=lost)
    except BaseException:  # noqa: BLE001 - whatever a framework raises; sys.exit() must not end our thread
        return _one_by_one(session, parts, outputs, start)
    return Ran(answers, perf_counter() - start, whole=True)


def _one_by_one(session: Session, parts: Sequence[Tensors], outputs: Sequence[str], start: float) -> Ran:
    answers: list[Answer] = []
    try:
        answers.extend(_alone(session, part, outputs) for part in parts)
    except InstanceLost as lost:
        answers += [lost] * (len(parts) - len(answers))
        return Ran(answers, perf_counter() - start, whole=False, lost=lost)
    return Ran(answers, perf_counter() - start, whole=False)


def _alone(session: Session, inputs: Tensors, outputs: Sequence[str]) -> Answer:
    """Raises InstanceLost; all else that goes wrong is the request's answer."""
    try:
        return session.run(inputs, outputs)
    except InstanceLost:
        raise
    except PenstockError as error:
        return error
    except BaseException as error:  # noqa: BLE001 - as above
        return EngineFailed(f"the model failed on this request: {one_line(error)}")
