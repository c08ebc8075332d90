"""Traces: continuing the caller's, what spans say, errors, and off at no cost."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from penstock.core import errors
from penstock.core.types import Reply, Request, StepTiming, Timing
from penstock.metering import trace

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
PARENT_ID = 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE_ID:032x}-{PARENT_ID:016x}-01"


async def answer(request):
    return Reply(request.model, "3", {}, Timing(queued=0.25, ran=0.5, batch=8))


def spans_of(handler, *requests):
    """Spans by name after the requests, each of which may fail."""
    exporter = InMemorySpanExporter()
    traced = trace.wrap(handler, "", exporter)

    async def run():
        return await asyncio.gather(*(traced(request) for request in requests), return_exceptions=True)

    results = asyncio.run(run())
    assert trace.shutdown(traced, 5)
    return {span.name: span for span in exporter.get_finished_spans()}, results


def test_no_endpoint_gives_the_handler_itself():
    assert trace.wrap(answer, "") is answer
    assert trace.shutdown(answer)


def test_a_request_is_one_server_span_with_queue_and_compute_below():
    spans, (reply,) = spans_of(answer, Request(model="digits", inputs={}, id="r-1"))
    assert reply.version == "3"
    assert set(spans) == {"infer digits", "queue", "compute"}
    root, queue, compute = (spans[name] for name in ("infer digits", "queue", "compute"))
    assert root.kind == SpanKind.SERVER
    assert dict(root.attributes) == {
        "penstock.model": "digits",
        "penstock.version": "3",
        "penstock.request.id": "r-1",
        "penstock.batch.rows": 8,
    }
    assert root.status.status_code == StatusCode.UNSET
    assert queue.parent.span_id == compute.parent.span_id == root.context.span_id
    assert queue.start_time == root.start_time
    assert queue.end_time - queue.start_time == 250_000_000
    assert compute.start_time == queue.end_time
    assert compute.end_time - compute.start_time == 500_000_000


async def answer_in_steps(request):
    inner = StepTiming("inner", "resnet", "4", 1, 0.25, 0.5, Timing(0.125, 0.25, 4))
    steps = (
        StepTiming("first", "small", "2", 3, 0.0, 0.25, Timing(0.0625, 0.125, 8)),
        StepTiming("second", "both", "1", 1, 0.25, 1.0, Timing(0.0, 0.25, 1, steps=(inner,))),
    )
    return Reply(request.model, "3", {}, Timing(0.5, 0.375, 3, steps=steps))


def test_a_pipelines_steps_are_spans_with_queue_and_compute_below():
    exporter = InMemorySpanExporter()
    traced = trace.wrap(answer_in_steps, "", exporter)
    asyncio.run(traced(Request(model="digits", inputs={})))
    assert trace.shutdown(traced, 5)
    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span.name for span in spans}
    (root,) = [span for span in spans if span.parent is None]

    def since(ns):
        return (ns - root.start_time) / 1e9

    found = sorted(
        (span.name, by_id[span.parent.span_id], *(since(t) for t in (span.start_time, span.end_time)))
        for span in spans
        if span is not root
    )
    assert found == [
        ("compute", "step first", 0.0625, 0.1875),
        ("compute", "step inner", 0.625, 0.875),
        ("queue", "step first", 0.0, 0.0625),
        ("queue", "step inner", 0.5, 0.625),
        ("step first", "infer digits", 0.0, 0.25),
        ("step inner", "step second", 0.5, 1.0),
        ("step second", "infer digits", 0.25, 1.25),
    ]
    (first,) = [span for span in spans if span.name == "step first"]
    assert dict(first.attributes) == {
        "penstock.step": "first",
        "penstock.model": "small",
        "penstock.version": "2",
        "penstock.rows": 3,
        "penstock.batch.rows": 8,
    }
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}


def test_an_incoming_traceparent_is_continued():
    tags = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    spans, _ = spans_of(answer, Request(model="digits", inputs={}, tags=tags))
    root = spans["infer digits"]
    assert root.context.trace_id == TRACE_ID
    assert root.parent.span_id == PARENT_ID
    assert root.context.trace_state.get("vendor") == "1"


def test_a_broken_traceparent_starts_a_new_trace():
    spans, _ = spans_of(answer, Request(model="digits", inputs={}, tags={"traceparent": "zz"}))
    assert spans["infer digits"].parent is None


def test_a_caller_that_does_not_sample_gets_no_spans():
    tags = {"traceparent": TRACEPARENT[:-2] + "00"}
    spans, (reply,) = spans_of(answer, Request(model="digits", inputs={}, tags=tags))
    assert spans == {}
    assert reply.version == "3"


@pytest.mark.parametrize(
    ("error", "word", "status"),
    [
        (errors.EngineFailed("boom"), "engine", StatusCode.ERROR),
        (errors.Overloaded("full"), "overloaded", StatusCode.ERROR),
        (errors.InvalidRequest("bad"), "invalid", StatusCode.UNSET),
        (RuntimeError("bug"), "other", StatusCode.ERROR),
        (asyncio.CancelledError(), "cancelled", StatusCode.UNSET),
    ],
)
def test_an_error_is_recorded_and_raised_on(error, word, status):
    async def fail(request):
        raise error

    spans, (raised,) = spans_of(fail, Request(model="digits", inputs={}))
    assert type(raised) is type(error)
    (root,) = spans.values()
    assert root.attributes["error.type"] == word
    assert root.status.status_code == status
    assert len(root.events) == (status == StatusCode.ERROR)


def test_a_handler_that_raises_at_once_is_recorded_too():
    def fail(request):
        raise errors.UnknownModel("no model 'x'")

    spans, (raised,) = spans_of(fail, Request(model="x", inputs={}))
    assert isinstance(raised, errors.UnknownModel)
    assert spans["infer x"].attributes["error.type"] == "not_found"


def test_shutdown_keeps_its_deadline_when_the_collector_hangs():
    release = threading.Event()

    class Hung(SpanExporter):
        def export(self, spans):
            release.wait(20)
            return SpanExportResult.SUCCESS

    traced = trace.wrap(answer, "", Hung())
    asyncio.run(traced(Request(model="digits", inputs={})))
    start = time.monotonic()
    assert not trace.shutdown(traced, 0.2)
    assert time.monotonic() - start < 2
    release.set()


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint):
    with pytest.raises(errors.BadSetting, match="it must be a URL such as"):
        trace.wrap(answer, endpoint)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example/custom", "https://otel.example/custom"),
    ],
)
def test_the_collectors_usual_path_is_added(endpoint, expected):
    assert trace._collector(endpoint)._endpoint == expected


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(errors.BadSetting, match=r"pip install 'penstock\[otel\]'"):
        trace.wrap(answer, "http://127.0.0.1:4318")


def test_importing_metering_imports_no_exporter():
    program = (
        "import sys; from penstock.metering import ledger, logs, prometheus, trace; "
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
