"""One whole HTTP message through an ASGI app: the way of everything that is not inference."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from penstock.doors.targets import path_of

if TYPE_CHECKING:
    from penstock.doors.connection import Connection
    from penstock.doors.message import Head

log = logging.getLogger("penstock.http")

Event = MutableMapping[str, Any]
App = Callable[[Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]]


async def run(app: App, connection: "Connection", head: "Head", body: bytes, *, https: bool) -> None:
    """Answer a request with what ``app`` sends; cancelled when the caller goes.

    Raises what ``app`` raises, unless it has begun to answer by then.
    """
    answer = _Answer(connection, head.method == b"HEAD")
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Event:
        if waiting:
            return waiting.pop()
        await asyncio.get_running_loop().create_future()  # until cancelled: the caller has gone
        return {"type": "http.disconnect"}

    try:
        await app(_scope(head, https), receive, answer.send)
        answer.end()
    except asyncio.CancelledError:
        if answer.started:  # no other answer may follow in its middle
            answer.cut()
        raise
    except Exception:
        if not answer.started:
            raise
        log.exception("%s failed while it was answered", path_of(head.url))
        answer.cut()


def _scope(head: "Head", https: bool) -> Event:
    raw_path, _, query = head.url.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": head.method.decode("latin-1"),
        "scheme": "https" if https else "http",
        "path": path_of(head.url),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": list(head.headers.items()),
        "client": None,
        "server": None,
    }


class _Answer:
    """Writes ASGI events: the length is sent if the app says it, else chunks.

    ``send`` waits for a client that reads slowly, so an app that goes on and on is held to its pace.
    An app that says ``connection: close`` has the connection closed after its answer.
    """

    def __init__(self, connection: "Connection", head_only: bool) -> None:
        self.started = False
        self._connection = connection
        self._keep = False
        self._head_only = head_only
        self._chunked = False
        self._ended = False

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self._start(event)
        elif event["type"] == "http.response.body":
            more = event.get("more_body", False)
            self._body(event.get("body", b""), more=more)
            if more:
                await self._connection.drained()

    def _start(self, event: Event) -> None:
        status = event["status"]
        headers = [(bytes(name).lower(), bytes(value)) for name, value in event.get("headers", ())]
        self._chunked = not any(name == b"content-length" for name, _ in headers) and status not in (204, 304)
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        closes = (b"connection", b"close") in headers
        self._keep = self._connection.keep_alive() and not closes
        if not self._keep and not closes:
            headers.append((b"connection", b"close"))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        phrase = HTTPStatus(status).phrase.encode()
        self._connection.write([b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, phrase, lines)])
        self.started = True

    def _body(self, body: bytes, *, more: bool) -> None:
        if body and not self._head_only:
            self._connection.write([b"%x\r\n" % len(body), body, b"\r\n"] if self._chunked else [body])
        if not more:
            self.end()

    def end(self) -> None:
        """The app has said all; an app that said nothing is an error of its own."""
        if self._ended:
            return
        if not self.started:
            raise RuntimeError("the application returned without an answer")
        self._ended = True
        if self._chunked and not self._head_only:
            self._connection.write([b"0\r\n\r\n"])
        self._connection.finish(self._keep)

    def cut(self) -> None:
        """Break off an answer that cannot be finished, so that nobody takes it for a whole one."""
        if not self._ended:
            self._ended = True
            self._connection.abort()
