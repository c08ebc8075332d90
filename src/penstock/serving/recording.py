"""The last requests of a version, kept in memory as sample data where its settings want that."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock.core.ports import Executor
from penstock.core.sizes import size
from penstock.core.spec import Record
from penstock.core.tensors import Array
from penstock.core.ticket import Ticket
from penstock.core.types import Request, Tensors

ELEMENT = 50
"""Bytes that one element of a BYTES tensor takes beside its text: the object and its place."""


class Recording:
    """Inputs of the last requests, the oldest first; lives on the event loop."""

    def __init__(self, record: Record) -> None:
        """Raises BadSetting where ``max_bytes`` is no amount."""
        self._requests = record.requests
        self._bytes = size(record.max_bytes, "record.max_bytes") or float("inf")
        self._kept: deque[tuple[Tensors, int]] = deque()
        self._taken = 0

    def add(self, inputs: Tensors) -> None:
        """Keep these, and let go of the oldest that there is no room for; one too large is left out."""
        taken = sum(map(_bytes, inputs.values()))
        if taken > self._bytes:
            return
        self._kept.append((kept(inputs, taken), taken))
        self._taken += taken
        while len(self._kept) > self._requests or self._taken > self._bytes:
            self._taken -= self._kept.popleft()[1]

    def inputs(self) -> list[Tensors]:
        """Of each request that is kept."""
        return [inputs for inputs, _ in self._kept]


def kept(inputs: Tensors, size: int = 0) -> Tensors:
    """The same, such that they last beyond the request; ``size`` is what they take, in bytes."""
    size = size or sum(map(_bytes, inputs.values()))
    return {name: array if _lasts(array, size) else array.copy() for name, array in inputs.items()}


def _bytes(array: Array) -> int:
    if array.dtype.kind != "O":
        return array.nbytes
    return sum(map(len, array.flat)) + ELEMENT * array.size


def _lasts(array: Array, taken: int) -> bool:
    """Whether it can be kept as it is: a view of bytes, which nobody changes, and not of many more.

    A caller's own array may change, and memory that a worker lent is waited for.
    """
    if array.dtype.kind == "O":
        return False
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return type(base) is bytes and len(base) <= 2 * taken


class Recorded:
    """An ``Executor`` that keeps what another one accepts."""

    def __init__(self, executor: Executor, recording: Recording) -> None:
        self.executor = executor
        self.recording = recording

    def __call__(self, request: Request, /) -> Ticket:
        ticket = self.executor(request)
        self.recording.add(request.inputs)
        return ticket

    @property
    def waiting(self) -> int:
        return self.executor.waiting

    @property
    def idle(self) -> bool:
        return self.executor.idle

    @property
    def cap(self) -> int:
        return self.executor.cap

    @property
    def trouble(self) -> str:
        return self.executor.trouble

    @property
    def restarts(self) -> int:
        return self.executor.restarts

    def expire(self, now: float, /) -> None:
        self.executor.expire(now)

    async def drain(self) -> None:
        await self.executor.drain()

    def close(self) -> None:
        self.executor.close()


def wrap(executor: Executor, record: Record) -> Executor:
    """The same where nothing is to be kept."""
    return Recorded(executor, Recording(record)) if record.requests else executor


def unwrap(executor: Executor) -> Executor:
    """What really answers."""
    return executor.executor if isinstance(executor, Recorded) else executor


def recording_of(executor: Executor) -> Recording | None:
    """What it keeps; None where it keeps nothing."""
    return executor.recording if isinstance(executor, Recorded) else None


def join(requests: Sequence[Tensors], *, batched: bool) -> list[Tensors]:
    """Requests of the same datatypes and trailing shapes as one, rows on axis 0, in order. Copies.

    Of a model that is not batched every request stays alone, since its axis 0 may be no batch axis.
    """
    groups: dict[Any, list[Tensors]] = {}
    for at, inputs in enumerate(requests):
        kinds = sorted((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items())
        groups.setdefault(tuple(kinds) if batched else at, []).append(inputs)
    return [
        {name: np.concatenate([inputs[name] for inputs in group]) if len(group) > 1 else array
         for name, array in group[0].items()}
        for group in groups.values()
    ]  # fmt: skip
