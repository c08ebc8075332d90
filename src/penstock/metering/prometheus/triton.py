"""What Triton's dashboards ask for, under Triton's names and in its units."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.metering.book import Book
from penstock.metering.prometheus.requests import Errors

if TYPE_CHECKING:
    from prometheus_client.core import Metric

REASONS = {
    "overloaded": "REJECTED",
    "budget": "REJECTED",
    "unavailable": "REJECTED",
    "quarantined": "REJECTED",
    "deadline": "REJECTED",
    "cancelled": "CANCELED",
    "engine": "BACKEND",
    "crash": "BACKEND",
    "failed": "BACKEND",
    "policy": "BACKEND",
}
"""Our reasons as Triton names them; the others are ``OTHER``."""


def families(books: list[Book], errors: Errors) -> "Iterator[Metric]":
    """Triton's counters lack the suffix ``_total``, hence untyped here; its durations are whole µs."""
    table = (
        ("request_success", "Requests answered.", lambda book: book.request.count),
        ("count", "Rows inferred.", lambda book: int(book.rows.sum)),
        ("exec_count", "Batches run.", lambda book: book.rows.count),
        ("pending_request_count", "Rows waiting in the queue now.", lambda book: book.waiting()),
        ("request_duration_us", "Answered requests: all their time.", lambda book: _us(book.request.sum)),
        ("queue_duration_us", "Answered requests: time in the queue.", lambda book: _us(book.queue.sum)),
        (
            "compute_infer_duration_us",
            "Answered requests: run time of their batches.",
            lambda book: _us(book.compute_shared),
        ),
    )
    for name, help_, value in table:
        family = _bare(name, help_)
        for book in books:
            family.add_sample(family.name, {"model": book.model, "version": book.version}, value(book))
        yield family
    yield _failures(errors)


def _failures(errors: Errors) -> "Metric":
    family = _bare("request_failure", "Requests not answered.")
    failures: Errors = Counter()
    for (model, version, reason), count in errors.items():
        if version:
            failures[model, version, REASONS.get(reason, "OTHER")] += count
    for (model, version, reason), count in sorted(failures.items()):
        family.add_sample(family.name, {"model": model, "version": version, "reason": reason}, count)
    return family


def _bare(name: str, help_: str) -> "Metric":
    from prometheus_client.core import Metric

    return Metric(f"nv_inference_{name}", help_, "unknown")


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
