"""The page's events on their way to whoever looks: one tick a second for all.

When the last has gone one in five seconds is kept for whoever comes soon after, and then none.

The wire format is the HTML standard's (section 9.2, server-sent events).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penstock.core.errors import Overloaded, ShuttingDown
from penstock.dashboard.feed import Feed
from penstock.dashboard.minutes import STEP, Minutes, past
from penstock.dashboard.words import Hello

log = logging.getLogger("penstock.page")

VIEWERS = 64
"""At once; more are refused."""
LINGER = 600.0
"""Seconds for which the past is kept when nobody looks any more."""
FIRST = 0.2
"""Seconds to the first tick after nobody looked."""
BEAT = 15.0
"""Seconds of silence after which a comment says that the connection lives."""
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events until it has a buffer full of them
    (b"connection", b"close"),
)


def frame(name: str, value: Any) -> bytes:
    """One event; JSON has no line breaks of its own."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))


class Hub:
    """Lives on the event loop; works only while somebody looks, and a little for a while after."""

    def __init__(
        self,
        feed: Feed,
        *,
        most: int = VIEWERS,
        every: float = 1.0,
        first: float = FIRST,
        linger: float = LINGER,
    ) -> None:
        """``every`` and ``first``: seconds between ticks, and to the first one."""
        self.viewers: set[asyncio.Task[Any]] = set()
        self.closed = False
        self.number = 0
        """Of the last frame."""
        self.frame = b""
        self.turn = asyncio.Event()
        """Set when there is another frame, or none will come; then there is another event."""
        self._feed = feed
        self._most = most
        self._every = every
        self._first = first
        self._linger = linger
        self._minutes = Minutes()
        self._left = self._told = 0.0
        """When the last viewer went, and when the last frame was made, on the loop's clock."""
        self._ticking: asyncio.Task[None] | None = None
        self._failing = False

    def check(self) -> None:
        """Raises Overloaded or ShuttingDown where nobody else may look."""
        if self.closed:
            raise ShuttingDown("the server is stopping")
        if len(self.viewers) >= self._most:
            raise Overloaded(f"{self._most} pages look already, the limit here; close one of them")

    def join(self, viewer: asyncio.Task[Any]) -> None:
        """A task that will take frames."""
        self.viewers.add(viewer)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    def leave(self, viewer: asyncio.Task[Any]) -> None:
        """It takes no more."""
        self.viewers.discard(viewer)
        self._left = asyncio.get_running_loop().time()

    async def past(self) -> bytes:
        """An event with the last minutes; nothing where nobody has looked in them, or just begins to."""
        kept = self._minutes.all()
        return await asyncio.to_thread(lambda: frame("past", past(kept))) if len(kept) > 1 else b""

    async def close(self, patience: float = 0.1) -> None:
        """End all streams; whoever has not read what came before is cut off after so many seconds."""
        self.closed = True
        self._wake()
        ending = set(self.viewers)
        if self._ticking is not None:
            self._ticking.cancel()
            ending.add(self._ticking)
        if ending:
            await asyncio.wait(ending, timeout=patience)
        for viewer in self.viewers:
            viewer.cancel()

    def _wake(self) -> None:
        self.turn.set()
        self.turn = asyncio.Event()

    async def _tick(self) -> None:
        """Until nobody has looked for a while: a page that is loaded again finds all as it was."""
        loop = asyncio.get_running_loop()
        try:
            due = loop.time() + self._first
            begun = await self._done(self._feed.begin)
            while self.viewers or loop.time() - self._left < self._linger:
                await asyncio.sleep(due - loop.time())
                if self.viewers or loop.time() - self._told >= STEP:
                    begun = await self._done(self._publish if begun else self._feed.begin) or begun
                due = max(due, loop.time() - self._every / 2) + self._every
        finally:
            self._feed.end()
            self._minutes.clear()
            self._ticking = None
            self.frame = b""

    async def _done(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Whether it went well; of failures one after the other the first is logged."""
        try:
            await step()
        except Exception:
            if not self._failing:
                log.exception("the page's figures could not be worked out")
            self._failing = True
            return False
        self._failing = False
        return True

    async def _publish(self) -> None:
        tick = await self._feed.tick()
        self.frame = frame("tick", tick)
        self._minutes.add(tick)
        self._told = asyncio.get_running_loop().time()
        self.number += 1
        self._wake()


class Stream(Response):
    """Hello, the past, and then the newest frame as often as there is another and the last one was read."""

    def __init__(self, hub: Hub, hello: Hello) -> None:
        super().__init__()
        self._hub = hub
        self._hello = frame("hello", hello)
        self._seen = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Until the viewer goes, by which this is cancelled, or the server stops."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._hub.join(task)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            part = self._hello + await self._hub.past()
            while part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = await self._next()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._hub.leave(task)

    async def _next(self) -> bytes:
        """The newest frame that was not sent, or a comment; nothing at the end."""
        hub = self._hub
        while not hub.closed:
            if hub.frame and hub.number != self._seen:
                self._seen = hub.number
                return hub.frame
            try:
                async with asyncio.timeout(BEAT):
                    await hub.turn.wait()
            except TimeoutError:
                return b": nothing new\n\n"
        return b""
