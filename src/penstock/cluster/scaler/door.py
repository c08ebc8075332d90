"""``externalscaler.ExternalScaler`` and grpc.health.v1 over gRPC: what KEDA asks, and how it is answered."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec import Struct

from penstock.cluster.scaler.desk import Desk
from penstock.cluster.scaler.watch import Watch
from penstock.core.errors import BadSetting, InvalidRequest, NotFound, Overloaded, PenstockError
from penstock.proto import externalscaler_pb2 as messages

log = logging.getLogger("penstock.scaler")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

METRIC = "penstock_desired_replicas"
_SERVICE = messages.DESCRIPTOR.services_by_name["ExternalScaler"]
_SPEC = messages.GetMetricSpecResponse(
    metricSpecs=[messages.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)]
)
"""A target of 1 on average: the autoscaler's ⌈sum / target⌉ is then the number of replicas itself."""
_CODES = (
    (BadSetting, grpc.StatusCode.INVALID_ARGUMENT),
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
)
_MOST_CALLS = 512
_MOST_BYTES = 1 << 20
_ALIVE_S = 60.0
"""A stream on which nothing changes shows so often that it is still wanted."""


class Listen(Struct, frozen=True, kw_only=True):
    """Where the door is, and what it shows and asks of those who come."""

    host: str = "127.0.0.1"
    port: int = 6000
    certificate: bytes | None = None
    key: bytes | None = None
    client_ca: bytes | None = None
    """PEM of those whose certificates let in; None: anybody."""


class Door:
    """A running server."""

    def __init__(self, server: grpc.aio.Server, port: int, desk: Desk, rpcs: "_Rpcs", state: Any) -> None:
        self.port = port
        self._server = server
        self._desk = desk
        self._rpcs = rpcs
        self._state = state

    async def stop(self, grace: float = 5.0) -> None:
        """Streams end, calls in flight are answered, watches are closed."""
        await self._state.enter_graceful_shutdown()
        self._rpcs.stopping.set()
        await self._server.stop(grace)
        await self._desk.close()


async def start(desk: Desk, listen: Listen) -> Door:
    """Raises BadSetting where it cannot listen."""
    rpcs = _Rpcs(desk)
    server = grpc.aio.server(
        options=(("grpc.max_receive_message_length", _MOST_BYTES), ("grpc.so_reuseport", 0)),
        maximum_concurrent_rpcs=_MOST_CALLS,
    )
    server.add_generic_rpc_handlers((_handler(rpcs),))
    state: Any = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    for service in ("", _SERVICE.full_name):
        await state.set(service, health_pb2.HealthCheckResponse.SERVING)
    port = _listen(server, listen)
    await server.start()
    return Door(server, port, desk, rpcs, state)


def _listen(server: grpc.aio.Server, listen: Listen) -> int:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    address = f"{host}:{listen.port}"
    try:
        if listen.certificate is None or listen.key is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials(
            [(listen.key, listen.certificate)], listen.client_ca, listen.client_ca is not None
        )
        return server.add_secure_port(address, credentials)
    except RuntimeError:  # gRPC's C core says why on stderr, and not in the error
        raise BadSetting(
            f"the scaler cannot listen on {address}: the line above says why; choose another --port"
        ) from None


def _handler(rpcs: "_Rpcs") -> "grpc.GenericRpcHandler[Any, Any]":
    methods: dict[str, Any] = {}
    for method in _SERVICE.methods:
        call = getattr(rpcs, re.sub(r"(?<!^)([A-Z])", r"_\1", method.name).lower())
        codec = (
            GetMessageClass(method.input_type).FromString,
            GetMessageClass(method.output_type).SerializeToString,
        )
        if method.server_streaming:
            methods[method.name] = grpc.unary_stream_rpc_method_handler(_guarded_stream(call), *codec)
        else:
            methods[method.name] = grpc.unary_unary_rpc_method_handler(_guarded(call), *codec)
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, methods)


def _guarded(call: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def answer(request: Any, context: Context) -> Any:
        try:
            return await call(request)
        except Exception as error:  # noqa: BLE001 - whatever it is leaves as a status
            await context.abort(*_status(error))

    return answer


def _guarded_stream(
    call: Callable[[Any], AsyncIterator[Any]],
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for each in call(request):
                yield each
        except Exception as error:  # noqa: BLE001
            await context.abort(*_status(error))

    return answer


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, PenstockError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.UNAVAILABLE)
        return code, str(error)[:1000]
    log.error("a call failed unexpectedly", exc_info=error)
    return grpc.StatusCode.INTERNAL, "the scaler failed unexpectedly; its log says why"


class _Rpcs:
    """A method for each RPC, named as it is."""

    def __init__(self, desk: Desk) -> None:
        self.stopping = asyncio.Event()
        self._desk = desk

    async def _watch(self, ref: Any) -> Watch:
        return await self._desk.watch(ref.namespace, ref.name, dict(ref.scalerMetadata))

    async def is_active(self, ref: Any) -> Any:
        return messages.IsActiveResponse(result=await (await self._watch(ref)).wanted() > 0)

    async def get_metric_spec(self, ref: Any) -> Any:
        """Needs no figures, so that the autoscaler is made while there are none yet."""
        await self._watch(ref)
        return _SPEC

    async def get_metrics(self, request: Any) -> Any:
        name = re.sub(r"^s\d+-", "", request.metricName)
        if name != METRIC:
            raise InvalidRequest(f"no metric {request.metricName!r}; GetMetricSpec names {METRIC}")
        wanted = await (await self._watch(request.scaledObjectRef)).wanted()
        value = messages.MetricValue(
            metricName=request.metricName, metricValue=wanted, metricValueFloat=wanted
        )
        return messages.GetMetricsResponse(metricValues=[value])

    async def stream_is_active(self, ref: Any) -> AsyncIterator[Any]:
        """What it is now, and again whenever it has changed."""
        last = None
        while not self.stopping.is_set():
            watch = await self._watch(ref)
            changed = watch.changed
            now = await watch.wanted() > 0
            if now != last:
                last = now
                yield messages.IsActiveResponse(result=now)
            await self._either(changed)

    async def stream_metric_spec(self, ref: Any) -> AsyncIterator[Any]:
        """The spec, which never changes; the stream stays open, or KEDA would ask again and again."""
        await self._watch(ref)
        yield _SPEC
        await self.stopping.wait()

    async def _either(self, changed: asyncio.Event) -> None:
        waiting = [asyncio.create_task(each.wait()) for each in (changed, self.stopping)]
        try:
            await asyncio.wait(waiting, timeout=_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
