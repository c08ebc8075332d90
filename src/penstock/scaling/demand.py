"""What one model was asked and how it did, read off its schedulers and books between two looks."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from penstock.core.ports import Executor
from penstock.metering.book import Book
from penstock.scheduling.scheduler import Scheduler

SHORT = ("overloaded", "deadline")
"""Why requests fail where there are too few instances."""


class Demand:
    """Counters only rise while a version is loaded; what was counted before it was first seen is left out."""

    def __init__(self) -> None:
        self._arrived: WeakKeyDictionary[Executor, int] = WeakKeyDictionary()
        self._cold = self._owed = 0
        self._outcome: tuple[float, float] | None = None

    def rows(self, schedulers: Iterable[Scheduler], cold: int) -> int:
        """Rows that came since the last call; ``cold``: those so far that found the model not loaded.

        They come to a scheduler later, and are counted when they came.
        """
        fresh, self._cold = cold - self._cold, cold
        self._owed += fresh
        total = fresh
        for scheduler in schedulers:
            total += scheduler.arrived - self._arrived.get(scheduler, 0)
            self._arrived[scheduler] = scheduler.arrived
            total -= self._owed
            self._owed = 0  # those that gave up are not waited for
        return max(0, total)

    def outcome(self, books: Iterable[Book], target_s: float) -> tuple[float, float]:
        """Requests that missed the target since the last call, and all; (0, 0) the first time."""
        missed = asked = 0.0
        for book in books:
            book.fold()
            short = sum(book.failures[reason] for reason in SHORT)
            asked += book.request.count + short
            missed += short + (book.request.above(target_s) if target_s else 0)
        before, self._outcome = self._outcome, (missed, asked)
        if before is None or asked < before[1] or missed < before[0]:  # a book was let go of
            return 0.0, 0.0
        return missed - before[0], asked - before[1]
