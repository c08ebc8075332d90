"""The control plane's one shape: observe, decide (pure), act, again."""

import asyncio
import logging
from typing import Generic, Protocol, TypeVar

Seen = TypeVar("Seen")
Memory = TypeVar("Memory")
Order = TypeVar("Order")

log = logging.getLogger("penstock.loop")


class Loop(Protocol[Seen, Memory, Order]):
    """``decide`` is pure: what was seen and remembered in, orders and a new memory out."""

    name: str
    every: float
    """Seconds between rounds, at most; ``wake`` may end the wait sooner."""

    async def observe(self) -> Seen: ...
    def decide(self, seen: Seen, memory: Memory, /) -> tuple[list[Order], Memory]: ...
    async def act(self, order: Order, /) -> None: ...


class Runner(Generic[Seen, Memory, Order]):
    """Runs a loop until cancelled; a round that raises is logged and the next one runs."""

    def __init__(self, loop: Loop[Seen, Memory, Order], memory: Memory) -> None:
        self.loop = loop
        self.memory = memory
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Start the next round now."""
        self._wake.set()

    async def round(self) -> None:
        """One observe → decide → act."""
        seen = await self.loop.observe()
        orders, self.memory = self.loop.decide(seen, self.memory)
        for order in orders:
            await self.loop.act(order)

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except Exception:
                log.exception("%s: a round failed; the next is in %.1f s", self.loop.name, self.loop.every)
            try:
                # Not wait_for, which in Python 3.11 swallows a cancellation when the event is set.
                async with asyncio.timeout(self.loop.every):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
