"""Tensors on their way through Ray's object store, into which they are copied once and not again.

Ray copies the buffers of large arrays into one object of its store, and arrays that it makes of them on
the same node are views of that.
It starts each buffer at a multiple of 64 bytes, so that requests of such a size lie there side by side,
and are one batch as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors

MERGE = 1 << 17
"""Bytes of a request's tensor below which joining here costs less than sending it by itself: Ray sends
what is below 100 KiB in all within the message."""


class Parts(Struct, frozen=True):
    """One tensor in pieces, to be joined on axis 0 where they arrive."""

    pieces: tuple[Array, ...]
    plain: bool
    """Whether it is as it says, or BF16 that travels as 16-bit integers, since it has no buffers."""


Laden: TypeAlias = Mapping[str, Parts]


class Batch(dict[str, Any]):
    """Requests that are joined where they arrive; for one ``run``."""

    def __init__(self, laden: Laden) -> None:
        super().__init__(laden)
        self.laden = laden


def load(parts: Sequence[Tensors]) -> Laden:
    """The requests of a batch, ready to be sent."""
    return {name: _load([part[name] for part in parts]) for name in parts[0]}


def _load(pieces: Sequence[Array]) -> Parts:
    if len(pieces) > 1 and min(piece.nbytes for piece in pieces) < MERGE:
        pieces = [np.concatenate(pieces)]
    plain = pieces[0].dtype.name != "bfloat16"
    whole = [np.ascontiguousarray(piece) if piece.ndim else piece for piece in pieces]
    return Parts(tuple(whole if plain else [piece.view(np.uint16) for piece in whole]), plain)


def size(laden: Laden) -> int:
    """Bytes of all tensors."""
    return sum(piece.nbytes for parts in laden.values() for piece in parts.pieces)


def unload(laden: Laden) -> dict[str, Array]:
    """The tensors as they were, read where they lie as far as that is possible; none may be written to."""
    out = {name: _unload(parts) for name, parts in laden.items()}
    for array in out.values():
        array.flags.writeable = False
    return out


def _unload(parts: Parts) -> Array:
    whole = _adjacent(parts.pieces)
    if whole is None:
        whole = np.concatenate(parts.pieces)
    return whole if parts.plain else whole.view(dtype_of("BF16"))


def _adjacent(pieces: Sequence[Array]) -> Array | None:
    """Pieces as one array, where each begins at the end of the one before; None where they do not.

    They lie in one object of the store, which lives as long as the first of them.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    end = first.ctypes.data
    for piece in pieces:
        if piece.ctypes.data != end or not piece.flags.c_contiguous or piece.dtype.hasobject:
            return None
        end += piece.nbytes
    if any(piece.shape[1:] != first.shape[1:] or piece.dtype != first.dtype for piece in pieces):
        return None
    rows = sum(len(piece) for piece in pieces)
    return np.lib.stride_tricks.as_strided(first, (rows, *first.shape[1:]), first.strides, writeable=False)
