"""The reading half of an HTTP/1.1 connection: bytes in, whole requests or refusals out.

The parser is llhttp; what it accepts is held to the limits as it comes, and to its key before its
body is read.
"""

from time import monotonic
from typing import TYPE_CHECKING, Any

import httptools

from penstock.core.errors import MethodNotAllowed, PenstockError, TooLarge
from penstock.doors import strangers
from penstock.doors.auth import key_of
from penstock.doors.message import Headers
from penstock.doors.targets import role_of

if TYPE_CHECKING:
    from penstock.doors.connection import Connection
    from penstock.doors.http import HttpDoor

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RATE = 65536
"""Bytes that buy a slow sender one more second than the time-out."""
_MANY = 65536
"""Pieces of a body that are joined before it is whole: tiny ones take twenty times their bytes."""


class Reader:
    """Calls its connection's ``arrived`` for each whole request, and ``refuse`` for what can be none."""

    __slots__ = (
        "_began",
        "_chunks",
        "_connection",
        "_data",
        "_door",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_limits",
        "_parser",
        "_size",
        "_tenant",
        "_url",
        "receiving",
    )

    def __init__(self, connection: "Connection", door: "HttpDoor") -> None:
        self._connection = connection
        self._door = door
        self._limits = door.limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self.receiving = False
        """Whether a request is half read."""
        self._began = 0.0
        """When it began, on the monotonic clock."""
        self._in_head = True
        self._head_bytes = 0
        self._data = b""
        """What came in while no request was half read; empty at other times."""
        self._url = b""
        self._headers: Headers = {}
        self._tenant = ""
        """Whose key came with the request, if it came with one."""
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Read on."""
        if not self.receiving:
            self._data = data
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._connection.refuse_bytes(400, f"this is not HTTP/1.1: {error}")
            return
        if self._in_head and self._head_bytes > self._limits.max_header_bytes:
            self._refuse_head()
        self._data = b""

    def check(self, now: float) -> None:
        """Refuse a request that takes too long to come."""
        limits, spent = self._limits, now - self._began
        if self._in_head:
            if spent > limits.header_timeout_s:
                self._connection.refuse_bytes(
                    408, f"the request head took over {limits.header_timeout_s:g} s"
                )
        elif spent > limits.body_timeout_s + self._size / _RATE:
            self._connection.refuse_bytes(408, f"the body took over {limits.body_timeout_s:g} s")

    def _parse(self, data: bytes) -> None:
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
            self._connection.refuse(MethodNotAllowed("CONNECT is for proxies, which this is not"))
            return b""
        lines = b"".join(b"%b: %b\r\n" % item for item in self._headers.items() if item[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, lines)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._tenant = ""
        self._chunks = []
        self._size = 0
        self.receiving = True
        self._began = monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers say nothing that we may heed
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        received, self._head_bytes = self._head_bytes, 0
        if self._connection.deaf:
            return
        headers = self._headers
        length = headers.get(b"content-length")
        if received > self._limits.max_header_bytes and self._head_is_too_large():
            self._refuse_head()
        elif length is not None and len(length) > 3 and int(length) > self._limits.max_body_bytes:
            self._connection.refuse(self._too_large())
        elif not self._allowed():
            return
        elif b"expect" in headers and self._waits():
            self._connection.write([_CONTINUE])

    def _waits(self) -> bool:
        """Whether the client sends its body only when it is told to."""
        asks = self._headers[b"expect"].lower() == b"100-continue"
        return asks and self._parser.get_http_version() == "1.1" and not self._connection.busy

    def on_body(self, body: bytes) -> None:
        if self._connection.deaf:
            return
        self._size += len(body)
        if self._size > self._limits.max_body_bytes:
            self._connection.refuse(self._too_large())
            return
        self._chunks.append(body)
        if len(self._chunks) == _MANY:
            self._chunks = [b"".join(self._chunks)]

    def on_message_complete(self) -> None:
        self._in_head = True
        self.receiving = False
        parser = self._parser
        if self._connection.deaf or parser.should_upgrade():
            return
        chunks = self._chunks
        self._chunks = []
        keep_alive = parser.should_keep_alive()
        head = self._door.read_head(parser.get_method(), self._url, self._headers, keep_alive, self._tenant)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._door.heads.remember(self._data, head, len(body))
        self._connection.arrived((head, body))

    def _allowed(self) -> bool:
        try:
            role = role_of(self._parser.get_method(), self._url)
            if role is not None and self._door.keys:
                self._tenant = self._door.keys.require(self._key(), role)
            if role == "admin":
                strangers.refuse(self._headers, alone=self._door.alone)
        except PenstockError as error:
            self._connection.refuse(error)
            return False
        return True

    def _key(self) -> str | None:
        return key_of(
            self._headers.get(b"authorization", b"").decode("latin-1"),
            self._headers.get(b"x-api-key", b"").decode("latin-1"),
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over {self._limits.max_body_bytes} bytes, the limit here")

    def _head_is_too_large(self) -> bool:
        lines = sum(len(name) + len(value) + 4 for name, value in self._headers.items())
        return len(self._url) + lines > self._limits.max_header_bytes

    def _refuse_head(self) -> None:
        self._connection.refuse_bytes(431, f"the request head is over {self._limits.max_header_bytes} bytes")
