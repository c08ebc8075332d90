"""The ledger in Prometheus' words: text or OpenMetrics, histograms that merge, no quantiles.

The ``nv_inference_*`` names are Triton's (docs/user_guide/metrics.md there): its dashboards work unchanged.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from penstock.core.types import ModelState
from penstock.metering import logs
from penstock.metering.book import Book
from penstock.metering.histogram import Histogram
from penstock.metering.ledger import Ledger
from penstock.metering.swaps import Swaps

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import CollectorRegistry

VERSION = ("model", "version")
OUTCOME = (*VERSION, "outcome", "reason")

TRITON_REASONS = {
    "overloaded": "REJECTED",
    "unavailable": "REJECTED",
    "deadline": "REJECTED",
    "cancelled": "CANCELED",
    "engine": "BACKEND",
    "failed": "BACKEND",
    "policy": "BACKEND",
}
"""Our reasons as Triton names them; the others are ``OTHER``."""


def render(ledger: Ledger, states: Sequence[ModelState], accept: str = "") -> tuple[bytes, str]:
    """The body and its content type for one scrape; ``accept`` is the scraper's Accept header.

    Takes about 0.6 ms for each version that the ledger keeps, three quarters of it in ``encode``.
    """
    return encode(snapshot(ledger, states), accept)


def snapshot(ledger: Ledger, states: Sequence[ModelState]) -> "CollectorRegistry":
    """Everything as it is now; call it on the event loop, for it reads the ledger."""
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_Fixed([*families(ledger, states), *_process().collect()]))
    return registry


def encode(registry: "CollectorRegistry", accept: str = "") -> tuple[bytes, str]:
    """A snapshot in the format that fits the Accept header; any thread may do it."""
    from prometheus_client.exposition import choose_encoder

    try:
        encoder, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the header names a version that is no number
        encoder, content_type = choose_encoder("")
    return encoder(registry), content_type


def families(ledger: Ledger, states: Sequence[ModelState]) -> "list[Metric]":
    """Everything but the process' own metrics."""
    books = ledger.books()
    errors = _errors(ledger, books)
    return [
        *_server(states),
        *_memory(ledger.swaps, states),
        *_requests(books, errors),
        *_versions(books),
        *_triton(books, errors),
    ]


class _Fixed:
    """A collector of what was collected before."""

    def __init__(self, metrics: "list[Metric]") -> None:
        self._metrics = metrics

    def collect(self) -> "list[Metric]":
        return self._metrics


@cache
def _process() -> Any:
    """CPU, memory, descriptors and start time of this process, where /proc tells them."""
    from prometheus_client.process_collector import ProcessCollector

    return ProcessCollector(registry=None)


def _errors(ledger: Ledger, books: list[Book]) -> Counter[tuple[str, str, str]]:
    """Requests not answered, by model, version and reason; refused or failed alike."""
    errors: Counter[tuple[str, str, str]] = Counter()
    for model, version, reason, count in ledger.refusals():
        errors[model, version, reason] += count
    for book in books:
        for reason, count in book.failures.items():
            errors[book.model, book.version, reason] += count
    return errors


def _server(states: Sequence[ModelState]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    from penstock import __version__

    yield InfoMetricFamily("penstock", "The server.", {"version": __version__})
    yield CounterMetricFamily(
        "penstock_log_lines_dropped", "Log lines lost because the log's reader was too slow.", logs.dropped()
    )
    ready = GaugeMetricFamily(
        "penstock_model_ready", "1 while this version can answer, else 0.", labels=VERSION
    )
    for state in states:
        ready.add_metric((state.name, state.version), float(state.serving))
    yield ready


def _memory(swaps: Swaps, states: Sequence[ModelState]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    yield GaugeMetricFamily("penstock_memory_limit_bytes", "What models may take; 0: no limit.", swaps.limit)
    resident = GaugeMetricFamily("penstock_model_resident_bytes", "Memory that it takes.", labels=VERSION)
    for state in states:
        taken = 0 if state.state == "COLD" else state.memory_bytes
        resident.add_metric((state.name, state.version), taken)
    loads = CounterMetricFamily("penstock_model_loads", "Loads by outcome.", labels=("model", "outcome"))
    for (model, outcome), count in sorted(swaps.loads.items()):
        loads.add_metric((model, outcome), count)
    seconds = CounterMetricFamily("penstock_model_load_seconds", "Time spent loading.", labels=("model",))
    for model, spent in sorted(swaps.load_seconds.items()):
        seconds.add_metric((model,), spent)
    evictions = CounterMetricFamily(
        "penstock_model_evictions", "Times that it was unloaded to make room.", labels=("model",)
    )
    for model, count in sorted(swaps.evictions.items()):
        evictions.add_metric((model,), count)
    waits = HistogramMetricFamily(
        "penstock_cold_wait_seconds", "Requests that waited for it to be loaded.", labels=("model",)
    )
    for model, histogram in sorted(swaps.waits.items()):
        waits.add_metric((model,), _buckets(histogram), histogram.sum)
    yield from (resident, loads, seconds, evictions, waits)
    restarts = CounterMetricFamily(
        "penstock_instance_restarts",
        "Processes of a model that ended and were started again.",
        labels=VERSION,
    )
    for state in states:
        restarts.add_metric((state.name, state.version), state.restarts)
    yield restarts


def _requests(books: list[Book], errors: Counter[tuple[str, str, str]]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily

    requests = CounterMetricFamily("penstock_requests", "Requests by outcome and reason.", labels=OUTCOME)
    for book in books:
        requests.add_metric((book.model, book.version, "ok", ""), book.request.count)
    for (model, version, reason), count in sorted(errors.items()):
        requests.add_metric((model, version, "error", reason), count)
    yield requests


def _versions(books: list[Book]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield _histogram(
        "request_seconds", "Answered requests: seconds from arrival to answer.", books, "request"
    )
    yield _histogram("queue_seconds", "Answered requests: seconds in the queue.", books, "queue")
    yield _histogram("compute_seconds", "Batches: seconds that the model ran.", books, "compute")
    yield _histogram("batch_rows", "Batches: rows in each.", books, "rows")
    rows = CounterMetricFamily("penstock_rows", "Rows inferred.", labels=VERSION)
    batches = CounterMetricFamily("penstock_batches", "Batches run.", labels=VERSION)
    queue = GaugeMetricFamily("penstock_queue_rows", "Rows waiting in the queue now.", labels=VERSION)
    for book in books:
        rows.add_metric((book.model, book.version), book.rows.sum)
        batches.add_metric((book.model, book.version), book.rows.count)
        queue.add_metric((book.model, book.version), book.waiting())
    yield from (rows, batches, queue)


def _histogram(name: str, help_: str, books: list[Book], attribute: str) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"penstock_{name}", help_, labels=VERSION)
    for book in books:
        histogram: Histogram = getattr(book, attribute)
        family.add_metric((book.model, book.version), _buckets(histogram), histogram.sum)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*map(repr, histogram.grid.bounds), "+Inf"]
    return list(zip(names, map(float, histogram.cumulative()), strict=True))


def _triton(books: list[Book], errors: Counter[tuple[str, str, str]]) -> "Iterator[Metric]":
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
    yield _triton_failures(errors)


def _triton_failures(errors: Counter[tuple[str, str, str]]) -> "Metric":
    family = _bare("request_failure", "Requests not answered.")
    failures: Counter[tuple[str, str, str]] = Counter()
    for (model, version, reason), count in errors.items():
        if version:
            failures[model, version, TRITON_REASONS.get(reason, "OTHER")] += count
    for (model, version, reason), count in sorted(failures.items()):
        family.add_sample(family.name, {"model": model, "version": version, "reason": reason}, count)
    return family


def _bare(name: str, help_: str) -> "Metric":
    from prometheus_client.core import Metric

    return Metric(f"nv_inference_{name}", help_, "unknown")


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
