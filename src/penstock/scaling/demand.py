"""What one model was asked and how it did, read off its schedulers and books between two looks."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np

from penstock.core.ports import Executor
from penstock.metering.book import Book
from penstock.metering.histogram import Counts
from penstock.scheduling.scheduler import Scheduler

SHORT = ("overloaded", "deadline")
"""Why requests fail where there are too few instances."""


class Demand:
    """Counters only rise while a version is loaded; what was counted before it was first seen is left out."""

    def __init__(self) -> None:
        self._arrived: WeakKeyDictionary[Executor, int] = WeakKeyDictionary()
        self._cold = self._owed = 0
        self._counts: dict[tuple[str, str], Counts] = {}
        """By book: its requests by duration, and those that failed for want of instances."""

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
        """Requests that missed the target since the last call, and all; none of a book seen first."""
        missed = asked = 0.0
        seen: dict[tuple[str, str], Counts] = {}
        for book in books:
            book.fold()
            short = sum(book.failures[reason] for reason in SHORT)
            now = seen[book.model, book.version] = np.append(book.request.counts, short)
            before = self._counts.get((book.model, book.version), now)
            fresh = np.maximum(0, now - before)  # a book may have been begun anew
            asked += float(fresh.sum())
            late = fresh[:-1][book.request.over(target_s) :].sum() if target_s else 0
            missed += float(late + fresh[-1])
        self._counts = seen
        return missed, asked
