"""Batches cut and filled up to the sizes that are compiled."""

from collections.abc import Iterator, Sequence

import numpy as np

from penstock.core.spec import TensorSpec
from penstock.core.tensors import Array, dtype_of


def sizes(most: int) -> list[int]:
    """1, 2, 4 … and ``most`` itself."""
    return [*(1 << i for i in range((most - 1).bit_length())), most]


def cuts(rows: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(first row, row after the last, size to pad to): parts of the largest size, and the rest."""
    start, most = 0, sizes[-1]
    while True:
        stop = min(rows, start + most)
        yield start, stop, next(size for size in sizes if size >= stop - start)
        if stop == rows:
            return
        start = stop


def made_up(spec: TensorSpec, rows: int) -> Array:
    """Floats are normal; integers are 0 or 1, which any vocabulary holds."""
    rng, shape, dtype = np.random.default_rng(0), (rows, *spec.shape[1:]), dtype_of(spec.datatype)
    floats = spec.datatype.startswith(("FP", "BF"))
    return np.asarray(rng.standard_normal(shape) if floats else rng.integers(0, 2, shape)).astype(dtype)


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
    return all(_near(one, other) for one, other in zip(exact, padded, strict=True))


def _near(exact: Array, padded: Array) -> bool:
    """Equal; floats within 1/1000 of the output's scale, 1/50 for 16 bits."""
    if exact.dtype.kind in "biu":
        return bool(np.array_equal(exact, padded))
    left, right = exact.astype(np.float64), padded.astype(np.float64)
    finite = np.abs(left[np.isfinite(left)])
    part = 1e-3 if exact.dtype.itemsize > 2 else 2e-2
    bound = part * float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(left, right, rtol=0.0, atol=bound, equal_nan=True))
