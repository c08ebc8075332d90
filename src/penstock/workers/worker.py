"""A session in a child process: batches go there and come back through shared memory."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from weakref import ReferenceType, ref

import numpy as np
from msgspec.structs import replace

from penstock.core import errors, machine
from penstock.core.errors import InstanceLost, LoadFailed, PenstockError
from penstock.core.ports import Restartable
from penstock.core.spec import ModelSpec
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.workers import messages
from penstock.workers.messages import Channel, Grow, Grown, Open, Opened, Ran, Refused, Run
from penstock.workers.process import Process
from penstock.workers.segment import Block, Joined, Segment, join, room, view
from penstock.workers.warming import warm

SLOTS = 4
"""Answers of one worker that may still be on their way to clients while it computes the next."""
SMALL = 1 << 16
"""Bytes below which an answer is copied, which is cheaper than keeping its slot."""


class Worker:
    """A ``Restartable`` session; one run at a time, and ``merge`` only by the thread that then runs."""

    def __init__(
        self,
        engine: str,
        spec: ModelSpec,
        files: Path,
        name: str,
        cores: Sequence[int] = (),
        begun: "Callable[[Worker], object] | None" = None,
    ) -> None:
        """Starts the process and loads the model; blocks.

        ``engine`` is a name or an import string, ``cores`` those to keep to (empty: all).
        ``begun`` is called with the worker when there is a process, which from then on can be killed.
        Raises LoadFailed or BadSetting with the engine's reason.
        """
        self._ask = Open(engine, spec, str(files), import_path(), tuple(cores))
        self._name = name
        self._patience = spec.instances.start_s
        self.warm_up: Callable[[Restartable], object] | None = None
        """Called with the worker after each restart, before it takes requests."""
        self._closed = False
        self._ending = Lock()
        self._running = Lock()
        self._alive = False
        self._start(begun)

    # -- its life --------------------------------------------------------------------------------

    def _start(self, begun: "Callable[[Worker], object] | None" = None) -> None:
        self._process = Process(self._name, self._ask.spec.instances.threads or 1)
        self._wire = Channel(self._process.socket)
        self.sentinel = self._process.sentinel
        self._requests: Segment | None = None
        self._slots = [Slot(lends=at < SLOTS) for at in range(SLOTS + 1)]
        self._merged: tuple[Tensors, list[Block]] | None = None
        self._grown = False
        self._loading = True
        self._alive = True
        try:
            if self._closed:  # since a moment ago; from now on, closing ends it
                raise InstanceLost("it is closed")
            if begun is not None:
                begun(self)
            self._wire.send(self._ask)
            opened = self._answer(self._patience)
        except BaseException as error:
            self._end()
            if isinstance(error, InstanceLost):
                raise LoadFailed(f"the process that loads it ended: {error}") from None
            raise
        self._loading = False
        assert isinstance(opened, Opened)  # noqa: S101 - the only other answer
        self.signature = opened.signature
        self.platform = opened.platform
        self.device = opened.device
        self.threads = opened.threads
        self.concurrency = opened.concurrency

    def restart(self) -> None:
        """A new process with the model loaded, and warm."""
        self._end()
        if not self._closed:
            self._start()
        if self._closed:  # meanwhile, perhaps
            self._end()
            raise InstanceLost("it is closed")
        self.warm()

    def warm(self) -> None:
        """Calls ``warm_up``; a process that is not done with it within ``start_s`` is ended."""
        warm(self, self._patience)

    def keep_to(self, cores: Sequence[int]) -> None:
        """From now on, and after a restart; its threads so far are moved there."""
        self._ask = replace(self._ask, cores=tuple(cores))
        machine.pin(self._process.pid, cores)

    def kill(self) -> None:
        """Ends the process at once, from any thread; a run that is going on raises."""
        self._process.kill()
        self._wire.hang_up()

    def close(self) -> None:
        """The process ends, in some seconds at most."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        with self._ending:
            if not self._alive:
                return
            self._alive = False
        self._wire.hang_up()
        if self._closed and self._loading:
            self._process.kill()  # it does not listen, and has nothing to give back yet
        self._process.close()
        self._wire.close()
        for segment in (self._requests, *(slot.segment for slot in self._slots)):
            if segment is not None:
                segment.close()
        self._merged = None

    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        return self._process.resident()

    def cpu(self) -> float:
        """Processor seconds that the process has used."""
        return machine.cpu(self._process.pid)

    # -- its work --------------------------------------------------------------------------------

    def merge(self, parts: Sequence[Tensors], /) -> Tensors:
        """Requests joined on axis 0, in the memory that the process sees; for the next run only."""
        arrays, blocks = self._lay_out(join(parts))
        self._merged = arrays, blocks
        return arrays

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Raises InstanceLost if the process ends meanwhile, and whatever the model raises."""
        if self._closed:
            raise RuntimeError("the session is closed")
        with self._running:
            return self._run(inputs, outputs)

    def _run(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        if self._merged is None or self._merged[0] is not inputs:
            self._merged = self._lay_out(join([inputs]) if inputs else [])
        blocks = self._merged[1]
        self._merged = None
        at = self._free_slot()
        slot = self._slots[at]
        requests = self._requests
        assert requests is not None  # noqa: S101 - made by _lay_out
        grown = requests.size if self._grown else 0
        fds = (requests.fd,) if self._grown else ()
        self._wire.send(Run(tuple(blocks), tuple(outputs), at, grown), *fds)
        self._grown = False
        while isinstance(answer := self._answer(), Grow):
            self._grow(slot, answer.size)
        assert isinstance(answer, Ran)  # noqa: S101 - the only other answer
        return slot.read(answer.outputs)

    def _lay_out(self, tensors: list[Joined]) -> tuple[Tensors, list[Block]]:
        offsets, need = room(one.size for one in tensors)
        if self._requests is None or self._requests.size < need:
            fresh = Segment.create(need)
            self._leave_requests()
            self._requests = fresh
            self._grown = True
        root = self._requests.root()
        blocks = [one.write(root, offset) for one, offset in zip(tensors, offsets, strict=True)]
        return {block.name: view(root, block) for block in blocks}, blocks

    def _leave_requests(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None

    def _grow(self, slot: "Slot", size: int) -> None:
        try:
            slot.segment = Segment.create(size)
        except OSError:  # the child waits for an answer nevertheless, and tells of it
            self._wire.send(Grown(0))
            return
        self._wire.send(Grown(slot.segment.size), slot.segment.fd)
        slot.segment.close()

    def _free_slot(self) -> int:
        """One that nobody reads any more; the last lends nothing, so it is always free."""
        return next(at for at, slot in enumerate(self._slots) if not slot.lent)

    def _answer(self, timeout: float | None = None) -> messages.Message:
        try:
            message, _ = self._wire.receive(timeout)
        except InstanceLost:
            raise InstanceLost(self._process.ended()) from None
        if isinstance(message, Refused | Ran) and message.kept:
            self._leave_requests()
        if isinstance(message, Refused):
            raise error_of(message)
        return message


class Slot:
    """A reply segment, which the arrays of an answer keep from being written again."""

    def __init__(self, *, lends: bool) -> None:
        self.segment: Segment | None = None
        self._lends = lends
        self._lease: ReferenceType[Array] | None = None

    @property
    def lent(self) -> bool:
        return self._lease is not None and self._lease() is not None

    def read(self, blocks: Sequence[Block]) -> Tensors:
        """The answer: copied where it is small or this slot must be free again, else views."""
        if self.segment is None:  # there was nothing to write
            return {block.name: view(_NOTHING, block) for block in blocks}
        root = self.segment.root()
        if self._lends and sum(block.size for block in blocks) > SMALL:
            # Every view keeps the root alive: numpy makes it their base.
            self._lease = ref(root)
            return {block.name: view(root, block) for block in blocks}
        return {block.name: view(root, block).copy() for block in blocks}


def import_path() -> tuple[str, ...]:
    """Ours; what is no text is passed over by ``import`` as well."""
    return tuple(each for each in sys.path if isinstance(each, str))


_NOTHING = np.empty(0, np.uint8)


def error_of(message: Refused) -> Exception:
    """The child's error as it was raised there; foreign ones keep their words alone."""
    kind = getattr(errors, message.kind, None)
    if isinstance(kind, type) and issubclass(kind, PenstockError):
        return kind(message.message)
    return RuntimeError(message.message)
