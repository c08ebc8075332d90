"""What a server and its worker processes say to each other: short messages; tensors lie in segments.

One question, one answer, in turn; MessagePack behind a length, file descriptors beside it.
"""

import os
import socket
import struct
from typing import TypeAlias

import msgspec
from msgspec import Struct

from penstock.core.errors import InstanceLost
from penstock.core.spec import ModelSpec, Signature
from penstock.workers.segment import Block

LARGEST = 16 * 1024 * 1024
"""Bytes of one message; tensors do not count."""
_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 16
_FDS = 4


class Open(Struct, frozen=True, tag=True, array_like=True):
    """Load a model; answered by Opened or Refused."""

    engine: str
    spec: ModelSpec
    files: str
    path: tuple[str, ...]
    """``sys.path`` of the server, so that a user's own modules are found."""
    cores: tuple[int, ...]
    """Those to keep to; empty: all."""


class Opened(Struct, frozen=True, tag=True, array_like=True):
    signature: Signature
    platform: str
    device: str
    threads: int
    concurrency: int


class Refused(Struct, frozen=True, tag=True, array_like=True):
    """An error: ``kind`` is a class of ``core.errors``, or empty for what a framework raised."""

    kind: str
    message: str
    kept: bool = False
    """As in Ran."""


class Run(Struct, frozen=True, tag=True, array_like=True):
    """Run a batch that lies in the request segment; answered by Ran, Grow or Refused."""

    inputs: tuple[Block, ...]
    outputs: tuple[str, ...]
    slot: int
    """The reply segment to answer in."""
    grown: int = 0
    """Bytes of a new request segment, whose descriptor comes along; 0: as before."""


class Grow(Struct, frozen=True, tag=True, array_like=True):
    """The reply slot is too small; answered by Grown with one of at least so many bytes."""

    size: int


class Grown(Struct, frozen=True, tag=True, array_like=True):
    size: int
    """Of the segment whose descriptor comes along; 0 if there is no memory for one."""


class Ran(Struct, frozen=True, tag=True, array_like=True):
    outputs: tuple[Block, ...]
    kept: bool
    """Whether the model still holds inputs, whose segment must then not be written again."""


Message: TypeAlias = Open | Opened | Refused | Run | Grow | Grown | Ran


class Channel:
    """One end of a stream socket; blocks. Raises InstanceLost when the other end has gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)

    def send(self, message: Message, *fds: int) -> None:
        body = self._encoder.encode(message)
        data = _LENGTH.pack(len(body)) + body
        try:
            sent = socket.send_fds(self._socket, [data], fds) if fds else self._socket.send(data)
            while sent < len(data):
                sent += self._socket.send(data[sent:])
        except TimeoutError:
            raise InstanceLost("it did not take a message in time") from None
        except OSError as error:
            raise InstanceLost(f"it cannot be reached: {error.strerror or error}") from None

    def receive(self, timeout: float | None = None) -> tuple[Message, list[int]]:
        """The next message, and the descriptors that came with it, which are then the caller's."""
        self._socket.settimeout(timeout)
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, _CHUNK, _FDS)
            while data and len(data) < _LENGTH.size:
                data += self._more()
            need = _LENGTH.size + (_LENGTH.unpack_from(data)[0] if data else 0)
            if not data or need > LARGEST:
                raise InstanceLost("it ended" if not data else "it speaks another protocol")
            while len(data) < need:
                data += self._more()
            return self._decoder.decode(memoryview(data)[_LENGTH.size :]), fds
        except (OSError, InstanceLost, msgspec.MsgspecError) as error:
            for fd in fds:
                os.close(fd)
            raise _lost(error, timeout) from None

    def _more(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise InstanceLost("it ended in the middle of a message")
        return data

    def hang_up(self) -> None:
        """Whoever waits for a message, here or there, is told that it ended."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


def _lost(error: Exception, timeout: float | None) -> Exception:
    if isinstance(error, TimeoutError):
        return InstanceLost(f"it did not answer within {timeout:.0f} s")
    if isinstance(error, OSError):
        return InstanceLost(f"it cannot be reached: {error.strerror or error}")
    if isinstance(error, msgspec.MsgspecError):
        return InstanceLost(f"it speaks another protocol: {error}")
    return error
