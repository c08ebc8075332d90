"""The server, and every version's state, target and memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.core.types import ModelState
from penstock.metering import logs
from penstock.metering.prometheus.family import VERSION, counter, gauge, histogram
from penstock.metering.swaps import Swaps

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def families(states: Sequence[ModelState]) -> "Iterator[Metric]":
    from prometheus_client.core import InfoMetricFamily

    from penstock import __version__

    yield InfoMetricFamily("penstock", "The server.", {"version": __version__})
    yield counter(
        "log_lines_dropped",
        "Log lines lost because the log's reader was too slow.",
        (),
        [((), logs.dropped())],
    )
    yield gauge(
        "model_ready",
        "1 while this version can answer, else 0.",
        VERSION,
        [(_key(state), float(state.serving)) for state in states],
    )
    yield gauge(
        "model_state",
        "Always 1; the label says in which state this version is.",
        (*VERSION, "state"),
        [((*_key(state), word(state)), 1.0) for state in states],
    )
    yield gauge(
        "model_instances",
        "Batches that this version can run at once.",
        VERSION,
        [(_key(state), state.instances) for state in states if state.instances],
    )
    yield gauge(
        "target_p99_seconds",
        "99th percentile of request seconds that is to be held; none, where there is no target.",
        VERSION,
        targets(states).items(),
    )
    yield counter(
        "instance_restarts",
        "Processes of a model that ended and were started again.",
        VERSION,
        [(_key(state), state.restarts) for state in states],
    )


def memory(swaps: Swaps, states: Sequence[ModelState]) -> "Iterator[Metric]":
    yield gauge("memory_limit_bytes", "What models may take; 0: no limit.", (), [((), swaps.limit)])
    yield gauge(
        "model_resident_bytes",
        "Memory that it takes.",
        VERSION,
        [(_key(state), 0 if state.state == "COLD" else state.memory_bytes) for state in states],
    )
    yield counter("model_loads", "Loads by outcome.", ("model", "outcome"), sorted(swaps.loads.items()))
    yield counter("model_load_seconds", "Time spent loading.", ("model",), _by_model(swaps.load_seconds))
    yield counter(
        "model_evictions", "Times that it was unloaded to make room.", ("model",), _by_model(swaps.evictions)
    )
    yield histogram(
        "cold_wait_seconds",
        "Requests that waited for it to be loaded.",
        ("model",),
        [((model,), waits) for model, waits in sorted(swaps.waits.items())],
    )


def targets(states: Sequence[ModelState]) -> dict[tuple[str, str], float]:
    """Seconds, of those versions that have one."""
    return {_key(state): state.spec.target.p99_ms / 1e3 for state in states if state.spec.target.p99_ms}


def word(state: ModelState) -> str:
    """The state in lower case; what is ``UNAVAILABLE`` is ``unloaded``, ``quarantined`` or has ``failed``."""
    if state.state != "UNAVAILABLE":
        return state.state.lower()
    if state.reason == "unloaded":
        return "unloaded"
    return "quarantined" if state.reason.startswith("quarantined") else "failed"


def _key(state: ModelState) -> tuple[str, str]:
    return state.name, state.version


def _by_model(counts: Mapping[str, int]) -> list[tuple[tuple[str], float]]:
    return [((model,), count) for model, count in sorted(counts.items())]
