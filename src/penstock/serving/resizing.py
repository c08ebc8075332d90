"""The instances of one version while it serves: more of them beside those that work, or fewer."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from penstock.core.errors import PenstockError, one_line
from penstock.core.ports import Session
from penstock.scheduling import restart
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.opened import Opened

log = logging.getLogger("penstock.serving")

AT_ONCE = 8
"""Instances of one version that load at the same time."""


class Changes(NamedTuple):
    """What to do so that there are as many as wanted."""

    start: int
    cancel: int
    """Instances still on their way."""
    drain: int


def changes(ready: int, starting: int, wanted: int) -> Changes:
    """Those still starting go first: they answer nobody."""
    more = wanted - ready - starting
    if more >= 0:
        return Changes(more, 0, 0)
    cancel = min(starting, -more)
    return Changes(0, cancel, -more - cancel)


class Resizing:
    """Lives on the event loop; running batches are never disturbed.

    More instances take batches as each is loaded and warm; fewer drain, and what they held is given back.
    """

    def __init__(self, name: str, scheduler: Scheduler, opened: Opened) -> None:
        self.scheduler = scheduler
        self.took: Callable[[float], object] = bool
        """Told how long an instance took to load and warm up, in seconds."""
        self.trouble = ""
        """Why the last one would not start; empty where it did."""
        self._name = name
        self._opened = opened
        self._starting: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._wanted = 1
        self._failures = 0
        self._rest = 0.0
        self._closed = False

    @property
    def ready(self) -> int:
        """Instances that take batches."""
        return self.scheduler.instances

    @property
    def starting(self) -> int:
        """Instances that are loading."""
        return len(self._starting)

    @property
    def most(self) -> int:
        """Instances that there may be."""
        return self._opened.most

    @property
    def shared(self) -> bool:
        """Whether they share a session, so that another one costs neither time nor memory."""
        return self._opened.another is None

    @property
    def sessions(self) -> list[Session]:
        return self._opened.sessions

    def want(self, count: int) -> None:
        """So many from now on, within what there may be; returns at once.

        Instances that are still loading are called off before any that works is let go.
        After a start that failed, the next is tried later and later.
        """
        if self._closed:
            return
        self._wanted = count = max(1, min(count, self.most))
        start, cancel, drain = changes(self.ready, self.starting, count)
        for _ in range(cancel):
            task = self._starting.pop()
            task.cancel()
            self._keep(task)
        for _ in range(drain):
            self._keep(asyncio.create_task(self._shrink()))
        if monotonic() >= self._rest:
            start = min(start, AT_ONCE - self.starting)
            self._starting.extend(asyncio.create_task(self._grow()) for _ in range(start))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Until it has given back what it holds."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _grow(self) -> None:
        began = monotonic()
        task = asyncio.current_task()
        try:
            session = await self._opened.add()
        except Exception as error:  # noqa: BLE001 - whatever a framework raises; those that work go on
            self._failed(error)
            return
        finally:
            if task in self._starting:  # else it was called off
                self._starting.remove(task)
        self._failures, self.trouble = 0, ""
        self.scheduler.grow(session)
        took = monotonic() - began
        if not self.shared:
            self.took(took)
        log.info("%s: an instance more, after %.2f s; there are %d", self._name, took, self.ready)
        if self.ready + self.starting < self._wanted:
            self.want(self._wanted)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        wait = max(restart.FIRST, restart.delay(self._failures))
        self._rest = monotonic() + wait
        self.trouble = str(error) if isinstance(error, PenstockError) else one_line(error)
        log.error(
            "%s: an instance more would not start: %s; it is tried again in %g s at the least",
            *(self._name, self.trouble, wait),
        )

    async def _shrink(self) -> None:
        session = await self.scheduler.shrink()
        log.info("%s: an instance less; there are %d", self._name, self.ready)
        await self._opened.part(session)

    def halt(self) -> None:
        """No more instances come, nor go."""
        self._closed = True
        for task in self._starting:
            task.cancel()

    async def settled(self) -> None:
        """When what was still coming has been given back; after a drain, also what was going."""
        await asyncio.gather(*self._starting, *self._leaving, return_exceptions=True)
