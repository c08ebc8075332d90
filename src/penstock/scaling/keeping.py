"""Puts what was seen into the database, and reads it, without anybody having to wait for a disk."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import TypeVar

from penstock.core.errors import PenstockError
from penstock.scaling.series import Series
from penstock.scaling.store import Fresh, Known, Store

log = logging.getLogger("penstock.scaling")

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a start or a stop waits for the disk."""


class Keeper:
    """Lives on the event loop; a thread of its own reads and writes, for a disk may hang."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "penstock-scaling")
        self._writing: asyncio.Future[None] | None = None
        self._failing = False

    async def read(self, model: str) -> tuple[Known, Series]:
        """What was kept of a model; nothing, and a line in the log, where it cannot be read now.

        Two weeks take 0.3 s to become a series again, hence in the thread.
        """
        return await self._ask(lambda: restored(self._store.read(model))) or (Known(), Series())

    @property
    def busy(self) -> bool:
        """Whether the last write is still going on."""
        return self._writing is not None and not self._writing.done()

    async def write(self, fresh: Mapping[str, Fresh]) -> bool:
        """Whether it is written now; the same may be written again."""
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._thread, self._store.save, fresh, time())
        try:
            await asyncio.shield(self._writing)
        except PenstockError as error:
            if not self._failing:
                log.error("%s; scaling goes on, and it is tried again", error)
            self._failing = True
            return False
        if self._failing:
            log.info("request histories can be written again; nothing was lost")
        self._failing = False
        return True

    async def stop(self, fresh: Mapping[str, Fresh]) -> None:
        """Write what is left and give the file back, in some seconds at most."""
        await self._ask(lambda: self._store.save(fresh, time()))
        await self._ask(self._store.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, what: Callable[[], T]) -> T | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._thread, what)
        except TimeoutError:
            log.error("the request histories' database has not answered for %g s", PATIENCE)
        except PenstockError as error:
            log.error("%s", error)
        return None


def restored(known: Known) -> tuple[Known, Series]:
    """With its series; a new one, and a line in the log, where it cannot be made of what was kept."""
    series = Series()
    try:
        series.restore(known.buckets)
    except ValueError as error:
        log.error("a request history cannot be read: %s; it begins anew", error)
        return Known(), Series()
    return known, series
