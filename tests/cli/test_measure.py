"""The mathematics of a benchmark."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.measure import (
    Bucket,
    Samples,
    ServerSide,
    arrivals,
    bar,
    draw,
    histogram,
    percentile,
    server_side,
    summarize,
)


def samples(
    latencies: list[float],
    unanswered: Sequence[float] = (),
    errors: dict[str, int] | None = None,
) -> Samples:
    return Samples(
        seconds=2.0,
        latencies=np.array(latencies),
        unanswered=np.array(unanswered),
        completed=len(latencies),
        late=np.array([]),
        errors=errors or {},
    )


def test_arrivals_are_poisson_in_order_and_as_the_seed_says() -> None:
    times = arrivals(1000, 10, seed=1)
    gaps = np.diff(times)
    assert 9_600 < len(times) < 10_400
    assert (gaps >= 0).all()
    assert times[-1] < 10
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert np.array_equal(times, arrivals(1000, 10, seed=1))
    assert not np.array_equal(times[:10], arrivals(1000, 10, seed=2)[:10])


def test_arrivals_reach_the_end_at_any_rate() -> None:
    assert all(arrivals(rate, 50, seed=0)[-1] > 50 - 12 / rate for rate in (1, 20, 500))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = np.arange(1, 101, dtype=float)
    assert [percentile(values, p) for p in (50, 99, 99.9, 100)] == [50, 99, 100, 100]
    assert percentile(np.array([]), 50) is None


def test_what_was_never_answered_counts_with_its_age() -> None:
    row = summarize("rate", 50, samples([0.001] * 98, unanswered=[0.5, 0.7], errors={"503": 3}), rows=4)
    assert (row.requests, row.unanswered, row.errors) == (103, 2, {"503": 3})
    assert (row.p50_ms, row.p99_ms, row.max_ms) == (1.0, 500.0, 700.0)
    assert (row.requests_per_s, row.rows_per_s) == (49, 196)


def test_a_level_without_any_answer_has_no_percentiles() -> None:
    row = summarize("rate", 50, samples([]), rows=1)
    assert (row.requests_per_s, row.p50_ms, row.mean_ms, row.max_ms, row.histogram) == (
        0,
        None,
        None,
        None,
        (),
    )


def test_buckets_go_without_gaps_from_fastest_to_slowest() -> None:
    assert histogram(np.array([1.0, 1.2, 4.0])) == (
        Bucket(1, 1.5, 2),
        Bucket(1.5, 2, 0),
        Bucket(2, 3, 0),
        Bucket(3, 5, 1),
    )


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_every_value_is_in_one_bucket(values: list[float]) -> None:
    assert sum(bucket.count for bucket in histogram(np.array(values))) == len(values)


def test_bars_show_whatever_is_not_nothing() -> None:
    assert [bar(share, 4) for share in (0, 0.001, 0.5, 0.53, 1)] == ["", "▏", "██", "██▏", "████"]
    assert draw([Bucket(1, 1.5, 3), Bucket(1.5, 2, 1)], width=3) == [
        "      1 – 1.5    ms 3  75.0% ███",
        "    1.5 – 2      ms 1  25.0% █",
    ]
    assert draw([]) == []


def stats(executions: int, rows: int, count: int, queue_ns: int, compute_ns: int) -> dict[str, object]:
    inference = {
        "queue": {"count": count, "ns": queue_ns},
        "compute_infer": {"count": count, "ns": compute_ns},
    }
    return {"execution_count": executions, "inference_count": rows, "inference_stats": inference}


def test_the_servers_means_are_those_between_two_readings() -> None:
    before, after = stats(10, 20, 20, 10**6, 10**6), stats(20, 100, 60, 41 * 10**6, 21 * 10**6)
    assert server_side([before], [after]) == ServerSide(queue_ms=1.0, compute_ms=0.5, batch_rows=8.0)
    assert server_side([before], [before]) is None
    assert server_side([], [{"execution_count": 3}]) is None
