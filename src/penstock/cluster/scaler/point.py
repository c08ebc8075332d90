"""One replica at one moment, as its metrics have it, for one model."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

Sample: TypeAlias = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""

REQUESTS = "penstock_requests_total"
LATE = "penstock_requests_over_target_total"
QUEUE = "penstock_queue_rows"
READY = "penstock_model_ready"
TARGET = "penstock_target_p99_seconds"
RUN_SUM, RUN_COUNT = "penstock_compute_seconds_sum", "penstock_compute_seconds_count"
ROWS = "penstock_rows_total"
CARRIES, STARTUP = "penstock_replica_carries", "penstock_startup_seconds"
STARTED = "process_start_time_seconds"
NAMES = (
    REQUESTS, LATE, QUEUE, READY, TARGET, RUN_SUM, RUN_COUNT, ROWS, CARRIES, STARTUP, STARTED,
)  # fmt: skip

CALLERS_OWN = frozenset({"invalid", "not_found", "unsupported", "unauthenticated", "forbidden", "budget"})
"""Reasons of errors that cost no capacity, and so are no traffic to scale by."""
TOO_LATE = frozenset({"overloaded", "deadline", "unavailable"})
"""Reasons of errors that more replicas would have helped against."""


class Point(Struct, frozen=True, kw_only=True):
    """Counters are by the rest of their labels, so that one that goes is no reset of the others."""

    at: float
    """Unix seconds."""
    started: float = 0.0
    """When its process did; 0: not said."""
    asked: Mapping[str, float] = {}
    missed: Mapping[str, float] = {}
    waiting: float = 0.0
    """Rows in the queue."""
    ready: bool = False
    known: bool = False
    """Whether the model is there at all."""
    target_s: float = 0.0
    run_s: float = 0.0
    """Mean of a batch; 0: none has run."""
    carries: float = 0.0
    """Rows/s of all its instances within the target; 0: not said."""
    startup_s: float = 0.0
    """Of an instance in it, load and warm-up; 0: not said."""
    rows: float = 0.0
    answered: float = 0.0
    """Requests that these rows were in."""


def point(at: float, model: str, samples: Iterable[Sample]) -> Point:
    """Of all versions of the model together."""
    asked: dict[str, float] = {}
    missed: dict[str, float] = {}
    totals: dict[str, float] = {}
    highest: dict[str, float] = {}
    for name, labels, value in samples:
        if name != STARTED and labels.get("model") != model:
            continue
        highest[name] = max(value, highest.get(name, value))
        totals[name] = totals.get(name, 0.0) + value
        if name == REQUESTS:
            key = "|".join(labels.get(label, "") for label in ("version", "outcome", "reason"))
            if labels.get("reason", "") not in CALLERS_OWN:
                asked[key] = asked.get(key, 0.0) + value
            if labels.get("reason", "") in TOO_LATE:
                missed[key] = missed.get(key, 0.0) + value
        elif name == LATE:
            missed[labels.get("version", "")] = value
    answered = sum(count for key, count in asked.items() if "|ok|" in key)
    runs = totals.get(RUN_COUNT, 0.0)
    return Point(
        at=at,
        started=highest.get(STARTED, 0.0),
        asked=asked,
        missed=missed,
        waiting=totals.get(QUEUE, 0.0),
        ready=highest.get(READY, 0.0) > 0,
        known=READY in highest,
        target_s=highest.get(TARGET, 0.0),
        run_s=totals.get(RUN_SUM, 0.0) / runs if runs else 0.0,
        carries=highest.get(CARRIES, 0.0),
        startup_s=highest.get(STARTUP, 0.0),
        rows=totals.get(ROWS, 0.0),
        answered=answered,
    )
