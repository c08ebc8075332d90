"""Inputs for sessions of any signature: plausible, oddly laid out, and wrong."""

from collections.abc import Callable, Iterator

import numpy as np

from penstock.core.ports import Session
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.serving.synthesize import synthesize


def question(session: Session, rows: int = 2, seed: int = 0) -> Tensors:
    return synthesize(session.signature, rows, np.random.default_rng(seed), 5)


def same(left: Tensors, right: Tensors) -> bool:
    """Names in order, datatypes and values."""
    return [*left] == [*right] and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def _read_only(array: Array) -> Array:
    """Over somebody else's bytes, as from a request's body."""
    if array.dtype.hasobject:
        array = array.copy()
        array.flags.writeable = False
        return array
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "read-only": _read_only,
    "every other row": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards": lambda array: array[::-1].copy()[::-1],
    "column by column": np.asfortranarray,
    "foreign byte order": lambda array: array.astype(array.dtype.newbyteorder("S")),
}


def odd(session: Session) -> Iterator[Tensors]:
    """What no session of this signature takes."""
    right = question(session, rows=3)
    spec = session.signature.inputs[0]
    name, array = spec.name, right[spec.name]
    yield {}
    yield {"nosuch": array}
    yield right | {"nosuch": array}
    yield right | {name: array[0]}
    yield right | {name: array[None]}
    yield right | {name: array.astype(np.float16)}
    yield right | {name: np.full(array.shape, b"text", object)}
    if spec.shape[1:] and spec.shape[1] > 0:
        yield right | {name: array[:, :-1]}
    if len(right) > 1:
        yield right | {name: array[:2]}
        yield {name: array}
