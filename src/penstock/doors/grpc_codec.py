"""Inference messages of the gRPC protocol to core requests, and core replies to messages.

Format: Open Inference Protocol (ModelInfer): raw contents are one entry for each input in order, and
then no input may have typed contents; answers are always raw.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.core.errors import InvalidRequest, Unsupported
from penstock.core.spec import Scalar
from penstock.core.tensors import datatype_of, dtype_of, elements, from_bytes, to_bytes
from penstock.core.types import Reply, Request, Tensors
from penstock.doors.v2_http import Quote, no_quote, parameters
from penstock.proto.grpc_service_pb2 import ModelInferResponse

_FIELDS: dict[str, tuple[str, type[Any]]] = {
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int32),
    "INT16": ("int_contents", np.int32),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint32),
    "UINT16": ("uint_contents", np.uint32),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    "BYTES": ("bytes_contents", np.object_),
}
"""Field of InferTensorContents, and the width its numbers have there, by datatype."""

_AS_PACKED = frozenset({"BOOL", "FP32", "FP64"})

_NOT_OFFERED = {
    "classification": "take the scores and rank them",
    "shared_memory_region": "send the data in the message",
}


def to_request(message: Any, now: float, remaining: float | None, tags: Mapping[str, str]) -> Request:
    """A core request from a ModelInferRequest.

    ``now`` is on the monotonic clock; ``remaining`` is what the call's own deadline leaves, in seconds.
    Raises InvalidRequest or Unsupported.
    """
    parameters = _parameters(message.parameters)
    return Request(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=_inputs(message),
        outputs=_outputs(message),
        deadline=_deadline(parameters, now, remaining),
        priority=_whole(parameters, "priority"),
        parameters=parameters,
        tags=tags,
    )


def to_message(request: Request, reply: Reply, quote: Quote = no_quote) -> Any:
    """A ModelInferResponse with raw contents, and what the request asked to be told of it."""
    message = ModelInferResponse(model_name=reply.model, model_version=reply.version, id=request.id)
    for name, array in reply.outputs.items():
        message.outputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        message.raw_output_contents.append(bytes(to_bytes(array)))
    timing, cost = request.parameters.get("timing") is True, request.parameters.get("cost") is True
    if timing or cost:
        said = parameters(reply.timing, quote, timing=timing, cost=cost)
        for key, value in said.items():
            setattr(message.parameters[key], _CHOICE[type(value)], value)
    return message


_CHOICE = {int: "int64_param", float: "double_param", str: "string_param", bool: "bool_param"}


def _parameters(fields: Any) -> dict[str, Scalar]:
    return {name: _scalar(name, fields[name]) for name in fields}


def _scalar(name: str, parameter: Any) -> Scalar:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidRequest(f"parameter {name!r} has no value; set one of its *_param fields")
    value: Scalar = getattr(parameter, kind)
    return value


def _whole(parameters: Mapping[str, Scalar], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"parameter {name!r} must be a whole number from 0, got {value!r}")
    return value


def _deadline(parameters: Mapping[str, Scalar], now: float, remaining: float | None) -> float:
    """The tighter of the ``timeout`` parameter (µs; 0 is none) and the call's own deadline."""
    timeout = _whole(parameters, "timeout")
    return now + min(timeout / 1e6 if timeout else inf, inf if remaining is None else remaining)


def _outputs(message: Any) -> tuple[str, ...]:
    for output in message.outputs:
        _refuse(output)
    return tuple(output.name for output in message.outputs)


def _refuse(tensor: Any) -> None:
    """Say so where a tensor asks for an extension that would change its answer."""
    for name in tensor.parameters:
        if name in _NOT_OFFERED:
            raise Unsupported(f"tensor {tensor.name!r}: {name} is not offered here; {_NOT_OFFERED[name]}")


def _inputs(message: Any) -> Tensors:
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise InvalidRequest(
            f"raw_input_contents has {len(raws)} entries for {len(message.inputs)} inputs; "
            "it needs one for each, or none at all"
        )
    tensors: dict[str, NDArray[Any]] = {}
    for at, tensor in enumerate(message.inputs):
        if tensor.name in tensors:
            raise InvalidRequest(f"input {tensor.name!r} is there twice; send each input once")
        _refuse(tensor)
        tensors[tensor.name] = _raw(tensor, raws[at]) if raws else _typed(tensor)
    return tensors


def _raw(tensor: Any, raw: bytes) -> NDArray[Any]:
    if tensor.HasField("contents"):
        raise InvalidRequest(
            f"tensor {tensor.name!r} has contents beside raw_input_contents; use one of them for all inputs"
        )
    return from_bytes(tensor.name, tensor.datatype, tensor.shape, raw)


def _typed(tensor: Any) -> NDArray[Any]:
    name, datatype = tensor.name, tensor.datatype
    dtype = dtype_of(datatype)
    if datatype not in _FIELDS:
        raise InvalidRequest(f"tensor {name!r}: {datatype} has no typed form; use raw_input_contents")
    field, wide = _FIELDS[datatype]
    for other, _ in tensor.contents.ListFields():
        if other.name != field:
            raise InvalidRequest(f"tensor {name!r}: {datatype} belongs in {field}, but {other.name} is set")
    values, want = getattr(tensor.contents, field), elements(name, tensor.shape)
    if len(values) != want:
        raise InvalidRequest(
            f"tensor {name!r}: shape {list(tensor.shape)} needs {want} values, {field} has {len(values)}"
        )
    if datatype in _AS_PACKED:
        return from_bytes(name, datatype, tensor.shape, _packed(tensor.contents, want * dtype.itemsize))
    array = np.fromiter(values, wide, want)
    return _narrowed(name, datatype, array, dtype).reshape(tensor.shape)


def _packed(contents: Any, size: int) -> memoryview:
    """The values as they end the serialized message: a hundred times faster than one by one.

    Protobuf's encoding: a packed field of fixed-width numbers (or of booleans) is just those, little-endian.
    """
    contents.DiscardUnknownFields()
    raw = contents.SerializeToString()
    return memoryview(raw)[len(raw) - size :]


def _narrowed(name: str, datatype: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if array.dtype == dtype:
        return array
    bounds = np.iinfo(dtype)
    if array.size and (array.min() < bounds.min or array.max() > bounds.max):
        raise InvalidRequest(
            f"tensor {name!r}: {datatype} holds {bounds.min} to {bounds.max}, "
            f"contents have {array.min()} to {array.max()}"
        )
    return array.astype(dtype)
