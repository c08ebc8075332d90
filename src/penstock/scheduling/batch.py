"""Requests into one batch, its answer back into one per request, and the run between; blocks."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from msgspec import Struct

from penstock.core.errors import EngineFailed, PenstockError, one_line
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
    """Run a batch; if it fails, run its requests one by one, so that only the guilty one fails."""
    start = perf_counter()
    if len(parts) == 1:
        answer = _alone(session, parts[0], outputs)
        return Ran((answer,), perf_counter() - start, not isinstance(answer, PenstockError))
    try:
        answers = split(session.run(merge(parts), outputs), sizes)
    except Exception:  # noqa: BLE001 - whatever a framework raises
        return Ran([_alone(session, part, outputs) for part in parts], perf_counter() - start, whole=False)
    return Ran(answers, perf_counter() - start, whole=True)


def _alone(session: Session, inputs: Tensors, outputs: Sequence[str]) -> Answer:
    try:
        return session.run(inputs, outputs)
    except PenstockError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever a framework raises
        return EngineFailed(f"the model failed on this request: {one_line(error)}")
