"""A queued request that carries its own way home: awaitable like a future, cheaper than one.

An answer is given by a plain call, without a turn of the loop or a task, which is what a request
path of a few microseconds can afford.
"""

import asyncio
import logging
from collections.abc import Callable, Generator
from math import inf
from typing import Any

from msgspec import Struct

from penstock.core.errors import PenstockError
from penstock.core.types import Reply, Request

log = logging.getLogger("penstock.ticket")


class Ticket(Struct, eq=False):
    """Lives on one event loop; whoever holds it either awaits it or sets ``then``, not both."""

    request: Request
    rows: int
    arrived: float
    """Monotonic seconds, as is ``deadline``."""
    deadline: float = inf
    lost: int = 0
    """Times that what ran it died; such a request runs again, alone."""
    over: bool = False
    """Answered, or the caller has gone."""
    reply: Reply | None = None
    error: PenstockError | None = None
    then: "Callable[[Ticket], None] | None" = None
    """Called once with the answered ticket; never after ``cancel``."""
    watch: "Callable[[Ticket], None] | None" = None
    """Called once before it, whatever came of the ticket."""

    def answer(self, reply: Reply) -> None:
        """Give the answer, unless it is too late for one."""
        if self.over:
            return
        self.over = True
        self.reply = reply
        if self.watch is not None:
            self._tell_watch()
        then = self.then
        if then is not None:
            try:
                then(self)
            except Exception:
                # One caller's trouble must not keep the rest of the batch from its answers.
                log.exception("an answer could not be delivered")

    def fail(self, error: PenstockError) -> None:
        """Give an error as the answer, unless it is too late for one."""
        if self.over:
            return
        self.over = True
        self.error = error
        if self.watch is not None:
            self._tell_watch()
        then = self.then
        if then is not None:
            try:
                then(self)
            except Exception:
                log.exception("an error could not be delivered")

    def cancel(self) -> None:
        """The caller has gone: nobody is told anything any more."""
        if self.watch is not None and not self.over:
            self._tell_watch()
        self.over = True
        self.then = None

    def _tell_watch(self) -> None:
        try:
            self.watch(self)  # type: ignore[misc]  # it is there
        except Exception:
            log.exception("an answer could not be looked on at")

    def __await__(self) -> Generator[Any, None, Reply]:
        if not self.over:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.then = lambda _: None if told.done() else told.set_result(None)
            try:
                yield from told
            except asyncio.CancelledError:
                self.cancel()
                raise
        if self.error is not None:
            raise self.error
        if self.reply is None:
            raise asyncio.CancelledError
        return self.reply
