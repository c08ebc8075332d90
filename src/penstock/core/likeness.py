"""What kind of answer an output holds, and how far two answers to the same rows are apart. Pure."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.core.tensors import Array

EXACT = "OSUbiu"
"""Kinds of dtypes that are compared for equality: text, booleans, integers."""
SUM = 0.02
"""By which scores may miss a sum of 1 and be probabilities: what 16 bits round away."""
TIE = 1e-6
"""Of the best score: what is as near is as good, as no arithmetic tells them apart."""


def tells(outputs: Mapping[str, Array]) -> str:
    """The output that holds one label for each row, the one that is named so before others; or none."""
    found = [name for name, array in outputs.items() if array.dtype.kind in EXACT and sized(array) == 1]
    found.sort(key=lambda name: not any(word in name.lower() for word in ("label", "class")))
    return found[0] if found else ""


def scored(outputs: Mapping[str, Array]) -> str:
    """The output that holds floats [rows, classes]; or none."""
    found = (
        name
        for name, array in outputs.items()
        if array.dtype.kind not in EXACT and array.ndim == 2 and array.shape[1] > 1
    )
    return next(found, "")


def sized(array: Array) -> int:
    """Values of a row."""
    return prod(array.shape[1:])


def probabilities(array: Array) -> bool:
    """Whether each row of [rows, classes] sums to one."""
    if not array.size or not array.min() >= 0:
        return False
    return bool(np.abs(array.sum(axis=1, dtype=np.float64) - 1).max() <= SUM)


def outvoted(ours: Array, theirs: Array) -> NDArray[np.bool_]:
    """[rows]: whether the class that is best in ``theirs`` is none of the best in ``ours``."""
    best = ours.max(axis=1)
    told = ours[np.arange(len(ours)), theirs.argmax(axis=1)]
    return np.asarray(told < best - TIE * np.abs(best))


def apart(ours: Array, theirs: Array) -> NDArray[np.float64]:
    """[rows]: half the squared distance over the product of lengths.

    1 - cosine where lengths are equal, else more: cosine alone would pass answers of twice the size.
    At most 1, as for vectors at right angles.
    """
    if not ours.size:
        return np.zeros(len(ours))
    a, b = _unit(ours, theirs)
    product = np.sqrt(_squares(a) * _squares(b))
    distance = _squares(a - b)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(product > 0, distance / (2 * product), distance > 0)
    return np.asarray(np.minimum(each, 1.0))


def _squares(rows: Array) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _unit(ours: Array, theirs: Array) -> tuple[Any, Any]:
    """Both with each row's largest value as 1, so that no square is out of range."""
    size = np.maximum(np.abs(ours).max(axis=1), np.abs(theirs).max(axis=1))[:, None]
    size[size == 0] = 1.0
    return ours / size, theirs / size
