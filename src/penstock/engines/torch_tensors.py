"""Tensors from arrays, arrays from tensors, and names for whatever a program returns."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from penstock.core.tensors import Array, dtype_of
from penstock.engines.arguments import native

DATATYPES = {
    "torch.bool": "BOOL",
    "torch.uint8": "UINT8",
    "torch.uint16": "UINT16",
    "torch.uint32": "UINT32",
    "torch.uint64": "UINT64",
    "torch.int8": "INT8",
    "torch.int16": "INT16",
    "torch.int32": "INT32",
    "torch.int64": "INT64",
    "torch.float16": "FP16",
    "torch.bfloat16": "BF16",
    "torch.float32": "FP32",
    "torch.float64": "FP64",
}
"""V2 datatypes by PyTorch's dtypes; it has no text."""
DTYPES = {datatype: name.removeprefix("torch.") for name, datatype in DATATYPES.items()}


class _Window:
    """The memory of a read-only array as if it could be written: torch.from_numpy warns otherwise."""

    def __init__(self, array: Array) -> None:
        interface: dict[str, Any] = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}
        self.array = array


def to_tensor(torch: Any, array: Array, *, copy: bool = False) -> Any:
    """A CPU tensor over the array's own memory, unless that is laid out as no tensor can be.

    Whoever runs it must not write to it, or ask for a ``copy``.
    """
    array = native(array)
    if array.dtype.name == "bfloat16":
        return to_tensor(torch, array.view(np.uint16), copy=copy).view(torch.bfloat16)
    if copy or not (array.flags.c_contiguous and array.flags.aligned):
        array = array.copy("C")
    elif not array.flags.writeable:
        array = np.asarray(_Window(array))
    return torch.from_numpy(array)


def to_array(torch: Any, tensor: Any) -> Array:
    """An array over the tensor's memory, or over a copy of it where that is on another device."""
    if tensor.dtype is torch.bfloat16:
        raw: Array = tensor.detach().view(torch.uint16).numpy(force=True)
        return raw.view(dtype_of("BF16"))
    array: Array = tensor.numpy(force=True)
    return array


def named(result: Any) -> dict[str, Any]:
    """What a program returned, flat: by keys and field names, and ``output_0`` … where there are none."""
    return dict(_leaves(result, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if value is None:
        return
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}_{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _leaves(each, f"{name or 'output'}_{i}")
    else:
        yield name or "output_0", value
