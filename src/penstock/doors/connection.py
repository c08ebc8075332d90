"""The answering half of an HTTP/1.1 connection: inference here, everything else to the ASGI app.

Nothing on the way of an inference request makes a task, a thread or a copy that need not be.
One request is answered at a time; what a client pipelines waits, and reading pauses meanwhile.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.core.errors import (
    Overloaded,
    PenstockError,
    ShuttingDown,
)
from penstock.core.ticket import Ticket
from penstock.core.types import Reply
from penstock.doors import compress, v2_http
from penstock.doors.errors import error_body, hint, http_status
from penstock.doors.heads import END
from penstock.doors.message import Head, Message
from penstock.doors.reader import Reader

if TYPE_CHECKING:
    from penstock.doors.http import HttpDoor

log = logging.getLogger("penstock.http")

_JSON_200 = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_BINARY_200 = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
    b"inference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n"
)
_ONE_WRITE = 16384
"""Bytes up to which joining an answer's parts is cheaper than handing them over one by one."""
_RATE = 65536
"""Bytes that buy a slow reader one more second than the time-out."""
_LINGER = 2.0
"""Seconds that a client has to read a refusal before the connection is cut."""


class Refusal(NamedTuple):
    """An answer to what cannot be read as a request."""

    status: int
    sentence: str
    extra: bytes
    """Header lines."""


class Connection(asyncio.Protocol):
    """Made per connection by ``HttpDoor``, which also calls ``check`` once a second."""

    __slots__ = (
        "_blocked",
        "_blocked_since",
        "_closing",
        "_door",
        "_driving",
        "_form",
        "_handler",
        "_head",
        "_heads",
        "_keep",
        "_limits",
        "_pending",
        "_pipeline",
        "_reader",
        "_reading",
        "_received",
        "_since",
        "_till",
        "_transport",
        "_unread",
        "busy",
        "deaf",
    )

    def __init__(self, door: "HttpDoor") -> None:
        self._door = door
        self._heads = door.heads
        self._handler = door.handler
        self._till = door.till
        self._limits = door.limits
        self._reader = Reader(self, door)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._pipeline: deque[Message | Refusal] = deque()
        self.busy = False
        """Whether a request is being answered."""
        self._driving = False
        self._reading = True
        self._blocked_since: float | None = None
        self._blocked: asyncio.Future[None] | None = None
        """Somebody who waits until the client has read."""
        self._unread = 0
        """Bytes that waited for the client to read them when writing was paused."""
        self._closing = False
        """Nothing is written any more."""
        self.deaf = False
        """What still comes in is discarded: it cannot be trusted, or nobody waits for an answer."""
        self._pending: Ticket | asyncio.Task[None] | None = None
        self._head: Head | None = None
        self._keep = True
        """Whether the connection outlives the present answer, as far as the client is concerned."""
        self._form = v2_http.Form()
        self._received = 0
        """Bytes of the present request's body."""
        self._since = monotonic()
        """When it became idle, or began to linger."""

    # -- transport -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        if not self._door.joined(self):
            self.refuse(Overloaded(f"there are {self._limits.max_connections} connections, the limit here"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        self._closing = self.deaf = True
        self._pipeline.clear()
        if self._pending is not None:
            self._pending.cancel()

    def eof_received(self) -> bool:
        return False  # a client that ends its side has gone; the transport closes and work is cancelled

    def pause_writing(self) -> None:
        self._blocked_since = monotonic()
        self._unread = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._blocked_since = None
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)
        self._drive()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if not self._reader.receiving:
            end = data.find(END) + 4
            head = self._heads.get(data[:end])
            if head is not None and head.length == len(data) - end and not self._occupied():
                self._begin((head, data[end:]))
                return
        self._reader.feed(data)

    def arrived(self, message: Message) -> None:
        if self._occupied():
            self._pipeline.append(message)
            if self._reading:
                self._reading = False
                self._transport.pause_reading()
            return
        self._begin(message)

    def _occupied(self) -> bool:
        """Whether a request that comes now must wait its turn."""
        return self.busy or self._blocked_since is not None or bool(self._pipeline)

    # -- one request at a time -----------------------------------------------------------------

    def _drive(self) -> None:
        """Begin what waits; a loop, since an answer that comes at once would recurse."""
        if self._driving:
            return
        self._driving = True
        while self._pipeline and not self.busy and not self._closing and self._blocked_since is None:
            waiting = self._pipeline.popleft()
            if isinstance(waiting, Refusal):
                self._send_refusal(waiting)
                break
            self._begin(waiting)
        self._driving = False
        if not self._reading and not self._pipeline and not self._closing:
            self._reading = True
            self._transport.resume_reading()

    def _begin(self, message: Message) -> None:
        self.busy = True
        self._head, body = head, _ = message
        self._received = len(body)
        self._keep = head.keep_alive
        if head.plain:
            self._infer(head, body)
        elif head.target is None:
            self._spawn(self._door.other(self, head, body))
        else:
            self._spawn(self._inflate(head, body))

    def _infer(self, head: Head, body: bytes) -> None:
        try:
            if head.header_length == b"0":
                request, self._form = self._door.decode_raw(head.target, body, head.tags)  # type: ignore[arg-type]
            else:
                request, self._form = v2_http.decode(head.target, head.header_length, body, head.tags)  # type: ignore[arg-type]  # inference has a target
            answer = self._handler(request)
        except PenstockError as error:
            self.send_error(error)
            return
        except Exception as error:  # noqa: BLE001 - answered and logged
            self._broke(error)
            return
        if isinstance(answer, Ticket) and not answer.over:
            self._pending = answer
            answer.then = self._answered
        else:
            self._spawn(self._awaited(answer))

    def _answered(self, ticket: Ticket) -> None:
        self._pending = None
        if ticket.reply is not None:
            self._deliver(ticket.reply)
        elif ticket.error is not None:
            self.send_error(ticket.error)

    async def _awaited(self, answer: Awaitable[Reply]) -> None:
        self._deliver(await answer)

    def _deliver(self, reply: Reply) -> None:
        try:
            parts, header_length = v2_http.encode(reply, self._form, self._till.quote)
        except PenstockError as refused:
            self.send_error(refused)
            return
        except Exception as odd:  # noqa: BLE001 - answered and logged
            self._broke(odd)
            return
        if self._head.accept or not self._keep or self._door.draining:  # type: ignore[union-attr]
            self._reply(reply, parts, header_length)
            return
        if not header_length:
            size = len(parts[0])
            self._transport.write(_JSON_200 % size + parts[0])
        elif (size := v2_http.sizes(parts)) <= _ONE_WRITE:
            self._transport.write(b"".join((_BINARY_200 % (header_length, size), *parts)))
        else:
            self._transport.writelines([_BINARY_200 % (header_length, size), *parts])
        self._till.carried(reply, self._head.tags, self._received, size)  # type: ignore[union-attr]
        self._finish()

    def _reply(self, reply: Reply, parts: v2_http.Parts, header_length: int) -> None:
        accept = self._head.accept if self._head else None
        if accept and v2_http.sizes(parts) >= self._limits.compress_min_bytes:
            self._spawn(self._deflate(accept, reply, parts, header_length))
        else:
            self._send_parts(reply, parts, header_length, b"")

    def _broke(self, error: BaseException) -> None:
        """An error that may not be one of ours: said in one sentence, and logged."""
        if isinstance(error, PenstockError):
            self.send_error(error)
            return
        log.error("a request failed unexpectedly", exc_info=error)
        self.send_error(PenstockError("the server failed on this request; its log says how"))

    # -- rarer ways: compressed bodies, other paths -----------------------------------------------

    def _spawn(self, work: Any) -> None:
        """Run a coroutine as the present request; what it raises becomes the answer."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._pending = task
        task.add_done_callback(self._spawned)

    def _spawned(self, task: "asyncio.Task[None]") -> None:
        if self._pending is task:
            self._pending = None
        if self._closing:
            return
        if task.cancelled():
            self.send_error(ShuttingDown("the request was given up because the server is stopping"))
        elif task.exception() is not None:
            self._broke(task.exception())  # type: ignore[arg-type]  # not None

    async def _inflate(self, head: Head, body: bytes) -> None:
        encoding = head.headers[b"content-encoding"]
        limit = self._limits.max_body_bytes
        self._infer(head, await asyncio.to_thread(compress.inflate, encoding, body, limit))

    async def _deflate(self, encoding: bytes, reply: Reply, parts: v2_http.Parts, header_length: int) -> None:
        body = await asyncio.to_thread(compress.deflate, encoding, parts)
        self._send_parts(reply, [body], header_length, b"content-encoding: " + encoding + b"\r\n")

    # -- answers -------------------------------------------------------------------------------

    def _send_parts(self, reply: Reply, parts: v2_http.Parts, header_length: int, extra: bytes) -> None:
        if header_length:
            extra += b"inference-header-content-length: %d\r\n" % header_length
        kind = b"application/octet-stream" if header_length else b"application/json"
        if self._head is not None:
            self._till.carried(reply, self._head.tags, self._received, v2_http.sizes(parts))
        self.send(200, kind, parts, extra)

    def send(self, status: int, content_type: bytes, parts: v2_http.Parts, extra: bytes = b"") -> None:
        """Write a whole answer and go on to the next request; ``extra`` is header lines."""
        if self._closing:
            return
        keep = self.keep_alive()
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s%s\r\n" % (
            status,
            HTTPStatus(status).phrase.encode(),
            content_type,
            v2_http.sizes(parts),
            extra,
            b"" if keep else b"connection: close\r\n",
        )
        self.write([head] if self._head and self._head.method == b"HEAD" else [head, *parts])
        self.finish(keep)

    def write(self, parts: v2_http.Parts) -> None:
        """Raw bytes of the present answer."""
        if not self._closing:
            self._transport.writelines(parts)

    async def drained(self) -> None:
        """Wait while the client reads more slowly than is written; ``check`` cuts off one who never does."""
        if self._blocked_since is not None and not self._closing:
            self._blocked = asyncio.get_running_loop().create_future()
            await self._blocked
            self._blocked = None

    def finish(self, keep: bool) -> None:
        """The present answer is written."""
        if keep:
            self._finish()
        else:
            self._linger()

    def keep_alive(self) -> bool:
        """Whether another answer follows the present one.

        While draining, what was pipelined is answered too, and only the last answer says close.
        """
        draining = self._door.draining and not self._pipeline
        return self._head is not None and self._keep and not draining

    def send_error(self, error: PenstockError) -> None:
        status = http_status(error)
        if status == 500:
            asked = self._head.url.decode("latin-1") if self._head else ""
            log.error("%s: %s", asked, error, extra={"request_id": self._form.id, "status": status})
        self.send(status, b"application/json", [error_body(str(error))], hint(error))

    def _finish(self) -> None:
        self.busy = False
        self._head = None
        self._since = monotonic()
        if self._pipeline or not self._reading:
            self._drive()

    # -- refusals, time-outs, the end ----------------------------------------------------------

    def refuse(self, error: PenstockError) -> None:
        self.refuse_bytes(http_status(error), str(error), hint(error))

    def refuse_bytes(self, status: int, sentence: str, extra: bytes = b"") -> None:
        """Answer before the request is whole; nothing after it can be trusted, so the connection ends.

        Requests that came whole before it are answered first.
        """
        if self.deaf:
            return
        self.deaf = True
        refusal = Refusal(status, sentence, extra)
        if self._occupied():
            self._pipeline.append(refusal)
        else:
            self._send_refusal(refusal)

    def _send_refusal(self, refusal: Refusal) -> None:
        self._head = None
        self.send(refusal.status, b"application/json", [error_body(refusal.sentence)], refusal.extra)

    def _linger(self) -> None:
        """End our side and discard what still comes: a reset would destroy the answer on its way."""
        self._closing = self.deaf = True
        self._pipeline.clear()
        self._since = monotonic()
        if self._transport.is_closing():
            return
        if self._head is not None and not self._door.draining:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
        else:
            self._transport.close()

    @property
    def idle(self) -> bool:
        return not self.busy and not self._reader.receiving and not self._pipeline

    def close(self) -> None:
        """Close at once if nothing is under way."""
        if self.idle and not self._closing:
            self._transport.close()

    def abort(self) -> None:
        self._closing = self.deaf = True
        self._transport.abort()

    def _patience(self) -> float:
        """Seconds that a client may keep us from writing: more, the more it reads meanwhile."""
        read = self._unread - self._transport.get_write_buffer_size()
        return self._limits.write_timeout_s + max(0, read) / _RATE

    def check(self, now: float) -> None:
        """Cut off whoever is too slow at sending, reading or asking."""
        limits = self._limits
        if self._blocked_since is not None and now - self._blocked_since > self._patience():
            self._transport.abort()
        elif self._closing:
            if now - self._since > _LINGER and self._blocked_since is None:
                self._transport.abort()
        elif not self._reading:
            pass  # what has not come yet waits for us
        elif self._reader.receiving:
            self._reader.check(now)
        elif not self.busy and now - self._since > limits.idle_timeout_s:
            self._transport.close()
