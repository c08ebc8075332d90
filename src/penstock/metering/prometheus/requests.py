"""Requests by outcome, and each version's times, batches and queue."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from penstock.metering.book import Book
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus.family import VERSION, Samples, counter, gauge, histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Errors: TypeAlias = Counter[tuple[str, str, str]]
"""Requests not answered, by model, version and reason; refused or failed alike."""


def errors(ledger: Ledger, books: list[Book]) -> Errors:
    found: Errors = Counter()
    for model, version, reason, count in ledger.refusals():
        found[model, version, reason] += count
    for book in books:
        for reason, count in book.failures.items():
            found[book.model, book.version, reason] += count
    return found


def families(
    books: list[Book], errors: Errors, targets: Mapping[tuple[str, str], float]
) -> "Iterator[Metric]":
    """``targets``: seconds, of those versions that have one."""
    labels = (*VERSION, "outcome", "reason")
    yield counter("requests", "Requests by outcome and reason.", labels, _outcomes(books, errors))
    keyed = [((book.model, book.version), book) for book in books]
    for name, help_, attribute in (
        ("request_seconds", "Answered requests: seconds from arrival to answer.", "request"),
        ("queue_seconds", "Answered requests: seconds in the queue.", "queue"),
        ("compute_seconds", "Batches: seconds that the model ran.", "compute"),
        ("batch_rows", "Batches: rows in each.", "rows"),
    ):
        yield histogram(name, help_, VERSION, [(key, getattr(book, attribute)) for key, book in keyed])
    yield counter(
        "requests_over_target",
        "Answered requests that took longer than the target of the 99th percentile.",
        VERSION,
        [(key, book.request.above(targets[key])) for key, book in keyed if key in targets],
    )
    yield counter("rows", "Rows inferred.", VERSION, [(key, book.rows.sum) for key, book in keyed])
    yield counter("batches", "Batches run.", VERSION, [(key, book.rows.count) for key, book in keyed])
    yield gauge(
        "queue_rows",
        "Rows waiting in the queue now.",
        VERSION,
        [(key, book.waiting()) for key, book in keyed],
    )


def _outcomes(books: list[Book], errors: Errors) -> Samples:
    for book in books:
        yield (book.model, book.version, "ok", ""), book.request.count
    for (model, version, reason), count in sorted(errors.items()):
        yield (model, version, "error", reason), count
