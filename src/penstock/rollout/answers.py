"""What an answer says, in one word: for labels that come later, and for how answers are distributed. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite, isnan
from typing import Any, Literal, TypeAlias
from zlib import crc32

import numpy as np

from penstock.core.likeness import scored, sized, tells
from penstock.core.spec import Scalar
from penstock.core.tensors import Array
from penstock.core.types import Tensors

Answer: TypeAlias = str | int | float | tuple[str | int | float, ...] | None
"""A label, the number of a class, or a number; several where there are several rows; None: none of these."""
Outcome: TypeAlias = Scalar | tuple[Scalar, ...]
Kind: TypeAlias = Literal["text", "whole", "scores", "number", "other"]

MOST_ROWS = 64
"""Of an answer that feedback can be about."""
MOST_TEXT = 200
"""Characters of a label that are kept and compared."""
BINS = 64
PARTS = 10
"""Bins of numbers, with as many stable answers in each."""
LEARNED = 500
"""Stable answers that tell the bins of numbers."""
NEAR = 1e-3
"""Outcomes below it are allowed the error of this one."""


def answer_of(outputs: Tensors) -> Answer:
    """What feedback's outcome is compared with; None for embeddings and the like, and for over 64 rows."""
    name, kind = _output(outputs)
    if not name or kind == "other":
        return None
    array = outputs[name]
    rows = array.size // (sized(array) or 1)
    if rows == 1:
        return _one(array, kind)
    return tuple(_one(array[at : at + 1], kind) for at in range(rows)) if 0 < rows <= MOST_ROWS else None


def wrong(answer: Answer, outcome: Outcome | None, tolerance: float = 0.01) -> bool:
    """Whether what was said is not what came true; ``tolerance`` is relative, for numbers.

    None on either side is wrong.
    Texts are compared as text, whatever the other side is; a number from 0 to 1 whose outcome is just 0 or 1
    (or a boolean) is taken for the probability of 1.
    """
    told = answer if isinstance(answer, tuple) else (answer,)
    true = outcome if isinstance(outcome, tuple) else (outcome,)
    if len(told) != len(true):
        return True
    return any(_misses(a, b, tolerance) for a, b in zip(told, true, strict=True))


def bin_of(outputs: Tensors, edges: Sequence[float] = ()) -> int:
    """Where the first row's answer belongs, 0 to 63; -1: it cannot be told, as for numbers without edges."""
    name, kind = _output(outputs)
    array = outputs[name] if name else None
    if array is None or not array.size:
        return -1
    if kind == "text":
        return crc32(_bytes(array.item(0))) % BINS
    if kind == "whole":
        return int(array.item(0)) % BINS
    if kind == "scores":
        return int(array[0].argmax()) % BINS
    if not edges:
        return -1
    value = _number(array)
    return len(edges) + 1 if isnan(value) else bisect_right(edges, value)


class Bins:
    """Bins of one rollout, the same for both versions."""

    def __init__(self, edges: Sequence[float] = ()) -> None:
        """``edges``: those that were learned before a restart."""
        self.edges: Sequence[float] = edges
        self._seen: list[float] = []

    def learn(self, outputs: Tensors) -> None:
        """From an answer of the stable version; changes nothing once the edges are known."""
        if self.edges:
            return
        name, kind = _output(outputs)
        if kind not in ("number", "other") or not name or not outputs[name].size:
            return
        value = _number(outputs[name])
        if isfinite(value):
            self._seen.append(value)
        if len(self._seen) >= LEARNED:
            self.edges = np.quantile(self._seen, np.arange(1, PARTS) / PARTS).tolist()
            self._seen.clear()

    def of(self, outputs: Tensors) -> int:
        """As ``bin_of``."""
        return bin_of(outputs, self.edges)


# -- reading ------------------------------------------------------------------------------------------


def _output(outputs: Tensors) -> tuple[str, Kind]:
    """The output that says most, and how: labels before scores, before numbers, before all else."""
    return _choose(tuple([(name, array.dtype, array.shape[1:]) for name, array in outputs.items()]))


@lru_cache(maxsize=256)
def _choose(layout: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> tuple[str, Kind]:
    outputs = {name: np.empty((0, *shape), dtype) for name, dtype, shape in layout}
    if label := tells(outputs):
        return label, "text" if outputs[label].dtype.kind in "OSU" else "whole"
    if scores := scored(outputs):
        return scores, "scores"
    numbers = [name for name, array in outputs.items() if sized(array) == 1]
    return (numbers[0], "number") if numbers else (next(iter(outputs), ""), "other")


def _one(array: Array, kind: Kind) -> str | int | float:
    """Of a single row."""
    if kind == "text":
        return _bytes(array.item(0)).decode(errors="replace")[:MOST_TEXT]
    if kind == "scores":
        return int(array.argmax())
    return int(array.item(0)) if kind == "whole" else float(array.item(0))


def _number(array: Array) -> float:
    """The first row's, or the one in its middle: where each value means little, any one tells as much."""
    return float(array.item(sized(array) // 2))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="backslashreplace")


# -- outcomes -----------------------------------------------------------------------------------------


def _misses(told: str | int | float | None, true: Scalar | None, tolerance: float) -> bool:
    if told is None or true is None:
        return True
    if isinstance(told, str) or isinstance(true, str):
        return _said(told) != _said(true)
    if not isinstance(told, float):
        return told != true
    if isinstance(true, int) and true in (0, 1) and 0 <= told <= 1:
        return (told >= 0.5) != true
    try:
        return not abs(told - true) <= tolerance * max(abs(true), NEAR)
    except OverflowError:  # an integer that no float holds
        return True


def _said(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)[:MOST_TEXT]
