"""The child process of a worker: opens a model, and runs the batches that its server lays out."""

import faulthandler
import fcntl
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from weakref import ref

import numpy as np
from msgspec.structs import replace

from penstock.core import errors
from penstock.core.errors import InstanceLost, InvalidRequest, PenstockError, one_line, words
from penstock.core.importing import find
from penstock.core.ports import Engine, Session
from penstock.core.tensors import Array, datatype_of
from penstock.engines import ENGINES
from penstock.workers import messages
from penstock.workers.messages import Channel, Grow, Grown, Open, Opened, Ran, Refused, Run
from penstock.workers.segment import Block, Segment, join, room, view

LONGEST = 10_000
"""Characters of an error's text."""


def main(channel: int, lifeline: int) -> None:
    """Serve the socket until it ends; ``lifeline`` is a pipe that ends with the server."""
    faulthandler.enable()
    _leave_stops_to_the_server()
    die_with(lifeline)
    prefer_as_victim()
    wire = Channel(socket.socket(fileno=channel))
    os.register_at_fork(after_in_child=wire.close)  # or the server would wait for us when we have ended
    try:
        message, _ = wire.receive()
        session = _open(wire, message)
        if session is not None:
            Loop(wire, session).forever()
    except InstanceLost:
        pass  # the server hung up


def _open(wire: Channel, message: messages.Message) -> Session | None:
    assert isinstance(message, Open)  # noqa: S101 - the protocol begins so
    sys.path[:] = message.path
    if message.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, message.cores)
    try:
        engine: Engine = find(message.engine, ENGINES, "engine")()
        session = engine.open(message.spec, Path(message.files))
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is the answer
        wire.send(refused(error))
        return None
    gc.freeze()
    wire.send(
        Opened(
            session.signature,
            session.platform,
            getattr(session, "device", "cpu"),
            session.threads,
            getattr(session, "concurrency", 0),
        )
    )
    return session


def refused(error: BaseException) -> Refused:
    """An error as a message; foreign ones have no kind, a model's own have that which they are made of."""
    for each in type(error).__mro__:
        if issubclass(each, PenstockError) and getattr(errors, each.__name__, None) is each:
            return Refused(each.__name__, words(error)[:LONGEST])
    return Refused("", one_line(error))


class Loop:
    """Runs batches one after another."""

    def __init__(self, wire: Channel, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._requests: Segment | None = None
        self._replies: dict[int, Array] = {}

    def forever(self) -> None:
        """Until the server hangs up; then the session gives back what it holds."""
        try:
            while True:
                message, fds = self._wire.receive()
                assert isinstance(message, Run)  # noqa: S101 - nothing else is said now
                self._one(message, fds)
        finally:
            self._session.close()

    def _one(self, message: Run, fds: list[int]) -> None:
        if message.grown:
            self._requests = _map(fds[0], message.grown)
        assert self._requests is not None  # noqa: S101 - the first batch comes with one
        root = self._requests.root()
        lease = ref(root)
        answer: Ran | Refused
        try:
            answer = Ran(self._answer(message, root), kept=False)
        except (InstanceLost, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a framework raises is the answer
            answer = refused(error)
        del root  # what the model made of it has gone with its frames
        self._wire.send(answer if lease() is None else replace(answer, kept=True))

    def _answer(self, message: Run, root: Array) -> tuple[Block, ...]:
        """Runs the batch and writes what comes of it to where the server reads it."""
        inputs = {block.name: view(root, block) for block in message.inputs}
        for array in inputs.values():
            array.flags.writeable = False
        outputs = self._session.run(inputs, message.outputs)
        arrays = {name: checked(name, array) for name, array in outputs.items()}
        joined = join([arrays]) if arrays else []
        offsets, need = room(one.size for one in joined)
        reply = self._replies.get(message.slot)
        if reply is None or len(reply) < need:
            # Forgotten first: if this fails, the server may read another than we would write.
            self._replies.pop(message.slot, None)
            reply = self._replies[message.slot] = self._grow(need)
        return tuple(one.write(reply, offset) for one, offset in zip(joined, offsets, strict=True))

    def _grow(self, need: int) -> Array:
        self._wire.send(Grow(need))
        message, fds = self._wire.receive()
        assert isinstance(message, Grown)  # noqa: S101 - the only answer to that
        if not message.size:
            raise MemoryError(f"the server has no memory for an answer of {need} bytes")
        if not fds:
            raise MemoryError("no descriptor came along with memory for the answer; are too many files open?")
        return _map(fds[0], message.size).root()


def checked(name: object, array: object) -> Array:
    if type(name) is not str:
        raise TypeError(f"the name of output {name!r} is a {type(name).__name__}; it must be a str")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"output {name!r} is a {type(array).__name__}; it must be a numpy array")
    try:
        datatype_of(array.dtype)
    except InvalidRequest as error:  # the model's fault, not the request's
        raise TypeError(f"output {name!r}: {error}") from None
    return array


def _map(fd: int, size: int) -> Segment:
    segment = Segment(fd, size)
    segment.close()
    return segment


def _leave_stops_to_the_server() -> None:
    """A supervisor that signals all of its processes must not take us from a server that still answers.

    A handler that does nothing, unlike SIG_IGN, is not handed on to programs that a model starts.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def die_with(lifeline: int) -> None:
    """The kernel ends us, and what we fork, when the server ends, though the model be in an endless loop.

    SIGIO, whose default is to end the process, comes when the other end of the pipe is closed.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())  # negative: the whole group
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def prefer_as_victim() -> None:
    """When memory runs out the kernel is to end a worker, which comes back, and not the server."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
