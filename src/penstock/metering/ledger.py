"""The ledger: what happened to every version's requests, cheap to write and exact to read.

Everything here runs on the event loop's thread: no locks.
Writing only appends to lists; the numbers are folded into histograms a few hundred requests at a time,
when the window turns, and before anything is read.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from time import monotonic, time

from penstock.core.types import BatchTally, Reply, Statistics, Tally
from penstock.metering.accounts import Accounts
from penstock.metering.book import Book
from penstock.metering.events import Events
from penstock.metering.swaps import Swaps

Clock = Callable[[], float]
Key = tuple[str, str]

RETIRED = 8
"""Versions of one model that stay visible after they were unloaded.

A scraper needs to see a series' last value once or twice; it keeps the past itself.
"""


class Ledger:
    """The books of all versions, and what was refused before it reached one."""

    def __init__(self, clock: Clock = monotonic, wall: Clock = time) -> None:
        """``clock`` gives monotonic seconds, ``wall`` seconds since the epoch."""
        self._clock = clock
        self._wall = wall
        self._live: dict[Key, Book] = {}
        self._retired: dict[Key, Book] = {}
        self._models: set[str] = set()
        self._refused: Counter[tuple[str, str]] = Counter()
        self.accounts = Accounts()
        """What each payer has used since the meter last asked."""
        self.swaps = Swaps()
        """Models that came and went to keep within the limit on memory."""
        self.events = Events(wall)
        """What befell versions."""

    def book(self, model: str, version: str) -> Book:
        """The book of a version that is being loaded; pair each call with one ``forget``.

        A version loaded again goes on in its old book while that is still kept.
        """
        key = model, version
        book = self._live.get(key) or self._retired.pop(key, None) or self._new(*key)
        book.holders += 1
        self._models.add(model)
        self._live[key] = book
        return book

    def _new(self, model: str, version: str) -> Book:
        return Book(model, version, self._clock, self.accounts, self.events)

    def carried(self, reply: Reply, tags: Mapping[str, str], received: int, sent: int) -> None:
        """A door wrote an answer: bytes of the request's body and of the answer's, over the wire."""
        key = reply.model, reply.version
        book = self._live.get(key)
        if book is not None:
            tenant = tags.get("tenant", "")
            account = book.tenants.get(tenant) or book.account(tenant)
        elif key in self._retired:  # unloaded while the answer was compressed, say
            account = self.accounts.of(*key, tags.get("tenant", ""))
            self.accounts.close(*key)
        else:
            return
        account.received += received
        account.sent += sent

    def forget(self, model: str, version: str) -> None:
        """A version was unloaded: its numbers stay visible until ``RETIRED`` later ones of its model went."""
        key = model, version
        book = self._live.get(key)
        if book is None:
            return
        book.holders -= 1
        if book.holders:
            return
        del self._live[key]
        book.retire()
        self._retired[key] = book
        gone = [key for key in self._retired if key[0] == model][:-RETIRED]
        for key in gone:
            del self._retired[key]

    def refused(self, model: str, version: str, reason: str) -> None:
        """One request was refused before it reached a version; ``reason`` as ``errors.reason``.

        What names a model or version never loaded counts under ``""``, so that callers cannot make labels.
        """
        book = self._live.get((model, version)) or self._retired.get((model, version))
        if book is not None:
            book.refused[reason] += 1
        else:
            self._refused[model if model in self._models else "", reason] += 1

    def refusals(self) -> Iterator[tuple[str, str, str, int]]:
        """Model, version, reason and count of everything that was refused."""
        for (model, reason), count in self._refused.items():
            yield model, "", reason, count
        for book in self.books():
            for reason, count in book.refused.items():
                yield book.model, book.version, reason, count

    def books(self) -> list[Book]:
        """Every book kept, up to date, by model and version; those of unloaded versions too."""
        found = self.kept()
        for book in found:
            book.fold()
        return found

    def kept(self) -> list[Book]:
        """The same as they are, for whoever folds them a few at a time: each takes up to 0.1 ms."""
        return [book for _, book in sorted((self._live | self._retired).items())]

    def statistics(self, model: str = "", version: str = "") -> tuple[Statistics, ...]:
        """Of the versions loaded now, by model and version; empty arguments mean all."""
        return tuple(
            self._statistics(book)
            for book in self.books()
            if book.holders and model in ("", book.model) and version in ("", book.version)
        )

    def _statistics(self, book: Book) -> Statistics:
        requests = book.request.count
        return Statistics(
            name=book.model,
            version=book.version,
            last_inference_ms=self._wall_ms(book.last),
            inference_count=int(book.rows.sum),
            execution_count=book.rows.count,
            success=_tally(requests, book.request.sum),
            fail=_tally(sum(book.failures.values()), book.failed_seconds),
            queue=_tally(requests, book.queue.sum),
            compute=_tally(requests, book.compute_shared),
            batches=tuple(
                BatchTally(rows, _tally(count, seconds))
                for rows, (count, seconds) in sorted(book.sizes.items())
            ),
            p50_ms=_ms(book.recent(0.50)),
            p99_ms=_ms(book.recent(0.99)),
        )

    def _wall_ms(self, at: float | None) -> int:
        """Monotonic to wall-clock time, looked up only here so that no request pays for it."""
        return 0 if at is None else round((self._wall() - self._clock() + at) * 1e3)


def _tally(count: int, seconds: float) -> Tally:
    return Tally(count, round(seconds * 1e9))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
