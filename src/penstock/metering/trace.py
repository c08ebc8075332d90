"""OpenTelemetry traces: one span a request, with its time in the queue and in the model below it.

Below that of a pipeline there is a span for each step, which has its own queue and model below it.
"""

import asyncio
import os
from threading import Thread
from time import time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from penstock.core import errors
from penstock.core.ports import Handler
from penstock.core.types import Reply, Request, StepTiming, Timing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_CALLERS_FAULT = (
    errors.InvalidRequest,
    errors.NotFound,
    errors.Unsupported,
    errors.Unauthenticated,
    errors.Forbidden,
)


def wrap(handler: Handler, endpoint: str, exporter: "SpanExporter | None" = None) -> Handler:
    """The handler with traces sent to an OTLP/HTTP collector, e.g. ``http://127.0.0.1:4318``.

    With an empty endpoint the handler itself.
    ``exporter`` replaces the collector.
    Raises BadSetting when the extra ``otel`` is not installed or the endpoint is no URL.
    """
    if not endpoint and exporter is None:
        return handler
    try:
        return Traced(handler, exporter or _collector(endpoint))
    except ImportError as error:
        raise errors.BadSetting(
            f"tracing to {endpoint!r} needs OpenTelemetry ({error}): pip install 'penstock[otel]'"
        ) from error


def shutdown(handler: Handler, seconds: float = 2.0) -> bool:
    """Send what waits and stop; blocks for at most ``seconds``. False when that was not enough."""
    return handler.shutdown(seconds) if isinstance(handler, Traced) else True


class Traced:
    """A handler that opens a span for each request, below the caller's ``traceparent`` if it sent one."""

    def __init__(self, handler: Handler, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        name = os.environ.get("OTEL_SERVICE_NAME", "penstock")
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("penstock")
        self._propagator = TraceContextTextMapPropagator()
        self._handler = handler

    async def __call__(self, request: Request, /) -> Reply:
        from opentelemetry.trace import SpanKind

        start = time_ns()
        span = self._tracer.start_span(
            f"infer {request.model}",
            self._propagator.extract(request.tags),
            SpanKind.SERVER,
            {"penstock.model": request.model, "penstock.request.id": request.id},
            start_time=start,
        )
        try:
            reply = await self._handler(request)
        except BaseException as error:
            _record(span, error)
            raise
        else:
            self._answered(span, reply, start)
            return reply
        finally:
            span.end()

    def _answered(self, span: "Span", reply: Reply, start: int) -> None:
        if not span.is_recording():
            return
        span.set_attribute("penstock.version", reply.version)
        self._timed(span, reply.timing, start)

    def _timed(self, span: "Span", timing: Timing, start: int) -> None:
        """What is below a request, or a step, that began at ``start`` (ns)."""
        span.set_attribute("penstock.batch.rows", timing.batch)
        for step in timing.steps:
            self._step(span, step, start)
        if not timing.steps:
            run = start + _ns(timing.queued)
            self._child(span, "queue", start, run)
            self._child(span, "compute", run, run + _ns(timing.ran))

    def _step(self, parent: "Span", step: StepTiming, start: int) -> None:
        from opentelemetry.trace import set_span_in_context

        begun = start + _ns(step.began)
        named: dict[str, str | int] = {
            "penstock.step": step.name,
            "penstock.model": step.model,
            "penstock.version": step.version,
            "penstock.rows": step.rows,
        }
        span = self._tracer.start_span(
            f"step {step.name}", set_span_in_context(parent), attributes=named, start_time=begun
        )
        self._timed(span, step.timing, begun)
        span.end(begun + _ns(step.took))

    def _child(self, parent: "Span", name: str, start: int, end: int) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer.start_span(name, set_span_in_context(parent), start_time=start).end(end)

    def shutdown(self, seconds: float) -> bool:
        # The processor's own deadline does not hold while an export hangs.
        thread = Thread(target=self._provider.shutdown, name="penstock-trace-flush", daemon=True)
        thread.start()
        thread.join(seconds)
        return not thread.is_alive()


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _record(span: "Span", error: BaseException) -> None:
    """The error's word as ``error.type``; the status is an error only where the caller is not to blame."""
    from opentelemetry.trace import StatusCode

    if isinstance(error, asyncio.CancelledError):
        span.set_attribute("error.type", "cancelled")
        return
    span.set_attribute("error.type", errors.reason(error))
    if not isinstance(error, _CALLERS_FAULT):
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))


def _collector(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise errors.BadSetting(
            f"no trace endpoint {endpoint!r}; it must be a URL such as http://127.0.0.1:4318"
        )
    bare = url.path in ("", "/")
    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces" if bare else endpoint)
