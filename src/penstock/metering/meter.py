"""The meter: every few seconds it takes what was used, prices it, and enters it in the books.

A ``core.loop.Loop``: accounts and equipment are observed, ``charging.charge`` decides, and what it decided
goes into the totals, the tariff, the budgets and the books.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.loop import Runner
from penstock.core.spec import Scalar
from penstock.core.types import Timing
from penstock.metering.bill import Bill, By, bill
from penstock.metering.books.reading import Spent
from penstock.metering.budget import Budgets
from penstock.metering.charges import Span, both
from penstock.metering.charging import Memories, Resource, Seen, charge, full
from penstock.metering.equipment import Equipment
from penstock.metering.ledger import Ledger
from penstock.metering.shelf import Past, Shelf
from penstock.metering.tariff import Tariff
from penstock.metering.totals import Totals

log = logging.getLogger("penstock.meter")

AT_ONCE = 100
"""Payers whose budgets hear of an entry before others on the loop get their turn, after about 1 ms."""


class Entry(Struct, frozen=True):
    """One entry in the books, and the rates that hold from then on."""

    span: Span
    tariff: Tariff


class Meter:
    """A ``core.ports.Till``; lives on the event loop."""

    name = "meter"

    def __init__(
        self,
        ledger: Ledger,
        budgets: Budgets,
        every: float = 5.0,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        """``every``: seconds between two entries. Without ``start`` it cannot tell what anything costs."""
        self.every = every
        self.tariff = Tariff()
        """Swapped whole with each entry."""
        self.totals = Totals()
        self.equipment = Equipment()
        self.shelf = Shelf()
        self.budgets = budgets
        self.carried = ledger.carried
        self._ledger = ledger
        self._clock = clock
        self._wall = wall
        self._since = clock()
        self._looking = asyncio.Lock()
        self._entering = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        """The entry that whoever asks now will find himself in."""
        self._reading = asyncio.Lock()
        self._runner: Runner[Seen, Memories, Entry] = Runner(self, Memories())
        self._task: asyncio.Task[None] | None = None

    def quote(self, timing: Timing) -> Mapping[str, Scalar]:
        return self.tariff.quote(timing)

    async def start(self, equipment: Equipment, shelf: Shelf) -> None:
        """From now on the machine is metered."""
        self.equipment, self.shelf = equipment, shelf
        await asyncio.to_thread(equipment.read)
        self._since = self._clock()
        self._restore(await asyncio.to_thread(shelf.last_hour))
        self._task = asyncio.create_task(self._runner.run())

    def _restore(self, spents: Sequence[Spent]) -> None:
        now, currency = self._wall(), self.equipment.currency
        asked: dict[int, Counter[str]] = {}
        for spent in spents:
            asked.setdefault(spent.start, Counter())[spent.tenant] += spent.queries
            money = spent.money if spent.currency == currency else None  # a budget is in one currency
            self.budgets.restore(spent.tenant, now - spent.start, spent.queries, money, spent.joules)
        for start, queries in sorted(asked.items()):
            self.totals.restore(start, queries)

    async def stop(self) -> None:
        """Make the last entry, and close the books."""
        if self._task is not None:
            async with self._looking:  # what is being read is entered first: a counter tells it only once
                self._task.cancel()
            await asyncio.wait([self._task])
            try:
                await self.enter()
            except Exception:
                log.exception("the last entry in the books could not be made")
        await asyncio.to_thread(self.shelf.close)

    async def enter(self) -> None:
        """Make an entry now, so that the books are up to date; it is made even if nobody waits for it.

        All who ask while one is made share the next.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._enter())
        await asyncio.shield(self._next)

    async def _enter(self) -> None:
        async with self._entering:
            self._next = None
            await self._runner.round()

    @property
    def unsaved(self) -> float:
        """Seconds for which the books could not be written; 0 while all is well."""
        return self.shelf.unsaved

    async def bill(self, by: tuple[By, ...], since: float, until: float, only: Mapping[By, str]) -> Bill:
        """What was charged between two times (seconds since the epoch), up to now."""
        await self.enter()
        async with self._reading:  # those who wait for their turn must not take up threads
            return await asyncio.to_thread(self._bill, by, since, until, only)

    async def past(self, model: str, since: float, until: float, width: int) -> Past:
        """What befell a model's versions, and its use in pieces of ``width`` seconds."""
        async with self._reading:
            return await asyncio.to_thread(self.shelf.past, model, since, until, width)

    def _bill(self, by: tuple[By, ...], since: float, until: float, only: Mapping[By, str]) -> Bill:
        return bill(self.shelf.read(since, until), by, since, until, only)

    # -- the loop --------------------------------------------------------------------------------

    async def observe(self) -> Seen:
        async with self._looking:
            reading = await asyncio.to_thread(self.equipment.read)
            now, machine = self._clock(), self.equipment
            seconds, self._since = now - self._since, now
        return Seen(
            start=self._wall() - seconds,
            seconds=seconds,
            used=self._ledger.accounts.take(),
            cpu=Resource(
                capacity=machine.cores * seconds,
                money=_for(machine.cpu_per_s, seconds),
                joules=reading.cpu,
                idle_watts=machine.idle_watts("cpu"),
                active=reading.busy,
            ),
            gpu=Resource(
                capacity=machine.gpus * seconds,
                money=_for(machine.gpu_per_s, seconds),
                joules=reading.gpu,
                idle_watts=machine.idle_watts("gpu"),
            ),
            currency=machine.currency,
            methods=reading.methods,
            grams=reading.grams,
            embodied=machine.embodied,
        )

    def decide(self, seen: Seen, memory: Memories, /) -> tuple[list[Entry], Memories]:
        span, tariff, memory = charge(seen, memory)
        return [Entry(span, tariff)], memory

    async def act(self, order: Entry, /) -> None:
        self.totals.add(order.span)
        self.tariff = replace(order.tariff, full=full(self.totals.hour))
        self.shelf.put(order.span, self._ledger.events.take())
        if self.budgets:
            await self._spend(order.span)
        await asyncio.to_thread(self.shelf.save)

    async def _spend(self, span: Span) -> None:
        for at, used in enumerate(span.used):
            joules = both(used.cpu_joules, used.gpu_joules)
            money = both(used.cpu_money, used.gpu_money)
            self.budgets.spent(used.payer.tenant, money, None if joules is None else joules.mid)
            if at % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)


def _for(per_second: float | None, seconds: float) -> float | None:
    return None if per_second is None else per_second * seconds
