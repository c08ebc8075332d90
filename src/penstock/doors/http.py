"""The HTTP listener: makes connections, watches over them, and drains them at the end."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from penstock.core.ports import Handler, NullTill, Till
from penstock.core.spec import Signature
from penstock.core.tenants import cleaned, mark
from penstock.core.types import Request
from penstock.doors import asgi, compress, targets, v2_http
from penstock.doors.auth import Keys
from penstock.doors.connection import Connection
from penstock.doors.heads import Heads
from penstock.doors.message import Head, Headers
from penstock.settings import Limits

_TAGS = (b"traceparent", b"tracestate")


class HttpDoor:
    """Inference by ``handler``, all other paths by ``app``, on one port."""

    def __init__(
        self,
        handler: Handler,
        app: asgi.App,
        signature: Callable[[str, str], Signature],
        keys: Keys,
        limits: Limits,
        till: Till | None = None,
        tenant_header: str = "",
        *,
        alone: bool = False,
    ) -> None:
        """``signature(model, version)`` may raise PenstockError; only raw binary bodies need it.

        ``tenant_header`` is the name of the header that names the tenant where the key does not.
        ``alone``: only this machine can reach us, and may do everything.
        """
        self.handler = handler
        self.keys = keys
        self.limits = limits
        self.till: Till = till or NullTill()
        self.alone = alone
        self.heads = Heads()
        self.draining = False
        self._app = app
        self._signature = signature
        self._tenant_header = tenant_header.lower().encode()
        self._wanted: tuple[tuple[bytes, str], ...] = ()
        self._tls: ssl.SSLContext | None = None
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def hand_on(self, headers: frozenset[str]) -> None:
        """Marks of these headers (lower case) become tags ``header:name`` from now on."""
        self._wanted = tuple((name.encode(), f"header:{name}") for name in sorted(headers))
        self.heads.clear()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port, which the system chose if 0 was asked for."""
        loop = asyncio.get_running_loop()
        self._tls = tls
        self._server = await loop.create_server(
            lambda: Connection(self), host, port, ssl=tls, backlog=2048, reuse_address=True
        )
        self._watch = asyncio.create_task(self._check())
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, lame_duck: float, patience: float) -> None:
        """Stop accepting, answer all that was accepted, then close; cut off after ``patience`` seconds.

        For ``lame_duck`` seconds idle connections stay open: a request that is on its way when we
        stop still gets its answer, and with it the word that the connection closes.
        """
        self.draining = True
        end = monotonic() + patience
        joining = asyncio.gather(*self._stop_listening(), return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(joining, max(lame_duck, 0.1))  # a TLS handshake may never come
        await self._emptied(lame_duck)
        for connection in list(self._connections):
            connection.close()
        await self._emptied(end - monotonic())
        for connection in list(self._connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()

    def _stop_listening(self) -> list[Coroutine[Any, Any, Any]]:
        """Close the listeners; what is left to do for everybody whom the system has let in already.

        Whoever is in a listener's backlog when it closes is reset, and may have sent a request.
        """
        if self._server is None:
            return []
        listeners = [socket.socket(fileno=os.dup(each.fileno())) for each in self._server.sockets]
        self._server.close()
        loop = asyncio.get_running_loop()
        waiting: list[socket.socket] = []
        for listener in listeners:
            with listener, suppress(OSError):
                while True:
                    waiting.append(listener.accept()[0])
        return [
            loop.connect_accepted_socket(lambda: Connection(self), each, ssl=self._tls) for each in waiting
        ]

    async def _emptied(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._empty.wait(), max(0.0, seconds))
        except TimeoutError:
            pass

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(1.0 if not self.draining else 0.1)
            now = monotonic()
            for connection in list(self._connections):
                connection.check(now)

    # -- for connections -------------------------------------------------------------------------

    def joined(self, connection: Connection) -> bool:
        """False when there is no room."""
        full = len(self._connections) >= self.limits.max_connections
        self._connections.add(connection)
        self._empty.clear()
        return not full

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def read_head(
        self, method: bytes, url: bytes, headers: Headers, keep_alive: bool, tenant: str = ""
    ) -> Head:
        """What a parsed head means; ``tenant`` is the one whose key it has."""
        target = targets.parse(url) if method == b"POST" else None
        return Head(
            method=method,
            url=url,
            headers=headers,
            keep_alive=keep_alive,
            length=int(headers.get(b"content-length", -1)),
            target=target,
            plain=target is not None and b"content-encoding" not in headers,
            accept=compress.accepted(headers.get(b"accept-encoding", b"")),
            header_length=headers.get(v2_http.HEADER_LENGTH),
            tags=self._tags(headers, tenant),
        )

    def _tags(self, headers: Headers, tenant: str) -> dict[str, str]:
        tags = {name.decode(): headers[name].decode("latin-1") for name in _TAGS if name in headers}
        for name, tag in self._wanted:
            if name in headers:
                tags[tag] = mark(headers[name].decode("latin-1"))
        if self._tenant_header and not tenant:
            tenant = cleaned(headers.get(self._tenant_header, b"").decode(errors="replace"))
        return tags | {"tenant": tenant} if tenant else tags

    def decode_raw(
        self, target: targets.Target, body: bytes, tags: Mapping[str, str]
    ) -> tuple[Request, v2_http.Form]:
        """Of the raw binary form, which needs the model's signature; raises PenstockError."""
        return v2_http.decode_raw(target, body, tags, self._signature(*target))

    def other(self, connection: Connection, head: Head, body: bytes) -> Coroutine[Any, Any, None]:
        """Everything that is not inference."""
        return asgi.run(self._app, connection, head, body, https=self._tls is not None)
