"""A thread that runs batches handed to it, one at a time."""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from penstock.scheduling.batch import Ran

Job = Callable[[], Ran]
Done = Callable[[Ran], None]


class Instance:
    """Cheaper than an executor: no future and no lock per batch, one wake-up each way."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        # A daemon, so that a model that never returns cannot keep the process from ending.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """``job`` runs in the thread, must not raise; ``done`` is called with its result on the loop."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """End the thread after the job in hand, without waiting for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            ran = job()
            try:
                self._loop.call_soon_threadsafe(done, ran)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            # Let go before blocking again, or the last batch's tensors live until the next.
            del item, job, done, ran
