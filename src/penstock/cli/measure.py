"""The mathematics of a benchmark: arrivals, percentiles and histograms; pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Samples(Struct, frozen=True, kw_only=True):
    """What a load generator saw in its measured window; all times in seconds."""

    seconds: float
    """Length of the window."""
    latencies: Floats
    """Of good answers, each from the moment at which it should have been sent."""
    unanswered: Floats
    """Ages, at the end, of requests that had no answer by then."""
    completed: int
    """Good answers that came within the window."""
    late: Floats
    """How late the generator itself came to each arrival (open loop)."""
    errors: Mapping[str, int] = {}
    """By status or by what happened."""
    messages: Mapping[str, bytes] = {}
    """One body for each kind of error."""


class ServerSide(Struct, frozen=True):
    """The server's own means over one level."""

    queue_ms: float
    compute_ms: float
    batch_rows: float


class Bucket(Struct, frozen=True):
    """Requests that took from ``low`` up to ``high`` milliseconds."""

    low_ms: float
    high_ms: float
    count: int


class Row(Struct, frozen=True, kw_only=True):
    """One level of load and what came of it."""

    mode: Literal["concurrency", "rate"]
    level: float
    """Connections, each with one request at a time; or requests a second."""
    seconds: float
    requests: int
    """Answered well, answered badly, and not answered."""
    requests_per_s: float
    """Good answers."""
    rows_per_s: float
    errors: Mapping[str, int]
    unanswered: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p99_9_ms: float | None
    max_ms: float | None
    late_p99_ms: float | None
    """How late the generator itself was; these milliseconds are in the latencies too."""
    server: ServerSide | None
    histogram: tuple[Bucket, ...]


def arrivals(rate: float, seconds: float, seed: int) -> Floats:
    """Poisson arrivals at ``rate`` a second over ``seconds``, from 0, in order."""
    rng = np.random.default_rng(seed)
    count = int(rate * seconds + 6 * np.sqrt(rate * seconds) + 10)
    times: Floats = np.cumsum(rng.exponential(1 / rate, count))
    return times[times < seconds]


def percentile(values: Floats, percent: float) -> float | None:
    """The smallest value that at least ``percent`` of all do not exceed; None without values."""
    if not len(values):
        return None
    return float(np.percentile(values, percent, method="inverted_cdf"))


def summarize(
    mode: Literal["concurrency", "rate"],
    level: float,
    samples: Samples,
    rows: int,
    server: ServerSide | None = None,
) -> Row:
    """One row. An unanswered request counts in the percentiles with the age that it had reached.

    Left out, the worst waits would be those that do not show.
    """
    ms = np.concatenate([samples.latencies, samples.unanswered]) * 1e3
    rate = samples.completed / samples.seconds
    return Row(
        mode=mode,
        level=level,
        seconds=samples.seconds,
        requests=len(ms) + sum(samples.errors.values()),
        requests_per_s=rate,
        rows_per_s=rate * rows,
        errors=samples.errors,
        unanswered=len(samples.unanswered),
        mean_ms=float(ms.mean()) if len(ms) else None,
        p50_ms=percentile(ms, 50),
        p90_ms=percentile(ms, 90),
        p99_ms=percentile(ms, 99),
        p99_9_ms=percentile(ms, 99.9),
        max_ms=percentile(ms, 100),
        late_p99_ms=percentile(samples.late * 1e3, 99),
        server=server,
        histogram=histogram(ms),
    )


STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def histogram(ms: Floats) -> tuple[Bucket, ...]:
    """Counts in six buckets a decade, from the fastest to the slowest without gaps."""
    if not len(ms):
        return ()
    edges = np.array([float(f"{step}e{power}") for power in range(-4, 7) for step in STEPS])
    counts, _ = np.histogram(np.clip(ms, edges[0], edges[-1] * 0.999), edges)
    used = np.flatnonzero(counts)
    span = range(int(used[0]), int(used[-1]) + 1)
    return tuple(Bucket(float(edges[i]), float(edges[i + 1]), int(counts[i])) for i in span)


EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int) -> str:
    """A bar of ``share`` (0 to 1) of ``width`` cells; whatever is not nothing shows."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def draw(buckets: Sequence[Bucket], width: int = 40) -> list[str]:
    """A histogram as lines of text."""
    if not buckets:
        return []
    total, most = sum(b.count for b in buckets), max(b.count for b in buckets)
    digits = len(str(most))
    return [
        f"{b.low_ms:>7g} – {b.high_ms:<6g} ms {b.count:>{digits}} {b.count / total:>6.1%} "
        f"{bar(b.count / most, width)}".rstrip()
        for b in buckets
    ]


def server_side(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> ServerSide | None:
    """Means between two readings of a model's statistics; None if nothing ran in between."""
    executions = _sum(after, "execution_count") - _sum(before, "execution_count")
    rows = _sum(after, "inference_count") - _sum(before, "inference_count")
    queue = _mean_ms(before, after, "queue")
    compute = _mean_ms(before, after, "compute_infer")
    if executions <= 0 or queue is None or compute is None:
        return None
    return ServerSide(queue, compute, rows / executions)


def _sum(stats: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(int(one.get(key, 0)) for one in stats)


def _mean_ms(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], key: str
) -> float | None:
    old = [one.get("inference_stats", {}).get(key, {}) for one in before]
    new = [one.get("inference_stats", {}).get(key, {}) for one in after]
    count = _sum(new, "count") - _sum(old, "count")
    return (_sum(new, "ns") - _sum(old, "ns")) / count / 1e6 if count > 0 else None
