"""The RPCs of GRPCInferenceService as a table: who may call each, and what answers it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from penstock import __version__
from penstock.core.errors import InvalidRequest, ModelNotReady, NotFound
from penstock.core.ports import Handler, Models, NullTill, Till
from penstock.core.spec import TensorSpec
from penstock.core.terms import Role
from penstock.core.types import ModelState, Statistics, Tally
from penstock.doors.extensions import EXTENSIONS, NAME
from penstock.doors.grpc_codec import to_message, to_request
from penstock.proto import grpc_service_pb2 as pb
from penstock.repository.triton import to_config


class Call(NamedTuple):
    """One call as an RPC sees it: the message, what is left of its deadline (s), and its caller's tags."""

    message: Any
    remaining: float | None
    tags: Mapping[str, str]
    received: int = 0
    """Bytes of the message."""


class Plane(NamedTuple):
    """What the RPCs ask: who answers inference, who knows the models, and who charges."""

    handler: Handler
    models: Models
    till: Till = NullTill()


Rpc: TypeAlias = Callable[[Plane, Call], Awaitable[Any]]


async def _server_live(plane: Plane, call: Call) -> Any:
    return pb.ServerLiveResponse(live=True)


async def _server_ready(plane: Plane, call: Call) -> Any:
    return pb.ServerReadyResponse(ready=plane.models.ready)


async def _model_ready(plane: Plane, call: Call) -> Any:
    """As Triton: an unknown model is not ready, which is no error."""
    return pb.ModelReadyResponse(ready=bool(ready(plane.models, call.message.name, call.message.version)))


def ready(models: Models, model: str, version: str = "") -> bool | None:
    """Whether a model serves now; None when it is not known."""
    try:
        return models.state(model, version).serving
    except ModelNotReady:
        return False
    except NotFound:
        return None


async def _server_metadata(plane: Plane, call: Call) -> Any:
    return pb.ServerMetadataResponse(name=NAME, version=__version__, extensions=EXTENSIONS)


async def _model_metadata(plane: Plane, call: Call) -> Any:
    state = await _loaded(plane.models, call.message)
    message = pb.ModelMetadataResponse(name=state.name, platform=state.platform)
    message.versions.extend(_versions(plane.models, state.name))
    _add_tensors(message.inputs, state.signature.inputs)
    _add_tensors(message.outputs, state.signature.outputs)
    return message


async def _loaded(models: Models, message: Any) -> ModelState:
    """The state that a message names; raises ModelNotReady where there is no session to ask."""
    state = await models.describe(message.name, message.version)
    if state.state in ("LOADING", "UNAVAILABLE"):
        why = f": {state.reason}" if state.reason else ""
        raise ModelNotReady(f"model {state.name!r} version {state.version!r} is {state.state}{why}")
    return state


def _versions(models: Models, name: str) -> list[str]:
    return [state.version for state in models.states() if state.name == name and state.serving]


def _add_tensors(fields: Any, specs: Iterable[TensorSpec]) -> None:
    for spec in specs:
        fields.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)


async def _model_infer(plane: Plane, call: Call) -> Any:
    request = to_request(call.message, time.monotonic(), call.remaining, call.tags)
    reply = await plane.handler(request)
    message = to_message(request, reply, plane.till.quote)
    plane.till.carried(reply, call.tags, call.received, message.ByteSize())
    return message


async def _model_config(plane: Plane, call: Call) -> Any:
    return pb.ModelConfigResponse(config=to_config(await _loaded(plane.models, call.message)))


async def _model_statistics(plane: Plane, call: Call) -> Any:
    found = plane.models.statistics(call.message.name, call.message.version)
    return pb.ModelStatisticsResponse(model_stats=[_statistics(one) for one in found])


def _statistics(one: Statistics) -> Any:
    """Phases that are not measured apart (copies in and out, a cache) stay unset."""
    return pb.ModelStatistics(
        name=one.name,
        version=one.version,
        last_inference=one.last_inference_ms,
        inference_count=one.inference_count,
        execution_count=one.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(one.success),
            fail=_duration(one.fail),
            queue=_duration(one.queue),
            compute_infer=_duration(one.compute),
        ),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=batch.rows, compute_infer=_duration(batch.compute))
            for batch in one.batches
        ],
    )


def _duration(tally: Tally) -> Any:
    return pb.StatisticDuration(count=tally.count, ns=tally.ns)


async def _repository_index(plane: Plane, call: Call) -> Any:
    _check_repository(call.message)
    found = pb.RepositoryIndexResponse()
    for one in plane.models.states():
        if one.serving or not call.message.ready:
            word = "READY" if one.serving else one.state
            found.models.add(name=one.name, version=one.version, state=word, reason=one.reason)
    return found


async def _model_load(plane: Plane, call: Call) -> Any:
    _check_repository(call.message)
    given = call.message.parameters
    parameters = {name: _value(name, given[name]) for name in given}
    await plane.models.load(call.message.model_name, parameters or None)
    return pb.RepositoryModelLoadResponse()


async def _model_unload(plane: Plane, call: Call) -> Any:
    _check_repository(call.message)
    await plane.models.unload(call.message.model_name)
    return pb.RepositoryModelUnloadResponse()


def _check_repository(message: Any) -> None:
    if message.repository_name:
        raise InvalidRequest(
            f"no repository {message.repository_name!r}; there is one here, leave repository_name empty"
        )


def _value(name: str, parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidRequest(f"parameter {name!r} has no value; set one of its *_param fields")
    return getattr(parameter, kind)


RPCS: dict[str, tuple[Role | None, Rpc]] = {
    "ServerLive": (None, _server_live),
    "ServerReady": (None, _server_ready),
    "ModelReady": ("infer", _model_ready),
    "ServerMetadata": ("infer", _server_metadata),
    "ModelMetadata": ("infer", _model_metadata),
    "ModelInfer": ("infer", _model_infer),
    "ModelConfig": ("infer", _model_config),
    "ModelStatistics": ("infer", _model_statistics),
    "RepositoryIndex": ("admin", _repository_index),
    "RepositoryModelLoad": ("admin", _model_load),
    "RepositoryModelUnload": ("admin", _model_unload),
}
"""By RPC: the role its caller needs (None: probes carry no key), and the function that answers."""
