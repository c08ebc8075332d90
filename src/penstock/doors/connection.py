"""One HTTP/1.1 connection: framing, limits, order of answers; inference here, the rest to the ASGI app.

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

import httptools
import orjson

from penstock.core.errors import (
    MethodNotAllowed,
    Overloaded,
    PenstockError,
    ShuttingDown,
    TooLarge,
    Unauthenticated,
)
from penstock.core.ticket import Ticket
from penstock.core.types import Reply
from penstock.doors import compress, v2_http
from penstock.doors.auth import key_of
from penstock.doors.errors import http_status
from penstock.doors.heads import END
from penstock.doors.message import Head, Headers, Message
from penstock.doors.targets import role_of

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
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RATE = 65536
"""Bytes that buy a slow sender or reader one more second than the time-out."""
_MANY = 65536
"""Pieces of a body that are joined before it is whole: tiny ones take twenty times their bytes."""
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
        "_blocked_since",
        "_busy",
        "_chunks",
        "_closing",
        "_data",
        "_deaf",
        "_door",
        "_driving",
        "_form",
        "_handler",
        "_head",
        "_head_bytes",
        "_headers",
        "_heads",
        "_in_head",
        "_keep",
        "_limits",
        "_parser",
        "_pending",
        "_pipeline",
        "_reading",
        "_receiving",
        "_since",
        "_size",
        "_transport",
        "_unread",
        "_url",
    )

    def __init__(self, door: "HttpDoor") -> None:
        self._door = door
        self._heads = door.heads
        self._handler = door.handler
        self._limits = door.limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._pipeline: deque[Message | Refusal] = deque()
        self._busy = False
        self._driving = False
        self._reading = True
        self._blocked_since: float | None = None
        self._unread = 0
        """Bytes that waited for the client to read them when writing was paused."""
        self._closing = False
        """Nothing is written any more."""
        self._deaf = False
        """What still comes in is discarded: it cannot be trusted, or nobody waits for an answer."""
        self._pending: Ticket | asyncio.Task[None] | None = None
        self._head: Head | None = None
        self._keep = True
        """Whether the connection outlives the present answer, as far as the client is concerned."""
        self._form = v2_http.Form()
        self._in_head = True
        self._head_bytes = 0
        self._data = b""
        """What came in while no request was half read; empty at other times."""
        self._since = monotonic()
        """When the present phase began: idle, head, body, or lingering."""
        self._receiving = False
        self._url = b""
        self._headers: Headers = {}
        self._chunks: list[bytes] = []
        self._size = 0

    # -- transport -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        if not self._door.joined(self):
            self._refuse(Overloaded(f"there are {self._limits.max_connections} connections, the limit here"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        self._closing = self._deaf = True
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
        self._drive()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if not self._receiving:
            end = data.find(END) + 4
            head = self._heads.get(data[:end])
            if head is not None and head.length == len(data) - end and not self._occupied():
                self._begin((head, data[end:]))
                return
            self._data = data
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse_bytes(400, f"this is not HTTP/1.1: {error}")
            return
        if self._in_head and self._head_bytes > self._limits.max_header_bytes:
            self._refuse_head()
        self._data = b""

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _without_upgrade(self) -> bytes:
        """The head again, as if it asked for no upgrade: none is offered, and its body is still to come.

        The parser leaves the body of such a request to the new protocol, while Java's and curl's clients
        offer HTTP/2 in this way with ordinary requests.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        self._parser = httptools.HttpRequestParser(self)
        self._data = b""
        if method == b"CONNECT":
            self._refuse(MethodNotAllowed("CONNECT is for proxies, which this is not"))
            return b""
        lines = b"".join(b"%b: %b\r\n" % item for item in self._headers.items() if item[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, lines)

    # -- parser --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._chunks = []
        self._size = 0
        self._receiving = True
        self._since = monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers say nothing that we may heed
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        received, self._head_bytes = self._head_bytes, 0
        if self._deaf:
            return
        headers = self._headers
        length = headers.get(b"content-length")
        if received > self._limits.max_header_bytes and self._head_is_too_large():
            self._refuse_head()
        elif length is not None and len(length) > 3 and int(length) > self._limits.max_body_bytes:
            self._refuse(self._too_large())
        elif self._door.keys and not self._allowed():
            return
        elif b"expect" in headers and self._waits():
            self._transport.write(_CONTINUE)

    def _waits(self) -> bool:
        """Whether the client sends its body only when it is told to."""
        asks = self._headers[b"expect"].lower() == b"100-continue"
        return asks and self._parser.get_http_version() == "1.1" and not self._busy

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._size += len(body)
        if self._size > self._limits.max_body_bytes:
            self._refuse(self._too_large())
            return
        self._chunks.append(body)
        if len(self._chunks) == _MANY:
            self._chunks = [b"".join(self._chunks)]

    def on_message_complete(self) -> None:
        self._in_head = True
        self._receiving = False
        parser = self._parser
        if self._deaf or parser.should_upgrade():
            return
        chunks = self._chunks
        self._chunks = []
        keep_alive = parser.should_keep_alive()
        head = self._door.read_head(parser.get_method(), self._url, self._headers, keep_alive)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._door.heads.remember(self._data, head, len(body))
        self._arrived((head, body))

    def _arrived(self, message: Message) -> None:
        if self._occupied():
            self._pipeline.append(message)
            if self._reading:
                self._reading = False
                self._transport.pause_reading()
            return
        self._begin(message)

    def _occupied(self) -> bool:
        """Whether a request that comes now must wait its turn."""
        return self._busy or self._blocked_since is not None or bool(self._pipeline)

    # -- one request at a time -----------------------------------------------------------------

    def _drive(self) -> None:
        """Begin what waits; a loop, since an answer that comes at once would recurse."""
        if self._driving:
            return
        self._driving = True
        while self._pipeline and not self._busy and not self._closing and self._blocked_since is None:
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
        self._busy = True
        self._head, body = head, _ = message
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
        if type(answer) is Ticket and not answer.over:
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
            parts, header_length = v2_http.encode(reply, self._form)
        except PenstockError as refused:
            self.send_error(refused)
            return
        except Exception as odd:  # noqa: BLE001 - answered and logged
            self._broke(odd)
            return
        if self._head.accept or not self._keep or self._door.draining:  # type: ignore[union-attr]
            self._reply(parts, header_length)
            return
        if not header_length:
            self._transport.write(_JSON_200 % len(parts[0]) + parts[0])
        elif (size := v2_http.sizes(parts)) <= _ONE_WRITE:
            self._transport.write(b"".join((_BINARY_200 % (header_length, size), *parts)))
        else:
            self._transport.writelines([_BINARY_200 % (header_length, size), *parts])
        self._finish()

    def _reply(self, parts: v2_http.Parts, header_length: int) -> None:
        accept = self._head.accept if self._head else None
        if accept and v2_http.sizes(parts) >= self._limits.compress_min_bytes:
            self._spawn(self._deflate(accept, parts, header_length))
        else:
            self._send_parts(parts, header_length, b"")

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

    async def _deflate(self, encoding: bytes, parts: v2_http.Parts, header_length: int) -> None:
        body = await asyncio.to_thread(compress.deflate, encoding, parts)
        self._send_parts([body], header_length, b"content-encoding: " + encoding + b"\r\n")

    # -- answers -------------------------------------------------------------------------------

    def _send_parts(self, parts: v2_http.Parts, header_length: int, extra: bytes) -> None:
        if header_length:
            extra += b"inference-header-content-length: %d\r\n" % header_length
        kind = b"application/octet-stream" if header_length else b"application/json"
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
        self._busy = False
        self._head = None
        self._since = monotonic()
        if self._pipeline or not self._reading:
            self._drive()

    # -- refusals, time-outs, the end ----------------------------------------------------------

    def _allowed(self) -> bool:
        method = self._parser.get_method()
        role = role_of(method, self._url)
        if role is None:
            return True
        key = key_of(
            self._headers.get(b"authorization", b"").decode("latin-1"),
            self._headers.get(b"x-api-key", b"").decode("latin-1"),
        )
        try:
            self._door.keys.require(key, role)
        except PenstockError as error:
            self._refuse(error)
            return False
        return True

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over {self._limits.max_body_bytes} bytes, the limit here")

    def _head_is_too_large(self) -> bool:
        lines = sum(len(name) + len(value) + 4 for name, value in self._headers.items())
        return len(self._url) + lines > self._limits.max_header_bytes

    def _refuse_head(self) -> None:
        self._refuse_bytes(431, f"the request head is over {self._limits.max_header_bytes} bytes")

    def _refuse(self, error: PenstockError) -> None:
        self._refuse_bytes(http_status(error), str(error), hint(error))

    def _refuse_bytes(self, status: int, sentence: str, extra: bytes = b"") -> None:
        """Answer before the request is whole; nothing after it can be trusted, so the connection ends.

        Requests that came whole before it are answered first.
        """
        if self._deaf:
            return
        self._deaf = True
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
        self._closing = self._deaf = True
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
        return not self._busy and not self._receiving and not self._pipeline

    def close(self) -> None:
        """Close at once if nothing is under way."""
        if self.idle and not self._closing:
            self._transport.close()

    def abort(self) -> None:
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
        elif self._receiving and self._in_head:
            if now - self._since > limits.header_timeout_s:
                self._refuse_bytes(408, f"the request head took over {limits.header_timeout_s:g} s")
        elif self._receiving:
            if now - self._since > limits.body_timeout_s + self._size / _RATE:
                self._refuse_bytes(408, f"the body took over {limits.body_timeout_s:g} s")
        elif not self._busy and now - self._since > limits.idle_timeout_s:
            self._transport.close()


def hint(error: PenstockError) -> bytes:
    """The header line that tells a client what to do about an error, if there is one."""
    if isinstance(error, Overloaded):
        return b"retry-after: %d\r\n" % max(1, round(error.retry_after))
    if isinstance(error, Unauthenticated):
        return b'www-authenticate: Bearer realm="penstock"\r\n'
    return b""


def error_body(sentence: str) -> bytes:
    """The V2 error object."""
    return orjson.dumps({"error": sentence})
