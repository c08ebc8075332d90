"""numpy arrays as OpenVINO's tensors, and back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from penstock.core.errors import InvalidRequest
from penstock.core.tensors import Array, as_bytes, datatype_of, dtype_of

if TYPE_CHECKING:
    from openvino import Tensor

Fed: TypeAlias = tuple[Any, "Tensor"]
"""What must live as long as the tensor is read, and the tensor, which does not hold it."""
Feeder: TypeAlias = Callable[[Array], Fed]
_INT32 = np.iinfo(np.int32)


def feeder(name: str, datatype: str) -> Feeder:
    """What makes tensors of one input; it raises InvalidRequest for arrays of another datatype."""
    if datatype == "BYTES":
        return _feed_text(name)
    if datatype == "BF16":
        return _feed_bfloat16(name)
    return _feed_numbers(name, datatype)


def _feed_numbers(name: str, datatype: str) -> Feeder:
    from openvino import Tensor

    dtype = dtype_of(datatype)
    wide = datatype in ("INT64", "UINT64")

    def feed(array: Array) -> Fed:
        array = _plain(name, array, dtype)
        if wide:
            _check_range(name, array)
        return array, Tensor(array, shared_memory=True)

    return feed


def _check_range(name: str, array: Array) -> None:
    """OpenVINO computes 64-bit integers in 32 bits, and drops the upper ones without a word."""
    if array.size and (int(array.max()) > _INT32.max or int(array.min()) < _INT32.min):
        raise InvalidRequest(
            f"input {name!r} has {array.min()} to {array.max()}; OpenVINO computes with 32 bits, "
            f"which hold {_INT32.min} to {_INT32.max}"
        )


def _feed_bfloat16(name: str) -> Feeder:
    """OpenVINO does not know numpy's dtype, and takes the bits by another's name."""
    from openvino import Tensor, Type

    dtype = dtype_of("BF16")

    def feed(array: Array) -> Fed:
        array = _plain(name, array, dtype)
        if not array.size:
            return array, Tensor(Type.bf16, list(array.shape))
        return array, Tensor(array.view(np.uint16), list(array.shape), Type.bf16)

    return feed


def _feed_text(name: str) -> Feeder:
    from openvino import Tensor, Type

    def feed(array: Array) -> Fed:
        if array.dtype.kind not in "OSU":
            raise _wrong(name, array, "BYTES")
        if not array.size:
            return array, Tensor(Type.string, list(array.shape))
        # A list, since numpy's own texts lose the zeros at their ends.
        tensor = Tensor([as_bytes(value) for value in array.flat])
        tensor.shape = list(array.shape)
        return array, tensor

    return feed


def _plain(name: str, array: Array, dtype: "np.dtype[Any]") -> Array:
    """Writable (OpenVINO shares no other memory), contiguous and of native byte order; a copy if need be."""
    if array.dtype != dtype:
        if array.dtype.newbyteorder("=") != dtype:
            raise _wrong(name, array, datatype_of(dtype))
        return array.astype(dtype, order="C")
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else array.copy(order="C")


def _wrong(name: str, array: Array, datatype: str) -> InvalidRequest:
    return InvalidRequest(f"input {name!r} is {datatype_of(array.dtype)}; it must be {datatype}")


def taken(tensor: "Tensor", datatype: str) -> Array:
    """A copy of an output that the request's next run would overwrite."""
    if datatype == "BYTES":
        # OpenVINO 2026.4 crashes where there is no text.
        return tensor.bytes_data.astype(object) if tensor.size else np.empty(list(tensor.shape), object)
    array: Array = tensor.data.copy()
    return array.view(dtype_of("BF16")) if datatype == "BF16" else array
