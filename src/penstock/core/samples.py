"""Made-up tensors to try a model with, and whether two answers to the same rows are the same."""

from math import prod

import numpy as np

from penstock.core.spec import TensorSpec
from penstock.core.tensors import Array, dtype_of


def made_up(spec: TensorSpec, rows: int, rng: np.random.Generator, size: int = 1) -> Array:
    """Plausible values: variable axes are ``rows`` (axis 0) or ``size`` (the others) long.

    Floats are normal; integers are 0 or 1, which any vocabulary holds; BYTES are digits.
    The first two rows differ, so that rows which influence each other are found out.
    """
    shape = [length if length >= 0 else size if axis else rows for axis, length in enumerate(spec.shape)]
    if spec.datatype == "BYTES":
        digits = [b"%d" % digit for digit in rng.integers(0, 10, prod(shape))]
        return np.array(digits, dtype=object).reshape(shape)
    dtype = dtype_of(spec.datatype)
    if spec.datatype in ("FP16", "FP32", "FP64", "BF16"):
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    bits = np.asarray(rng.integers(0, 2, shape))
    if bits.ndim and len(bits) > 1:
        bits[1] = 1 - bits[0]
    return bits.astype(dtype)


def near(exact: Array, other: Array) -> bool:
    """Equal; floats within a part of the output's scale: 1/1000, and 1/50 for 16 bits."""
    if exact.dtype.kind in "OSUbiu":
        return bool(np.array_equal(exact, other))
    left, right = exact.astype(np.float64), other.astype(np.float64)
    finite = np.abs(left[np.isfinite(left)])
    part = 1e-3 if exact.dtype.itemsize > 2 else 2e-2
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(left, right, rtol=0.0, atol=part * scale, equal_nan=True))


def powers(most: int) -> list[int]:
    """Batch sizes to try or to compile for: 1, 2, 4 … and ``most`` itself."""
    return [*(1 << at for at in range((most - 1).bit_length())), most]
