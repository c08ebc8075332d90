"""Memory that two processes see, and tensors laid out in it without being pickled.

Anonymous memory handed over as a file descriptor: nothing has a name, so nothing is left behind by a
process that is killed, and it is not bound by the size of /dev/shm (64 MiB in a container by default).
"""

import mmap
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
from msgspec import Struct

from penstock.core.tensors import Array, datatype_of, dtype_of, from_bytes, to_bytes

ALIGN = 64
"""Bytes: a cache line, and the widest vector that a runtime loads from aligned addresses."""
LEAST = 1 << 16


class Block(Struct, frozen=True, array_like=True):
    """Where one tensor lies in a segment; BYTES as in the binary tensor extension."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    offset: int
    size: int
    """Bytes."""


class Segment:
    """A piece of shared memory; unmapped when the last array over it has gone."""

    def __init__(self, fd: int, size: int) -> None:
        """Takes ``fd`` over."""
        self.fd = fd
        self.size = size
        self.memory = mmap.mmap(fd, size)

    @classmethod
    def create(cls, size: int) -> "Segment":
        """At least ``size`` bytes, rounded up so that it need not grow often."""
        size = max(LEAST, 1 << (size - 1).bit_length())
        fd = _anonymous()
        try:
            os.ftruncate(fd, size)
            _seal(fd)
            return cls(fd, size)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Arrays over it stay good."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def root(self) -> Array:
        """All of it as bytes; the base of every view that is taken of it."""
        return np.frombuffer(self.memory, np.uint8)


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("penstock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:  # unlinked: as nameless, on systems without memfd
        return os.dup(file.fileno())


def _seal(fd: int) -> None:
    """Nobody may shrink it: touching what was cut off would kill the other process."""
    if hasattr(os, "memfd_create"):
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def room(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Offsets for tensors of so many bytes, and the bytes that all of them need."""
    offsets: list[int] = []
    end = 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // ALIGN) * ALIGN
    return offsets, end


def view(root: Array, block: Block) -> Array:
    """A tensor in a segment, without a copy; BYTES are copied out."""
    raw = root[block.offset : block.offset + block.size]
    if block.datatype == "BYTES":
        return from_bytes(block.name, "BYTES", block.shape, raw.data)
    return raw.view(dtype_of(block.datatype)).reshape(block.shape)


class Joined(Struct, frozen=True, eq=False):
    """One tensor to be, from the parts of several requests."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parts: Sequence[Array]
    raw: bytes | None
    """BYTES, encoded."""
    size: int

    @classmethod
    def of(cls, name: str, parts: Sequence[Array]) -> "Joined":
        first = parts[0]
        datatype = datatype_of(first.dtype)
        rows = sum(len(part) for part in parts) if len(parts) > 1 else 0
        shape = (rows, *first.shape[1:]) if rows else first.shape
        if datatype == "BYTES":
            raw = b"".join(bytes(to_bytes(part)) for part in parts)
            return cls(name, datatype, shape, parts, raw, len(raw))
        return cls(name, datatype, shape, parts, None, prod(shape) * dtype_of(datatype).itemsize)

    def write(self, root: Array, offset: int) -> Block:
        """Copies the parts, one after another, to where they belong."""
        block = Block(self.name, self.datatype, self.shape, offset, self.size)
        if self.raw is not None:
            root[offset : offset + self.size] = np.frombuffer(self.raw, np.uint8)
        elif len(self.parts) > 1:
            np.concatenate(self.parts, out=view(root, block))
        else:
            np.copyto(view(root, block), self.parts[0])
        return block


def join(parts: Sequence[Mapping[str, Array]]) -> list[Joined]:
    """The tensors of several requests, ready to be laid out one behind another."""
    return [Joined.of(name, [part[name] for part in parts]) for name in parts[0]]
