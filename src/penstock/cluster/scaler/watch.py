"""One trigger of one ScaledObject, watched until nobody asks for it any more."""

import asyncio
import logging
import time
from typing import Protocol

from penstock.cluster.scaler.flow import Look
from penstock.cluster.scaler.reckoning import Reckoning
from penstock.cluster.scaler.trigger import Trigger
from penstock.core.errors import PenstockError, Unavailable
from penstock.scaling.series import Series

log = logging.getLogger("penstock.scaler")

FIRST_S = 2.5
"""How long the first question waits for the first decision."""


class Source(Protocol):
    """Where requests are counted; both calls wait for others, and end by themselves."""

    every_s: float

    async def look(self) -> Look:
        """Raises Unavailable."""
        ...

    async def history(self, series: Series) -> None:
        """Puts into a new series what is known from before; raises Unavailable."""
        ...


class Watch:
    """``wanted`` is what KEDA is told."""

    def __init__(self, trigger: Trigger, source: Source, known: Reckoning | None = None) -> None:
        """``known`` is taken over from a watch that has ended, on other terms."""
        self.trigger = trigger
        self.asked = time.monotonic()
        """When somebody asked last."""
        self.reckoning = known or Reckoning(trigger)
        self.reckoning.trigger = trigger
        self.changed = asyncio.Event()
        """Replaced by a new one whenever it is set."""
        self._source = source
        self._failure: PenstockError | None = None
        self._decided = asyncio.Event()
        self._since = time.monotonic()
        self._task = asyncio.create_task(self._run(fresh=known is None))

    async def wanted(self) -> int:
        """Replicas. Raises what keeps it from deciding, once that has lasted for ``stale_s``."""
        self.asked = time.monotonic()
        if not self._decided.is_set() and self._failure is None:
            try:
                await asyncio.wait_for(self._decided.wait(), FIRST_S)
            except TimeoutError:
                raise Unavailable(
                    "still reading what there is of history; ask again in some seconds"
                ) from None
        old = time.monotonic() - self._since
        if self._failure is not None and (not self.reckoning.at or old > self.trigger.stale_s):
            raise self._failure
        if old > self.trigger.stale_s + self.trigger.terms.tick_s:
            raise Unavailable(f"nothing has been decided for {old:.0f} s")
        return self.reckoning.wanted

    def cancel(self) -> None:
        self._task.cancel()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, fresh: bool) -> None:
        if fresh:
            await self._remember()
        while True:
            begun = time.monotonic()
            await self._once()
            await asyncio.sleep(max(0.05, self._source.every_s - (time.monotonic() - begun)))

    async def _remember(self) -> None:
        try:
            await self._source.history(self.reckoning.series)
        except PenstockError as error:
            log.warning("%s: begins without history: %s", self.trigger.model, error)
        except Exception:
            log.exception("%s: begins without history", self.trigger.model)

    async def _once(self) -> None:
        before = self.reckoning.wanted
        try:
            if self.reckoning.note(await self._source.look()):
                self._since, self._failure = time.monotonic(), None
                self._decided.set()
        except PenstockError as error:
            self._fail(error)
        except Exception:
            log.exception("%s: could not decide", self.trigger.model)
            self._fail(Unavailable("the scaler could not decide; its log says why"))
        if self.reckoning.wanted != before:
            self.changed.set()
            self.changed = asyncio.Event()

    def _fail(self, error: PenstockError) -> None:
        if str(error) != str(self._failure or ""):
            log.warning("%s: the last decision stands: %s", self.trigger.model, error)
        self._failure = error
        self._decided.set()
