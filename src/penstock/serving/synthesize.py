"""Made-up inputs for a model of which only the signature is known."""

from collections.abc import Sequence
from math import prod
from time import monotonic

import numpy as np

from penstock.core.errors import InstanceLost, one_line
from penstock.core.ports import Session
from penstock.core.spec import Signature, TensorSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors

VECTOR_SIZES = (16, 1, 8, 32, 64, 224)
"""Sizes to try for variable axes after the first, a short token sequence first."""
PREPARING = 10.0
"""Seconds for the runs that follow a restart."""
IMAGE_SIZES = (64, 224, 32, 16, 8, 1)
"""The same where an input has four axes or more."""


def synthesize(signature: Signature, rows: int, rng: np.random.Generator, size: int = 1) -> Tensors:
    """Plausible inputs: variable axes are ``rows`` (axis 0) or ``size`` (the others) long.

    Floats are normal; integers are 0 or 1, which any vocabulary holds; BYTES are digits.
    The first two rows differ, so that rows which influence each other are found out.
    """
    return {spec.name: _made_up(spec, rows, rng, size) for spec in signature.inputs}


def _made_up(spec: TensorSpec, rows: int, rng: np.random.Generator, size: int) -> Array:
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


def find_size(session: Session, rng: np.random.Generator) -> tuple[int | None, str]:
    """A size for the variable axes with which the model runs, or None and the first error."""
    trouble = ""
    for size in _sizes(session.signature):
        try:
            session.run(synthesize(session.signature, 1, rng, size))
        except InstanceLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a framework raises
            trouble = trouble or one_line(error)
        else:
            return size, ""
    return None, trouble


def _sizes(signature: Signature) -> tuple[int, ...]:
    if not any(-1 in spec.shape[1:] for spec in signature.inputs):
        return (1,)
    images = any(len(spec.shape) >= 4 for spec in signature.inputs)
    return IMAGE_SIZES if images else VECTOR_SIZES


def prepare(session: Session, sizes: Sequence[int], size: int | None) -> None:
    """Run once at each number of rows, so that no request pays for what first runs cost.

    ``size`` is of the variable axes, None where the model cannot be run on made-up input.
    Ends early where it has taken ten seconds.
    Raises what runs raise.
    """
    if size is None:
        return
    rng = np.random.default_rng(0)
    end = monotonic() + PREPARING
    for rows in sizes:
        if monotonic() > end:
            break
        session.run(synthesize(session.signature, rows, rng, size))
