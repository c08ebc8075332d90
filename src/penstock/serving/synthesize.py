"""Made-up inputs for a model of which only the signature is known."""

from collections.abc import Sequence
from time import monotonic

import numpy as np

from penstock.core.errors import InstanceLost, one_line
from penstock.core.ports import Session
from penstock.core.samples import made_up
from penstock.core.spec import Signature
from penstock.core.types import Tensors

VECTOR_SIZES = (16, 1, 8, 32, 64, 224)
"""Sizes to try for variable axes after the first, a short token sequence first."""
PREPARING = 10.0
"""Seconds for the runs that follow a restart."""
IMAGE_SIZES = (64, 224, 32, 16, 8, 1)
"""The same where an input has four axes or more."""


def synthesize(signature: Signature, rows: int, rng: np.random.Generator, size: int = 1) -> Tensors:
    """Inputs by name, with variable axes ``rows`` (axis 0) or ``size`` (the others) long."""
    return {spec.name: made_up(spec, rows, rng, size) for spec in signature.inputs}


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
