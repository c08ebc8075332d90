"""Batches cut and filled up to the sizes that are compiled."""

from collections.abc import Iterator, Sequence

import numpy as np

from penstock.core.samples import near
from penstock.core.tensors import Array


def cuts(rows: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(first row, row after the last, size to pad to): parts of the largest size, and the rest."""
    start, most = 0, sizes[-1]
    while True:
        stop = min(rows, start + most)
        yield start, stop, next(size for size in sizes if size >= stop - start)
        if stop == rows:
            return
        start = stop


def fill(array: Array, size: int) -> Array:
    """The last row again and again, as a row of zeros may keep a loop in the program going for ever."""
    rows = len(array)
    if rows == size:
        return array
    full = np.zeros((size, *array.shape[1:]), array.dtype)
    full[:rows] = array
    if rows:
        full[rows:] = array[-1]
    return full


def agree(exact: Sequence[Array], padded: Sequence[Array]) -> bool:
    return all(near(one, other) for one, other in zip(exact, padded, strict=True))
