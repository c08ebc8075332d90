"""V2 inference bodies: JSON and the binary tensor extension, to Request and from Reply.

Formats: Open Inference Protocol (REST) and Triton's binary tensor data extension, whose raw form
(header length 0) is one tensor and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, NoReturn, TypeAlias

import msgspec
import orjson
from msgspec import Struct

from penstock.core import tensors
from penstock.core.errors import InvalidRequest, Unsupported
from penstock.core.ports import NullTill
from penstock.core.spec import Scalar, Signature, TensorSpec
from penstock.core.tensors import Array
from penstock.core.types import NO_PARAMETERS, Reply, Request, Tensors, Timing

HEADER_LENGTH = b"inference-header-content-length"
Parts = list[bytes | memoryview]
Quote: TypeAlias = Callable[[Timing], Mapping[str, Scalar]]
no_quote: Quote = NullTill().quote


class _Input(Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Scalar] | None = None
    data: Any = msgspec.UNSET


class _Output(Struct):
    name: str
    parameters: dict[str, Scalar] | None = None


class _Body(Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Scalar] | None = None
    outputs: list[_Output] | None = None


class Form(Struct, frozen=True):
    """How the caller wants the answer written."""

    id: str = ""
    binary: bool = False
    """For outputs that ``by_output`` does not name."""
    by_output: Mapping[str, bool] = {}
    timing: bool = False
    cost: bool = False


_decode = msgspec.json.Decoder(_Body).decode
_PLAIN = Form()
_BINARY = Form(binary=True)
_ALL_BINARY = {"binary_data_output": True}
_FOREVER = 1 << 63
"""µs from which on a time-out is none."""


def decode(
    target: tuple[str, str], header_length: bytes | None, body: bytes, tags: Mapping[str, str]
) -> tuple[Request, Form]:
    """A request and the form of its answer.

    ``target`` is the model and the version (may be empty), ``header_length`` that header's value, if sent.

    Input arrays may share ``body``. Raises InvalidRequest.
    """
    if header_length is None:
        header, tail = body, None
    else:
        size = _header_size(header_length, len(body))
        header, tail = body[:size], memoryview(body)[size:]
    try:
        ask = _decode(header)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the inference request is malformed: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the inference request is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest(
            "the inference request is nested too deeply; a tensor needs no more than "
            f"{tensors.MAX_RANK} levels"
        ) from None
    inputs = _inputs(ask.inputs, tail)
    model, version = target
    if ask.outputs is None and (ask.parameters is None or ask.parameters == _ALL_BINARY):
        form = _PLAIN if ask.parameters is None else _BINARY
        if ask.id:
            form = Form(ask.id, form.binary)
        return Request(model=model, version=version, inputs=inputs, id=ask.id, tags=tags), form
    parameters = ask.parameters or NO_PARAMETERS
    request = Request(
        model=model,
        version=version,
        inputs=inputs,
        id=ask.id,
        outputs=_wanted(ask.outputs),
        deadline=deadline(parameters),
        priority=_whole(parameters, "priority"),
        parameters=parameters,
        tags=tags,
    )
    return request, _form(ask, parameters)


def decode_raw(
    target: tuple[str, str], body: bytes, tags: Mapping[str, str], signature: Signature
) -> tuple[Request, Form]:
    """The raw form: the body is the only input's data, one row; all outputs come back binary."""
    model, version = target
    if len(signature.inputs) != 1:
        raise InvalidRequest(
            f"a raw binary request needs a model with one input; model {model!r} has {len(signature.inputs)}"
        )
    spec = signature.inputs[0]
    shape = _raw_shape(spec, len(body))
    inputs = {spec.name: tensors.from_bytes(spec.name, spec.datatype, shape, _raw_data(spec, body))}
    return Request(model=model, version=version, inputs=inputs, tags=tags), _BINARY


def _raw_shape(spec: TensorSpec, size: int) -> list[int]:
    """The shape of one row; a single variable dimension takes what the body's length gives."""
    tail = list(spec.shape[1:]) if spec.shape[:1] == (-1,) else list(spec.shape)
    batch = [1] if len(tail) < len(spec.shape) else []
    if spec.datatype == "BYTES":
        if tail not in ([1], [], [-1]):
            raise InvalidRequest(f"a raw BYTES request needs shape [1]; input {spec.name!r} has {tail}")
        return batch + [1] * len(tail)
    free = tail.count(-1)
    if free > 1:
        raise InvalidRequest(
            f"a raw binary request needs at most one variable dimension; input {spec.name!r} has {free}"
        )
    if free:
        row = tensors.dtype_of(spec.datatype).itemsize
        for n in tail:
            row *= n if n != -1 else 1
        tail[tail.index(-1)] = size // row if row else 0
    return batch + tail


def _raw_data(spec: TensorSpec, body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body if spec.datatype == "BYTES" else body


def _header_size(value: bytes, body: int) -> int:
    if not value.isdigit() or len(value) > 18:
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {value.decode('latin-1')[:40]!r}; it must be a whole number"
        )
    size = int(value)
    if size > body:
        raise InvalidRequest(f"Inference-Header-Content-Length is {size}, but the body has only {body} bytes")
    return size


def _inputs(asked: list[_Input], tail: memoryview | None) -> Tensors:
    inputs: dict[str, Array] = {}
    at = 0
    for item in asked:
        if item.name in inputs:
            raise InvalidRequest(f"input {item.name!r} appears twice; each may appear once")
        parameters = item.parameters
        if parameters is None or "binary_data_size" not in parameters:
            if item.data is msgspec.UNSET:
                _no_data(item)
            inputs[item.name] = tensors.from_json(item.name, item.datatype, item.shape, item.data)
        else:
            size = _binary_size(item, parameters["binary_data_size"], tail, at)
            raw = tail[at : at + size]  # type: ignore[index]  # not None: it has room
            at += size
            inputs[item.name] = tensors.from_bytes(item.name, item.datatype, item.shape, raw)
    if tail is not None and at != len(tail):
        raise InvalidRequest(
            f"{len(tail) - at} bytes are left after the binary inputs; the binary_data_size parameters "
            f"add up to {at}, the body has {len(tail)} after its JSON"
        )
    return inputs


def _binary_size(item: _Input, size: Scalar, tail: memoryview | None, at: int) -> int:
    """The size, if the input's binary data is there as it says."""
    if tail is not None and type(size) is int and 0 <= size <= len(tail) - at and item.data is msgspec.UNSET:
        return size
    if tail is None:
        raise InvalidRequest(
            f"input {item.name!r} has binary_data_size; that needs the header Inference-Header-Content-Length"
        )
    if item.data is not msgspec.UNSET:
        raise InvalidRequest(f"input {item.name!r} has both data and binary_data_size; it must have one")
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"input {item.name!r}: binary_data_size is {size!r}; it must be a whole number")
    raise InvalidRequest(
        f"input {item.name!r} says {size} binary bytes, but only {len(tail) - at} are left in the body"
    )


def _no_data(item: _Input) -> NoReturn:
    if item.parameters and "shared_memory_region" in item.parameters:
        raise Unsupported(f"input {item.name!r} is in shared memory, which is not offered; send the data")
    raise InvalidRequest(f"input {item.name!r} has no data; send 'data', or binary data with its size")


def _wanted(outputs: list[_Output] | None) -> tuple[str, ...]:
    if not outputs:
        return ()
    names = tuple(output.name for output in outputs)
    if len(set(names)) != len(names):
        raise InvalidRequest("an output is asked for twice; each may appear once")
    for output in outputs:
        for key in output.parameters or ():
            if key in ("classification", "shared_memory_region"):
                raise Unsupported(f"output {output.name!r}: parameter {key!r} is not offered; leave it out")
    return names


def _form(ask: _Body, parameters: Mapping[str, Scalar]) -> Form:
    by_output = {
        output.name: _flag(output.parameters, "binary_data")
        for output in ask.outputs or ()
        if output.parameters and "binary_data" in output.parameters
    }
    return Form(
        ask.id,
        _flag(parameters, "binary_data_output"),
        by_output,
        _flag(parameters, "timing"),
        _flag(parameters, "cost"),
    )


def deadline(parameters: Mapping[str, Scalar]) -> float:
    """The V2 ``timeout`` parameter (whole µs from now; 0 or absent is none) on the monotonic clock."""
    timeout = _whole(parameters, "timeout")
    return monotonic() + timeout / 1e6 if 0 < timeout < _FOREVER else float("inf")


def _whole(parameters: Mapping[str, Scalar], key: str) -> int:
    value = parameters.get(key, 0)
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"parameter {key!r} is {value!r}; it must be a whole number, 0 or more")
    return value


def _flag(parameters: Mapping[str, Scalar], key: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameter {key!r} is {value!r}; it must be true or false")
    return value


def encode(reply: Reply, form: Form, quote: Quote = no_quote) -> tuple[Parts, int]:
    """The body in parts, and the length of its JSON if binary data follows it, else 0.

    ``quote`` is asked what the answer cost where the caller wants to know.
    Raises InvalidRequest where JSON cannot carry an output (NaN, FP16, bytes that are not text).
    """
    if form is _BINARY:
        return _encode_binary(reply)
    if form is _PLAIN and len(reply.outputs) == 1 and (body := _encode_plain(reply)) is not None:
        return [body], 0
    tail: Parts = []
    outputs: list[dict[str, Any]] = []
    plain = not form.binary and not form.by_output
    for name, array in reply.outputs.items():
        datatype = tensors.NUMBERS.get(array.dtype)
        if plain and datatype is not None:
            outputs.append({"name": name, "datatype": datatype, "shape": array.shape, "data": array.ravel()})
        else:
            outputs.append(_output(name, array, form.by_output.get(name, form.binary), tail))
    answer: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
    if form.id:
        answer["id"] = form.id
    if form.timing or form.cost:
        answer["parameters"] = parameters(reply.timing, quote, timing=form.timing, cost=form.cost)
    answer["outputs"] = outputs
    header = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in header:  # what orjson makes of NaN; searching is cheaper than testing every value
        tensors.check_finite(
            {k: v for k, v in reply.outputs.items() if not form.by_output.get(k, form.binary)}
        )
    return [header, *tail], len(header) if tail or form.binary else 0


_HEADERS: dict[Any, bytes] = {}
"""Headers of all-binary answers, which say nothing but what stands in their key."""
_BEFORE: dict[Any, bytes] = {}
"""What stands before the data of plain answers with one output, likewise."""
_NO_DATA, _AFTER = b"[]}]}", b"}]}"


def _encode_plain(reply: Reply) -> bytes | None:
    """The only output as JSON and nothing else asked for; None for what orjson cannot write by itself."""
    ((name, array),) = reply.outputs.items()
    key = (reply.model, reply.version, name, array.dtype, array.shape)
    before = _BEFORE.get(key)
    if before is None:
        datatype = tensors.NUMBERS.get(array.dtype)
        if datatype is None:
            return None
        if len(_BEFORE) >= 1024:
            _BEFORE.clear()
        output = {"name": name, "datatype": datatype, "shape": array.shape, "data": []}
        empty = {"model_name": reply.model, "model_version": reply.version, "outputs": [output]}
        before = _BEFORE[key] = orjson.dumps(empty).removesuffix(_NO_DATA)
    data = orjson.dumps(array.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in data:  # null, which orjson makes of NaN
        tensors.check_finite(reply.outputs)
    return before + data + _AFTER


def _encode_binary(reply: Reply) -> tuple[Parts, int]:
    """All outputs binary and nothing else asked for: such answers of one model share their headers."""
    parts: Parts = [b""]
    key: list[Any] = [reply.model, reply.version]
    for name, array in reply.outputs.items():
        raw = tensors.to_bytes(array)
        parts.append(raw)
        key += (name, array.dtype, array.shape, len(raw))
    known = tuple(key)
    header = _HEADERS.get(known)
    if header is None:
        if len(_HEADERS) >= 1024:
            _HEADERS.clear()
        outputs = [_output(name, array, True, []) for name, array in reply.outputs.items()]
        header = _HEADERS[known] = orjson.dumps(
            {"model_name": reply.model, "model_version": reply.version, "outputs": outputs}
        )
    parts[0] = header
    return parts, len(header)


def _output(name: str, array: Array, binary: bool, tail: Parts) -> dict[str, Any]:
    if not binary:
        return tensors.to_json(array, name)
    raw = tensors.to_bytes(array)
    tail.append(raw)
    return {
        "name": name,
        "datatype": tensors.datatype_of(array.dtype),
        "shape": array.shape,
        "parameters": {"binary_data_size": len(raw)},
    }


def parameters(spent: Timing, quote: Quote, *, timing: bool, cost: bool) -> dict[str, Scalar]:
    """The response parameters that ``timing`` and ``cost`` ask for; the gRPC door sends the same."""
    said: dict[str, Scalar] = {}
    if timing:
        said["queue_us"] = round(spent.queued * 1e6)
        said["compute_us"] = round(spent.ran * 1e6)
        said["batch_size"] = spent.batch
    if cost:
        said |= quote(spent)
    return said


def sizes(parts: Sequence[bytes | memoryview]) -> int:
    """Bytes in all parts."""
    return sum(map(len, parts))
