"""What the page is told each second, worked out once for all who look; nothing while nobody does."""

import asyncio
from collections.abc import Callable, Sequence
from os import cpu_count
from time import monotonic, time

from penstock.core.machine import cores, processor
from penstock.core.ports import Models
from penstock.dashboard.dues import Dues, dues, tenants
from penstock.dashboard.processes import Processes, Taken
from penstock.dashboard.reel import Reel, Shot, shot
from penstock.dashboard.rows import Errors, lines, rows
from penstock.dashboard.scales import scales
from penstock.dashboard.words import ZERO, Machine, Tick
from penstock.metering.budget import Standing
from penstock.metering.charges import NOTHING, Span
from penstock.metering.ledger import Ledger
from penstock.metering.totals import Totals
from penstock.rollout.words import Status
from penstock.scaling.words import Standing as Scaled

Clock = Callable[[], float]
SHORT = 0.5
"""Seconds; entries in the books that are shorter say little of watts and of who was busy."""
AT_ONCE = 8
"""Books that are brought up to date before requests get their turn again: at most about 0.5 ms."""


class Feed:
    """Lives on the event loop: ``begin``, then a ``tick`` each second, then ``end``."""

    def __init__(
        self,
        ledger: Ledger,
        models: Models,
        totals: Totals,
        *,
        source: Callable[[], str] = str,
        standings: Callable[[], Sequence[Standing]] = tuple,
        rollouts: Callable[[], Sequence[Status]] = tuple,
        scaling: Callable[[], Sequence[Scaled]] = tuple,
        taken: Callable[[], Taken] | None = None,
        clock: Clock = monotonic,
        wall: Clock = time,
    ) -> None:
        """``source``: where the price comes from; ``standings``: of budgets; ``taken`` may block for ms.

        ``rollouts``: those that run, and those that ended lately, in the order in which they are shown.
        ``scaling``: models whose number of instances moves.
        """
        self._ledger = ledger
        self._models = models
        self._totals = totals
        self._source = source
        self._standings = standings
        self._rollouts = rollouts
        self._scaling = scaling
        self._taken = taken or Processes().read
        self._clock = clock
        self._wall = wall
        self._processor = processor()
        self._cores = len(cores()) or cpu_count() or 1
        self._dues = Dues()
        self._entry: Span | None = None
        self._lately = NOTHING
        self._reel: Reel | None = None
        self._before = Taken(0.0, 0)
        self._elsewhere = 0

    async def begin(self) -> None:
        """Count from now on."""
        self._before = await asyncio.to_thread(self._taken)
        self._elsewhere = self._nobodys()
        self._reel = Reel(await self._shot())

    def end(self) -> None:
        """Forget what was counted."""
        self._reel = None

    async def tick(self) -> Tick:
        """Everything as it is now, with rates since the last call; raises RuntimeError before ``begin``.

        For 100 models it takes some 5 ms of processor time, and holds requests up for 1 ms at once.
        """
        if self._reel is None:
            raise RuntimeError("a feed has to begin before it ticks")
        taken = await asyncio.to_thread(self._taken)
        new = await self._shot()
        numbers = self._reel.add(new)
        owed, scaling = self._owed(), scales(self._scaling())
        await asyncio.sleep(0)
        models = rows(self._models.states(), lines(new, numbers), self._errors(), owed)
        elsewhere, before = self._nobodys(), self._elsewhere
        self._elsewhere = elsewhere
        errors = float(numbers.failed.sum()) + (elsewhere - before) / numbers.seconds
        return Tick(
            at=round(self._wall(), 3),
            seconds=round(numbers.seconds, 3),
            ready=self._models.ready,
            machine=self._machine(taken, numbers.seconds, owed),
            rate=round(float((numbers.answered - numbers.inner).sum()), 2) or ZERO,
            errors=round(errors, 2) or ZERO,
            cost=owed.cost,
            energy=owed.energy,
            tenants=tenants(owed.queries, self._standings()),
            rollouts=tuple(self._rollouts()),
            scaling=scaling,
            models=models,
        )

    # -- what it is made of ------------------------------------------------------------------------

    async def _shot(self) -> Shot:
        for at, book in enumerate(self._ledger.kept(), 1):
            book.fold()
            if at % AT_ONCE == 0:
                await asyncio.sleep(0)
        return shot(self._clock(), self._ledger.books())

    def _nobodys(self) -> int:
        """Requests that were refused before any version was asked."""
        return sum(count for _, version, _, count in self._ledger.refusals() if not version)

    def _owed(self) -> Dues:
        """Anew only when there is another entry in the books."""
        last = self._totals.last
        if last is not None and self._entry is not last:
            self._entry = last
            if last.took.seconds >= SHORT:
                self._lately = last.took
            self._dues = dues(self._totals, self._lately, self._source())
        return self._dues

    def _machine(self, taken: Taken, seconds: float, owed: Dues) -> Machine:
        spent, self._before = taken.seconds - self._before.seconds, taken
        return Machine(
            processor=self._processor,
            cores=self._cores,
            cpu=round(min(1.0, max(0.0, spent / seconds / self._cores)), 4) or ZERO,
            memory_bytes=taken.bytes,
            memory_limit=self._models.memory_limit,
            busy=owed.busy or ZERO,
        )

    def _errors(self) -> Errors:
        """By version and reason; those of no version in particular under its model alone."""
        errors: Errors = {}
        for model, version, reason, count in self._ledger.refusals():
            errors.setdefault((model, version), {})[reason] = count
        for book in self._ledger.kept():
            if book.failures:
                mine = errors.setdefault((book.model, book.version), {})
                for reason, count in book.failures.items():
                    mine[reason] = mine.get(reason, 0) + count
        return errors
