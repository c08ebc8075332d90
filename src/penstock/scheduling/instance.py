"""A thread with a session of its own, or a share in one, that runs what it is handed, one at a time."""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

from penstock.core.ports import Restartable, Session

Given = TypeVar("Given")


class Instance:
    """Cheaper than an executor: no future and no lock per batch, one wake-up each way."""

    def __init__(self, session: Session, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.session = session
        self.mortal = cast(Restartable, session) if hasattr(session, "restart") else None
        """The session, where it can die alone and be started again."""
        self.ends = 0
        """Times in a row that it died without having answered anything."""
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = SimpleQueue()
        # A daemon, so that a model that never returns cannot keep the process from ending.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Given], done: Callable[[Given], None]) -> None:
        """``job`` runs in the thread, must not raise; ``done`` is called with its result on the loop."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """End the thread after the job in hand, without waiting for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            came = job()
            try:
                self._loop.call_soon_threadsafe(done, came)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            # Let go before blocking again, or the last batch's tensors live until the next.
            del item, job, done, came
