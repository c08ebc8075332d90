"""One version's book: the recorder that the scheduler writes to, and its numbers."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from penstock.core.account import Account
from penstock.core.ticket import Ticket
from penstock.metering.accounts import MOST_TENANTS, Accounts
from penstock.metering.events import Events, What
from penstock.metering.histogram import ROWS, SECONDS, Counts, Floats, Histogram, quantile

FULL = 512
"""Requests and batches that may wait to be folded, which then takes about 0.1 ms."""
SIZES = 256
"""Distinct batch sizes that get a tally of their own; rarer later ones count in the totals only."""
WINDOW = 60.0
"""Seconds: recent quantiles look back over one to two of these."""


def _none_waiting() -> int:
    return 0


class Book:
    """Counts and times of one version; a ``core.ports.Recorder``.

    ``request``, ``queue``: seconds per answered request; ``compute``, ``rows``: seconds and rows per batch.
    Call ``fold`` before reading any of them.
    """

    def __init__(
        self,
        model: str,
        version: str,
        clock: Callable[[], float],
        accounts: Accounts | None = None,
        events: Events | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.holders = 0
        """Loads not yet forgotten; the ledger's."""
        self.waiting: Callable[[], int] = _none_waiting
        """Rows in the queue now; the scheduler sets it."""
        self.request = Histogram(SECONDS)
        self.queue = Histogram(SECONDS)
        self.compute = Histogram(SECONDS)
        self.rows = Histogram(ROWS)
        self.compute_shared = 0.0
        """Run seconds summed over requests: each has the whole run of its batch, as Triton counts."""
        self.sizes: dict[int, tuple[int, float]] = {}
        """Batches and their run seconds by exact rows."""
        self.failures: Counter[str] = Counter()
        self.failed_seconds = 0.0
        self.refused: Counter[str] = Counter()
        self.inner = 0
        """Answers to steps of pipelines, which nobody outside has asked for by themselves."""
        self.last: float | None = None
        """When the last batch was answered, on the book's clock."""
        self._clock = clock
        self._accounts = accounts or Accounts()
        self._events = events or Events()
        self.tenants: dict[str, Account] = {}
        """Accounts that are open; ask ``account`` for the others."""
        self._batch_rows: list[int] = []
        self._batch_ran: list[float] = []
        self._batch_requests: list[int] = []
        self._queued: list[float] = []
        self._totals: list[float] = []
        self._turn = clock() + WINDOW
        self._older = self._newer = self.request.counts.copy()

    def account(self, tenant: str, /) -> Account:
        account = self.tenants.get(tenant)
        if account is None:
            account = self._accounts.of(self.model, self.version, tenant)
            if len(self.tenants) < MOST_TENANTS:
                self.tenants[tenant] = account
        return account

    def charge(self, entries: Sequence[Ticket], started: float, cpu: float, gpu: float, /) -> None:
        """About 0.2 µs for each request (benchmarks/metering.py)."""
        for entry in entries:
            request = entry.request
            account = request.account
            if account is None:
                tenant = request.tags.get("tenant", "")
                account = self.tenants.get(tenant) or self.account(tenant)
                if entry.reply is not None:
                    account.queries += 1
            elif entry.reply is not None:
                self.inner += 1
            rows = entry.rows
            account.rows += rows
            account.queued += started - entry.arrived
            account.cpu += cpu * rows
            if gpu:
                account.gpu += gpu * rows

    def served(self, rows: int, ran: float, queued: Sequence[float], totals: Sequence[float], /) -> None:
        """About 0.5 µs for a batch of 1 and 4 µs for one of 32, folding included (benchmarks/metering.py)."""
        now = self._clock()
        if now >= self._turn:
            self._turn_window(now)
        self.last = now
        self._batch_rows.append(rows)
        self._batch_ran.append(ran)
        self._batch_requests.append(len(totals))
        self._queued.extend(queued)
        self._totals.extend(totals)
        if len(self._totals) + len(self._batch_rows) >= FULL:
            self.fold()

    def stepped(self) -> None:
        self.inner += 1

    def failed(self, reason: str, seconds: float, /) -> None:
        self.failures[reason] += 1
        self.failed_seconds += seconds

    def happened(self, what: What, detail: str, /) -> None:
        self._events.note(self.model, self.version, what, detail)

    def fold(self) -> None:
        """Bring the histograms and tallies up to date."""
        if not self._batch_rows:
            return
        rows = np.array(self._batch_rows)
        ran = np.array(self._batch_ran)
        self.rows.add(rows)
        self.compute.add(ran)
        self.compute_shared += float(ran @ np.array(self._batch_requests))
        self._tally(rows, ran)
        if self._totals:
            self.queue.add(np.array(self._queued))
            self.request.add(np.array(self._totals))
        for pending in (self._batch_rows, self._batch_ran, self._batch_requests, self._queued, self._totals):
            pending.clear()

    def recent(self, share: float) -> float | None:
        """A quantile of request seconds over the last one to two windows; None when there were none."""
        now = self._clock()
        if now >= self._turn:
            self._turn_window(now)
        self.fold()
        return quantile(SECONDS, self.request.counts - self._older, share)

    def retire(self) -> None:
        """Let go of the scheduler that this version had, and of its accounts."""
        self.waiting = _none_waiting
        self.tenants.clear()
        self._accounts.close(self.model, self.version)

    def _turn_window(self, now: float) -> None:
        self.fold()
        current = self.request.counts.copy()
        idle = now >= self._turn + WINDOW
        self._older = current if idle else self._newer
        self._newer = current
        # Turns stay on their own beat, so that a late one does not stretch the next window.
        self._turn = now + WINDOW if idle else self._turn + WINDOW

    def _tally(self, rows: Counts, ran: Floats) -> None:
        found, where = np.unique(rows, return_inverse=True)
        counts = np.bincount(where)
        seconds = np.bincount(where, weights=ran)
        for size, count, spent in zip(found.tolist(), counts.tolist(), seconds.tolist(), strict=True):
            before = self.sizes.get(size)
            if before is not None:
                self.sizes[size] = before[0] + count, before[1] + spent
            elif len(self.sizes) < SIZES:
                self.sizes[size] = count, spent
