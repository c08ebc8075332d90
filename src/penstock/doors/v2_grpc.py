"""The Open Inference Protocol over gRPC, and grpc.health.v1: the server, and one guard round every call."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from math import ceil
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from msgspec import Struct

from penstock.core.errors import (
    BadSetting,
    BudgetSpent,
    Failed,
    InvalidRequest,
    Overloaded,
    PenstockError,
    ShuttingDown,
)
from penstock.core.ports import Handler, Models, NullTill, Till
from penstock.doors.auth import Keys
from penstock.doors.errors import grpc_code
from penstock.doors.grpc_desk import Desk
from penstock.doors.grpc_rpcs import RPCS, Call, Plane, ready
from penstock.proto.grpc_service_pb2 import DESCRIPTOR

log = logging.getLogger("penstock.grpc")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"]
_SLACK = 1 << 20
_MOST_DETAILS = 1000
"""Characters of an error sent: details travel in a header block, which clients limit to 8 KiB."""
_QUIET = 0.1
_LAME_DUCK = 0.5
_WATCH_SECONDS = 0.25
_MOST_WATCHERS = 64


class Options(Struct, frozen=True, kw_only=True):
    """How the door is built."""

    max_bytes: int = 64 << 20
    """Tensor bytes of one request; the message around them may add a mebibyte."""
    max_calls: int | None = None
    """Calls in flight; one more is refused with RESOURCE_EXHAUSTED. None: no limit."""
    certificate: bytes | None = None
    """PEM chain; with ``key`` it makes the door speak TLS."""
    key: bytes | None = None
    tenant_header: str = ""
    """Metadata that names the tenant where the caller's key does not."""


class Drain:
    """The calls in flight; once ``stopping`` is set it admits no more."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._inside = 0
        self._refused = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __enter__(self) -> None:
        if self.stopping.is_set():
            self._refused += 1
            raise ShuttingDown("this server is shutting down; ask another one, or try again later")
        self._inside += 1
        self._empty.clear()

    def __exit__(self, *_: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def wait(self, seconds: float) -> None:
        """Until nothing is in flight, or the time is over."""
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            pass

    async def quiet(self, seconds: float) -> None:
        """Until nobody has been refused for a moment, or the time is over."""
        end, seen = time.monotonic() + seconds, -1
        while seen != self._refused and time.monotonic() < end:
            seen = self._refused
            await asyncio.sleep(min(_QUIET, seconds))


class Door:
    """A running server; ``port`` is the first address's own."""

    def __init__(self, server: grpc.aio.Server, port: int, drain: Drain, desk: Desk) -> None:
        self.port = port
        self.hand_on = desk.hand_on
        self._server = server
        self._drain = drain

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let those in flight finish for ``grace`` seconds, then cancel them."""
        end = time.monotonic() + grace
        self._drain.stopping.set()
        # Stopping gRPC at once would end a call that crosses its GOAWAY with CANCELLED, which no client
        # tries again; so they are refused with UNAVAILABLE until the last one in flight is done and
        # callers have heard of it.
        await self._drain.wait(grace)
        await self._drain.quiet(min(_LAME_DUCK, max(0.0, end - time.monotonic())))
        await self._server.stop(max(0.0, end - time.monotonic()))


async def start(
    addresses: Sequence[str],
    handler: Handler,
    models: Models,
    keys: Keys,
    options: Options | None = None,
    till: Till | None = None,
) -> Door:
    """Listen on every ``host:port``; port 0 takes a free one. Raises BadSetting where that fails."""
    options = options or Options()
    drain, desk = Drain(), Desk(keys, options.tenant_header)
    server = grpc.aio.server(
        handlers=(
            _inference(Plane(handler, models, till or NullTill()), desk, drain),
            _health(models, drain.stopping),
        ),
        options=(
            ("grpc.max_receive_message_length", options.max_bytes + _SLACK),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # or a second server on the port would take half of the calls
        ),
        maximum_concurrent_rpcs=options.max_calls,
    )
    ports = [_listen(server, address, options) for address in addresses]
    await server.start()
    return Door(server, ports[0], drain, desk)


def _listen(server: grpc.aio.Server, address: str, options: Options) -> int:
    try:
        if options.certificate is None or options.key is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(options.key, options.certificate)])
        return server.add_secure_port(address, credentials)
    except RuntimeError:  # gRPC's C core says why on stderr, and not in the error
        raise BadSetting(
            f"gRPC cannot listen on {address}: the line above says why; "
            "choose another with --grpc-port (0 takes any free one, -1 is no gRPC)"
        ) from None


def _inference(plane: Plane, desk: Desk, drain: Drain) -> "grpc.GenericRpcHandler[Any, Any]":
    methods = {
        method.name: grpc.unary_unary_rpc_method_handler(_guarded(method, plane, desk, drain))
        for method in _SERVICE.methods
    }
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, methods)


def _guarded(
    method: Any, plane: Plane, desk: Desk, drain: Drain
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """Bytes in, bytes out; whatever goes wrong between leaves as a status with one sentence."""
    role, rpc = RPCS[method.name]
    parse = GetMessageClass(method.input_type).FromString

    async def answer(raw: bytes, context: Context) -> bytes:
        message: Any = None
        problem: PenstockError
        try:
            tags = desk.admit(context.invocation_metadata() or (), role)
            message = parse(raw)
            with drain if role else nullcontext():  # probes are answered to the end
                reply = await rpc(plane, Call(message, context.time_remaining(), tags, len(raw)))
            out: bytes = reply.SerializeToString()
            return out
        except PenstockError as error:
            problem = error
            if grpc_code(error) == "INTERNAL":
                _log_failure(method.name, message, error)
        except DecodeError:
            problem = InvalidRequest(f"the message is not an inference.{method.input_type.name}")
        except asyncio.CancelledError:
            if _caller_gone():
                raise
            problem = Failed("the request was dropped by the server")
        except Exception:
            log.exception("%s failed unexpectedly; request id %r", method.name, getattr(message, "id", ""))
            problem = Failed(f"{method.name} failed unexpectedly; the server's log says why")
        return await _refuse(context, problem)

    return answer


def _log_failure(rpc: str, message: Any, error: PenstockError) -> None:
    asked = " ".join(filter(None, (rpc, getattr(message, "model_name", ""))))
    fields = {"request_id": getattr(message, "id", ""), "code": "INTERNAL"}
    log.error("%s: %s", asked, error, extra=fields)


def _caller_gone() -> bool:
    """Whether a cancellation came from outside (client, deadline, stop) and not from the handler."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _refuse(context: Context, problem: PenstockError) -> NoReturn:
    """End the call with the error's status, and say when to come back where that is known (gRFC A6)."""
    trailing: tuple[tuple[str, str], ...] = ()
    if isinstance(problem, Overloaded | BudgetSpent):
        trailing = (("grpc-retry-pushback-ms", str(ceil(problem.retry_after * 1000))),)
    code = grpc.StatusCode[grpc_code(problem)]
    await context.abort(code, str(problem)[:_MOST_DETAILS], trailing)


def _health(models: Models, stopping: asyncio.Event) -> "grpc.GenericRpcHandler[Any, Any]":
    """grpc.health.v1: ``""`` is the whole server, any other service name is a model's."""
    status = health_pb2.HealthCheckResponse
    watchers: set[object] = set()

    def now(service: str) -> int:
        found = models.ready if not service else ready(models, service)
        if found is None:
            return int(status.SERVICE_UNKNOWN)
        return int(status.SERVING if found and not stopping.is_set() else status.NOT_SERVING)

    async def check(request: Any, context: Context) -> Any:
        found = now(request.service)
        if found == status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.service!r} is known here")
        return status(status=found)

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        if len(watchers) >= _MOST_WATCHERS:
            await _refuse(context, Overloaded(f"{_MOST_WATCHERS} watch already; use Check instead"))
        watchers.add(context)
        try:
            async for found in _changes(lambda: now(request.service), stopping):
                yield status(status=found)
        finally:
            watchers.discard(context)

    codec = (health_pb2.HealthCheckRequest.FromString, status.SerializeToString)
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(check, *codec),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, *codec),
    }
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)


async def _changes(read: Callable[[], int], stopping: asyncio.Event) -> AsyncIterator[int]:
    """The value now, and again whenever it has changed; ends after the last word when stopping."""
    last = None
    while True:
        ending = stopping.is_set()
        if (found := read()) != last:
            last = found
            yield found
        if ending:
            return
        try:
            await asyncio.wait_for(stopping.wait(), _WATCH_SECONDS)
        except TimeoutError:
            pass
