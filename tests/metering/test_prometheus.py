"""Prometheus output: names, numbers, merging, quantiles and formats."""

import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from penstock.core.errors import REASONS
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState
from penstock.metering.histogram import SECONDS
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus import render
from penstock.metering.totals import Totals

STATES = (
    ModelState(name="digits", version="1", state="READY", spec=ModelSpec()),
    ModelState(name="digits", version="2", state="LOADING", spec=ModelSpec()),
)
D1 = {"model": "digits", "version": "1"}


def scrape(ledger, states=STATES, accept=""):
    body, _ = render(ledger, states, accept)
    found = defaultdict(dict)
    for family in parse_text(body.decode()):
        for sample in family.samples:
            key = frozenset(sample.labels.items())
            assert key not in found[sample.name]
            found[sample.name][key] = sample.value
    return found


def value(found, name, **labels):
    return found[name][frozenset(labels.items())]


def buckets(found, name):
    """(le, cumulative) of the only series of a histogram."""
    pairs = ((float(dict(key)["le"]), count) for key, count in found[f"{name}_bucket"].items())
    return sorted(pairs)


@pytest.fixture
def ledger():
    ledger = Ledger()
    book = ledger.book("digits", "1")
    book.served(3, 0.25, [0.5, 0.125], [0.75, 0.375])
    book.served(1, 0.004, [0.0], [0.005])
    book.failed("overloaded", 0.1)
    book.failed("cancelled", 0.1)
    book.failed("engine", 0.1)
    book.waiting = lambda: 17
    ledger.refused("digits", "1", "invalid")
    ledger.refused("digits", "1", "overloaded")
    ledger.refused("nobody", "1", "not_found")
    return ledger


def test_requests_count_by_outcome_and_reason(ledger):
    assert scrape(ledger)["penstock_requests_total"] == {
        frozenset({"model": m, "version": v, "outcome": o, "reason": r}.items()): n
        for m, v, o, r, n in [
            ("digits", "1", "ok", "", 3),
            ("digits", "1", "error", "overloaded", 2),
            ("digits", "1", "error", "cancelled", 1),
            ("digits", "1", "error", "engine", 1),
            ("digits", "1", "error", "invalid", 1),
            ("", "", "error", "not_found", 1),
        ]
    }


def test_histograms_have_true_sums_and_counts(ledger):
    found = scrape(ledger)
    expected = {"request": (1.13, 3), "queue": (0.625, 3), "compute": (0.254, 2)}
    for name, (total, count) in expected.items():
        assert value(found, f"penstock_{name}_seconds_sum", **D1) == pytest.approx(total)
        assert value(found, f"penstock_{name}_seconds_count", **D1) == count
        assert value(found, f"penstock_{name}_seconds_bucket", **D1, le="+Inf") == count
    assert value(found, "penstock_request_seconds_bucket", **D1, le="0.005") == 1
    assert value(found, "penstock_request_seconds_bucket", **D1, le="0.5") == 2
    assert value(found, "penstock_batch_rows_bucket", **D1, le="1.0") == 1
    assert value(found, "penstock_batch_rows_sum", **D1) == 4


def test_rows_batches_queue_and_readiness(ledger):
    found = scrape(ledger)
    assert value(found, "penstock_rows_total", **D1) == 4
    assert value(found, "penstock_batches_total", **D1) == 2
    assert value(found, "penstock_queue_rows", **D1) == 17
    assert value(found, "penstock_model_ready", **D1) == 1
    assert value(found, "penstock_model_ready", model="digits", version="2") == 0
    assert list(found["penstock_info"].values()) == [1]
    assert list(found["penstock_log_lines_dropped_total"].values()) == [0]


def test_process_metrics_are_there(ledger):
    found = scrape(ledger)
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert value(found, "process_cpu_seconds_total") > 0
    assert value(found, "process_open_fds") > 0


def test_tritons_names_carry_tritons_numbers(ledger):
    found = scrape(ledger)
    expected = {
        "request_success": 3,
        "count": 4,
        "exec_count": 2,
        "pending_request_count": 17,
        "request_duration_us": 1_130_000,
        "queue_duration_us": 625_000,
        "compute_infer_duration_us": 504_000,
    }
    assert expected == {name: value(found, f"nv_inference_{name}", **D1) for name in expected}
    reasons = {"REJECTED": 2, "CANCELED": 1, "BACKEND": 1, "OTHER": 1}
    assert reasons == {
        reason: value(found, "nv_inference_request_failure", **D1, reason=reason) for reason in reasons
    }
    assert len(found["nv_inference_request_failure"]) == 4


def test_no_quantile_is_precomputed(ledger):
    body, _ = render(ledger, STATES)
    assert b"quantile=" not in body


def test_unloaded_versions_are_still_exported(ledger):
    ledger.forget("digits", "1")
    found = scrape(ledger, ())
    assert value(found, "penstock_rows_total", **D1) == 4
    assert value(found, "penstock_queue_rows", **D1) == 0
    assert found["penstock_model_ready"] == {}


def test_odd_names_are_escaped():
    ledger = Ledger()
    ledger.book('a"b\\c\nd', "1").served(1, 0.1, [0.1], [0.2])
    assert value(scrape(ledger), "penstock_rows_total", model='a"b\\c\nd', version="1") == 1


def test_a_scraper_that_wants_openmetrics_gets_it(ledger):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    body, content_type = render(ledger, STATES, accept)
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    assert families["penstock_requests"].type == "counter"
    assert families["penstock_request_seconds"].type == "histogram"


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain; version=x", "application/openmetrics-text; version=x"]
)
def test_any_other_accept_header_gets_text(ledger, accept):
    body, content_type = render(ledger, STATES, accept)
    assert content_type.startswith("text/plain")
    assert body.startswith(b"# HELP")


durations = st.lists(st.floats(min_value=1e-5, max_value=60), min_size=1, max_size=50)


def of(values):
    ledger = Ledger()
    ledger.book("digits", "1").served(len(values), 0.001, values, values)
    return scrape(ledger)


@settings(deadline=None)
@given(durations, durations)
def test_two_servers_histograms_merge_by_addition(left, right):
    one, two, both = (
        buckets(of(values), "penstock_request_seconds") for values in (left, right, left + right)
    )
    assert both == [(le, a + b) for (le, a), (_, b) in zip(one, two, strict=True)]


def promql_quantile(share, pairs):
    """Prometheus' own histogram_quantile: linear inside the bucket that holds the rank."""
    rank = share * pairs[-1][1]
    low, before = 0.0, 0.0
    for le, count in pairs:
        if count >= rank and count > before:
            return low if math.isinf(le) else low + (le - low) * (rank - before) / (count - before)
        low, before = le, count
    raise AssertionError("unreachable")


@settings(deadline=None)
@given(durations, st.sampled_from([0.5, 0.9, 0.99]))
def test_histogram_quantile_is_within_one_bucket_of_the_true_one(values, share):
    got = promql_quantile(share, buckets(of(values), "penstock_request_seconds"))
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    bounds = [0.0, *SECONDS.bounds]
    bucket = next(i for i, bound in enumerate(bounds) if true <= bound)
    assert bounds[max(0, bucket - 2)] <= got <= bounds[min(bucket + 1, len(bounds) - 1)]


def test_the_guide_names_every_metric(ledger):
    guide = (Path(__file__).parents[2] / "docs/guide/metrics.md").read_text()
    body, _ = render(ledger, STATES, "", SimpleNamespace(totals=Totals(), unsaved=0.0))
    names = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}
    assert sorted(n for n in names if f"`{n}`" not in guide and not n.startswith("process_")) == []


def test_the_guide_names_every_reason():
    guide = (Path(__file__).parents[2] / "docs/guide/metrics.md").read_text()
    assert sorted(reason for reason in REASONS.values() if f"`{reason}`" not in guide) == []
