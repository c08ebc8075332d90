"""The books' counts of the last minute, second by second, and what they tell of it: all books at once."""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct

from penstock.metering.book import Book
from penstock.metering.histogram import ROWS, SECONDS, Counts, Floats

RECENT = 10.0
"""Seconds of which quantiles tell."""
MINUTE = 60.0
SHARES = (0.5, 0.95, 0.99)

Array = TypeVar("Array", Counts, Floats)


class Shot(Struct, frozen=True, eq=False):
    """Counts since the start, a line for each book."""

    at: float
    books: tuple[Book, ...]
    requests: Counts
    """By bucket of ``SECONDS``."""
    rows: Counts
    """Batches by bucket of ``ROWS``."""
    sums: Floats
    """Rows, seconds that batches ran, requests not answered, answers to steps of pipelines."""


class Slim(Struct, frozen=True, eq=False):
    """What is kept of a shot for longer."""

    at: float
    books: tuple[Book, ...]
    rows: Counts


class Numbers(Struct, frozen=True, eq=False):
    """What became of each book's requests; NaN is what is not known."""

    seconds: float
    """Since the last shot."""
    requests: Counts
    """Answered since the start."""
    answered: Floats
    """A second, since the last shot, as are ``inner`` and ``failed``."""
    inner: Floats
    """Of these, answers to steps of pipelines."""
    failed: Floats
    busy: Floats
    """Seconds that instances ran, for each second."""
    quantiles_ms: Floats
    """Of the last ten seconds, a column for each of ``SHARES``."""
    batch: Floats
    """Mean rows of the last ten seconds."""
    sizes: Counts
    """Batches of the last minute by bucket of ``ROWS``."""


def shot(at: float, books: Sequence[Book]) -> Shot:
    """Of books that are up to date."""
    requests = np.array([book.request.counts for book in books], np.int64)
    rows = np.array([book.rows.counts for book in books], np.int64)
    sums = np.array([_sums(book) for book in books], np.float64)
    return Shot(
        at,
        tuple(books),
        requests.reshape(len(books), len(SECONDS.edges) + 1),
        rows.reshape(len(books), len(ROWS.edges) + 1),
        sums.reshape(len(books), 4),
    )


def _sums(book: Book) -> tuple[float, float, int, int]:
    failed = sum(book.failures.values()) + sum(book.refused.values())
    return book.rows.sum, book.compute.sum, failed, book.inner


class Reel:
    """Shots of the last ten seconds, and the slimmer ones of the last minute."""

    def __init__(self, first: Shot) -> None:
        self._shots = deque([first])
        self._slim = deque([_slim(first)])

    def add(self, new: Shot) -> Numbers:
        """What the new shot tells beside those before it; over 100 books some 0.3 ms."""
        last = self._shots[-1]
        self._shots.append(new)
        self._slim.append(_slim(new))
        _drop(self._shots, new.at - RECENT)
        _drop(self._slim, new.at - MINUTE)
        return _numbers(new, last, self._shots[0], self._slim[0])


def _slim(shot: Shot) -> Slim:
    return Slim(shot.at, shot.books, shot.rows)


def _drop(shots: "deque[Shot] | deque[Slim]", before: float) -> None:
    """All but one that are as old, for what came since then is counted from it."""
    while len(shots) > 2 and shots[1].at <= before:
        shots.popleft()


def _numbers(new: Shot, last: Shot, recent: Shot, minute: Slim) -> Numbers:
    seconds = max(new.at - last.at, 1e-9)
    requests = new.requests.sum(axis=1)
    answered = requests - _like(last, new, last.requests.sum(axis=1))
    sums = new.sums - _like(last, new, last.sums)
    rows = new.sums[:, 0] - _like(recent, new, recent.sums[:, 0])
    batches = (new.rows - _like(recent, new, recent.rows)).sum(axis=1)
    lately = new.requests - _like(recent, new, recent.requests)
    return Numbers(
        seconds=seconds,
        requests=requests,
        answered=answered / seconds,
        inner=sums[:, 3] / seconds,
        failed=sums[:, 2] / seconds,
        busy=sums[:, 1] / seconds,
        quantiles_ms=quantiles(SECONDS.edges, lately, SHARES) * 1e3,
        batch=np.divide(rows, batches, out=np.full(len(rows), np.nan), where=batches > 0),
        sizes=new.rows - _like(minute, new, minute.rows),
    )


def _like(old: Shot | Slim, new: Shot, values: Array) -> Array:
    """An old shot's values in the order of the new one's books; 0 for those that were not there."""
    if old.books == new.books:
        return values
    where = {book: at for at, book in enumerate(old.books)}
    found = [where.get(book, -1) for book in new.books]
    padded = np.concatenate([values, np.zeros_like(values, shape=(1, *values.shape[1:]))])
    return padded[found]


def quantiles(edges: Floats, counts: Counts, shares: Sequence[float]) -> Floats:
    """As ``histogram.quantile``, for every line of counts and each share; NaN where nothing was counted."""
    running = np.cumsum(counts, axis=1)
    total = running[:, -1]
    lines = np.arange(len(counts))
    lows, highs = np.append(0.0, edges), np.append(edges, edges[-1])
    found = np.full((len(counts), len(shares)), np.nan)
    for column, share in enumerate(shares):
        rank = share * total
        at = np.minimum((running < np.maximum(rank, 1.0)[:, None]).sum(axis=1), len(edges))
        here = counts[lines, at]
        before = running[lines, at] - here
        part = np.maximum(0.0, rank - before) / np.maximum(here, 1)
        found[:, column] = np.where(total > 0, lows[at] + (highs[at] - lows[at]) * part, np.nan)
    return found
