"""All of V2 over HTTP but inference, and our own status and metrics, as an ordinary ASGI app."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock import __version__
from penstock.core.errors import InvalidRequest, MethodNotAllowed, ModelNotReady, PenstockError, UnknownPath
from penstock.core.ports import Models
from penstock.core.spec import TensorSpec
from penstock.core.types import ModelState, Reply, Statistics, Tally, Tensors, Timing
from penstock.doors import v2_http
from penstock.doors.body import json_object
from penstock.doors.errors import http_status
from penstock.doors.extensions import EXTENSIONS, NAME

Metrics = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Body and content type of ``/metrics`` for an Accept header."""


def make_app(models: Models, metrics: Metrics, extra: Sequence[Route] = ()) -> Starlette:
    """The app; every error is a V2 error object.

    ``extra`` routes go before ours, so they may stand in for one of them.
    """
    routes = _Routes(models, metrics)
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    table: list[tuple[str, str, Any]] = [
        ("GET", "/", routes.root),
        ("GET", "/v2", routes.server),
        ("GET", "/v2/health/live", routes.live),
        ("GET", "/v2/health/ready", routes.ready),
        ("GET", "/v2/models", routes.names),
        ("GET", "/v2/models/stats", routes.statistics),
        ("POST", "/v2/repository/index", routes.index),
        ("POST", "/v2/repository/models/{model}/load", routes.load),
        ("POST", "/v2/repository/models/{model}/unload", routes.unload),
        ("GET", "/metrics", routes.metrics),
        ("GET", "/penstock/models", routes.status),
        ("GET", "/penstock/models/{model}/samples", routes.samples),
        ("POST", model + "/infer", routes.infer),
        ("POST", version + "/infer", routes.infer),
    ]
    for prefix in (model, version):
        table += [
            ("GET", prefix, routes.metadata),
            ("GET", prefix + "/ready", routes.model_ready),
            ("GET", prefix + "/config", routes.config),
            ("GET", prefix + "/stats", routes.statistics),
        ]
    own = [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]
    app = Starlette(
        routes=[*extra, *own],
        exception_handlers={PenstockError: _error, HTTPException: _no_route, Exception: _broke},
    )
    app.router.redirect_slashes = False  # it would send clients to the scheme and host that we see
    return app


class _Routes:
    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics

    async def root(self, request: Request) -> Response:
        return _json({"name": NAME, "version": __version__, "see": ["/v2", "/penstock/models", "/metrics"]})

    async def server(self, request: Request) -> Response:
        return _json({"name": NAME, "version": __version__, "extensions": EXTENSIONS})

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self._models.ready
        return _json({"ready": ready}, 200 if ready else 503)

    async def names(self, request: Request) -> Response:
        return _json({"models": sorted({state.name for state in self._models.states()})})

    async def metadata(self, request: Request) -> Response:
        state = await self._loaded(request)
        versions = [s.version for s in self._models.states() if s.name == state.name and s.serving]
        return _json(
            {
                "name": state.name,
                "versions": versions,
                "platform": state.platform,
                "inputs": [_tensor(spec) for spec in state.signature.inputs],
                "outputs": [_tensor(spec) for spec in state.signature.outputs],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        state = self._state(request)
        ready = state.serving
        return _json({"name": state.name, "ready": ready}, 200 if ready else 503)

    async def config(self, request: Request) -> Response:
        from penstock.repository import triton

        return _json(triton.to_json(triton.to_config(await self._loaded(request))))

    async def statistics(self, request: Request) -> Response:
        params = request.path_params
        found = self._models.statistics(params.get("model", ""), params.get("version", ""))
        return _json({"model_stats": [_statistics(one) for one in found]})

    async def index(self, request: Request) -> Response:
        only_ready = (await json_object(request)).get("ready", False)
        states = [s for s in self._models.states() if s.serving or not only_ready]
        return _json([_entry(state) for state in states])

    async def load(self, request: Request) -> Response:
        await self._models.load(request.path_params["model"], await _parameters(request))
        return Response(status_code=200, headers={"content-length": "0"})

    async def unload(self, request: Request) -> Response:
        await _parameters(request)
        await self._models.unload(request.path_params["model"])
        return Response(status_code=200, headers={"content-length": "0"})

    async def metrics(self, request: Request) -> Response:
        body, content_type = await self._metrics(request.headers.get("accept", ""))
        return Response(body, media_type=None, headers={"content-type": content_type})

    async def status(self, request: Request) -> Response:
        stats = {(one.name, one.version): one for one in self._models.statistics()}
        states = self._models.states()
        taken = sum(state.memory_bytes for state in states if state.state != "COLD")
        return _json(
            {
                "models": [_status(s, stats.get((s.name, s.version))) for s in states],
                "memory": {"limit_bytes": self._models.memory_limit, "resident_bytes": taken},
            }
        )

    async def samples(self, request: Request) -> Response:
        model, version = request.path_params["model"], request.query_params.get("version", "")
        groups = await self._models.samples(model, version)
        state = self._models.state(model, version)
        return await asyncio.to_thread(_samples, Reply(state.name, state.version, _flat(groups), _UNTIMED))

    async def infer(self, request: Request) -> Response:
        # The connection answers every inference itself; only an odd URL form comes here.
        raise UnknownPath(f"no path {request.url.path!r}; inference is POST /v2/models/MODEL/infer")

    async def _loaded(self, request: Request) -> ModelState:
        """Of a model whose signature is known; raises ModelNotReady for others."""
        params = request.path_params
        state = await self._models.describe(params["model"], params.get("version", ""))
        if not state.platform:
            raise ModelNotReady(f"model {state.name!r} is not loaded: {state.reason or state.state.lower()}")
        return state

    def _state(self, request: Request) -> ModelState:
        return self._models.state(request.path_params["model"], request.path_params.get("version", ""))


_UNTIMED = Timing(0.0, 0.0, 0)


def _flat(groups: Sequence[Tensors]) -> Tensors:
    """Group by group, with the group's number before each name."""
    return {f"{at}/{name}": array for at, group in enumerate(groups) for name, array in group.items()}


def _samples(reply: Reply) -> Response:
    """As an answer with binary outputs, which clients of the protocol can read."""
    parts, length = v2_http.encode(reply, v2_http.Form("", binary=True, by_output={}, timing=False))
    headers = {"inference-header-content-length": str(length)}
    return Response(b"".join(parts), headers=headers, media_type="application/octet-stream")


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _entry(state: ModelState) -> dict[str, str]:
    """Of the index, in the protocol's words; ``READY`` means that a request is answered."""
    word = "READY" if state.serving else state.state
    return {"name": state.name, "version": state.version, "state": word, "reason": state.reason}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


async def _parameters(request: Request) -> Mapping[str, Any]:
    parameters = (await json_object(request)).get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise InvalidRequest("'parameters' must be a JSON object")
    return parameters


def _tally(tally: Tally) -> dict[str, int]:
    return {"count": tally.count, "ns": tally.ns}


def _statistics(one: Statistics) -> dict[str, Any]:
    """Triton's statistics extension; what we do not tell apart (input, output) is 0."""
    none = _tally(Tally())
    return {
        "name": one.name,
        "version": one.version,
        "last_inference": one.last_inference_ms,
        "inference_count": one.inference_count,
        "execution_count": one.execution_count,
        "inference_stats": {
            "success": _tally(one.success),
            "fail": _tally(one.fail),
            "queue": _tally(one.queue),
            "compute_input": none,
            "compute_infer": _tally(one.compute),
            "compute_output": none,
            "cache_hit": none,
            "cache_miss": none,
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": batch.rows,
                "compute_input": none,
                "compute_infer": _tally(batch.compute),
                "compute_output": none,
            }
            for batch in one.batches
        ],
        "memory_usage": [],
    }


def _status(state: ModelState, stats: Statistics | None) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(state)
    spec = state.spec
    del values["spec"], values["signature"]
    return values | {
        "policy": spec.batching.policy,
        "target_p99_ms": spec.target.p99_ms or None,
        "requests": stats.success.count if stats else 0,
        "p50_ms": stats.p50_ms if stats else None,
        "p99_ms": stats.p99_ms if stats else None,
    }


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)  # noqa: S101 - by the table of handlers
    return _json({"error": str(error)}, http_status(error))


async def _broke(request: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, and the door logs it.
    return _json({"error": "the server failed on this request; its log says how"}, 500)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - by the table of handlers
    path = request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        answer: PenstockError = MethodNotAllowed(f"{request.method} is not for {path!r}; it takes {allowed}")
        return Response(
            orjson.dumps({"error": str(answer)}), 405, {"allow": allowed}, media_type="application/json"
        )
    return _json({"error": str(UnknownPath(f"no path {path!r}; the API begins at /v2"))}, 404)
