"""Infer requests and answers as HTTP headers and bodies: pure, the same for both clients.

Format: Open Inference Protocol V2 (REST) with Triton's binary tensor data extension.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson

from penstock.client.errors import ServerError
from penstock.core.errors import InvalidRequest
from penstock.core.tensors import (
    Array,
    check_finite,
    datatype_of,
    dtype_of,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)
from penstock.core.types import NO_PARAMETERS, Parameters, Tensors, Timing

Headers: TypeAlias = Mapping[str, str]

JSON_LENGTH = "Inference-Header-Content-Length"


class Result(Mapping[str, Array]):
    """Outputs by name; what came as binary data is read-only, because it is not copied.

    ``timing`` is the server's own account, if ``parameters={"timing": True}`` asked for it.
    """

    __slots__ = ("_outputs", "id", "model", "parameters", "timing", "version")

    def __init__(
        self,
        outputs: Tensors,
        model: str = "",
        version: str = "",
        id: str = "",  # noqa: A002
        parameters: Parameters = NO_PARAMETERS,
    ) -> None:
        self._outputs = outputs
        self.model = model
        self.version = version
        self.id = id
        self.parameters = parameters
        self.timing = _timing(parameters)

    def __getitem__(self, name: str) -> Array:
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {x.dtype}{list(x.shape)}" for name, x in self.items())
        return f"Result({self.model!r}, version={self.version!r}, {{{shapes}}})"


def _timing(parameters: Parameters) -> Timing | None:
    try:
        return Timing(
            float(parameters["queue_us"]) / 1e6,
            float(parameters["compute_us"]) / 1e6,
            int(parameters["batch_size"]),
        )
    except (KeyError, ValueError):
        return None


def is_complete(inputs: Any) -> bool:
    """Whether the model's metadata is not needed: a mapping of names to arrays."""
    return isinstance(inputs, Mapping) and all(isinstance(x, np.ndarray) for x in inputs.values())


def complete(model: str, inputs: Any, datatypes: Mapping[str, str]) -> dict[str, Array]:
    """Arrays by name, from anything ``infer`` takes and the model's datatypes by input name.

    An array stays as it is; lists and numbers take the datatype that the model wants.
    Raises InvalidRequest where there is no such form.
    """
    if not isinstance(inputs, Mapping):
        if len(datatypes) != 1:
            raise InvalidRequest(
                f"model {model!r} has {len(datatypes)} inputs ({', '.join(datatypes)}); "
                "give a mapping of names to arrays"
            )
        inputs = {next(iter(datatypes)): inputs}
    return {name: _tensor(name, value, datatypes.get(name, "")) for name, value in inputs.items()}


def _tensor(name: str, value: Any, datatype: str) -> Array:
    if isinstance(value, np.ndarray):
        return value
    try:
        raw = np.array(value, dtype=object if datatype == "BYTES" else None)
    except ValueError:
        raise InvalidRequest(
            f"input {name!r} is ragged; its lists must be as long as their neighbours"
        ) from None
    if datatype in ("FP16", "BF16"):
        return _half(name, raw, datatype)
    return from_json(name, datatype or datatype_of(raw.dtype), raw.shape, value)


def _half(name: str, raw: Array, datatype: str) -> Array:
    """Half floats, which ``from_json`` does not make since they have no JSON form."""
    if raw.dtype.kind not in "uif":
        raise InvalidRequest(f"tensor {name!r}: {datatype} data must be numbers")
    return raw.astype(dtype_of(datatype))


def encode(
    inputs: Tensors,
    *,
    outputs: Sequence[str] = (),
    id: str = "",  # noqa: A002
    parameters: Parameters = NO_PARAMETERS,
    binary: bool = True,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an infer request; ``binary`` holds for inputs and outputs alike.

    Raises InvalidRequest for what has no V2 datatype, or no JSON form when ``binary`` is off.
    """
    head: dict[str, Any] = {"id": id} if id else {}
    tails: list[memoryview | bytes] = []
    if binary:
        head["inputs"] = [_binary(name, array, tails) for name, array in inputs.items()]
    else:
        check_finite(inputs)
        head["inputs"] = [to_json(array, name) for name, array in inputs.items()]
    if outputs:
        head["outputs"] = [{"name": name, "parameters": {"binary_data": binary}} for name in outputs]
    parameters = {**parameters, "binary_data_output": True} if binary else parameters
    if parameters:
        head["parameters"] = parameters
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return {"Content-Type": "application/json"}, text
    headers = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(text))}
    return headers, b"".join((text, *tails))


def _binary(name: str, array: Array, tails: list[memoryview | bytes]) -> dict[str, Any]:
    """The JSON part of a binary tensor; its data goes to ``tails``."""
    raw = to_bytes(array)
    tails.append(raw)
    return {
        "name": name,
        "shape": array.shape,
        "datatype": datatype_of(array.dtype),
        "parameters": {"binary_data_size": len(raw)},
    }


def decode(headers: Headers, body: bytes) -> Result:
    """The outputs of a successful infer answer; header names in lower case.

    Raises ServerError where the answer does not keep to the protocol.
    """
    try:
        return _decode(headers, memoryview(body))
    except (KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise ServerError(f"the answer is not a V2 infer response: {error!r}", 200) from None


def _decode(headers: Headers, body: memoryview) -> Result:
    size = int(headers.get(JSON_LENGTH.lower(), len(body)))
    head = orjson.loads(body[:size])
    outputs: dict[str, Array] = {}
    for entry in head["outputs"]:
        name, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
        width = entry.get("parameters", {}).get("binary_data_size")
        if width is None:
            outputs[name] = from_json(name, datatype, shape, entry["data"])
        else:
            outputs[name] = from_bytes(name, datatype, shape, body[size : size + width])
            size += width
    return Result(
        outputs,
        head.get("model_name", ""),
        head.get("model_version", ""),
        head.get("id", ""),
        head.get("parameters", {}),
    )
