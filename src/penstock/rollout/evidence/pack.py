"""The statistics' state as bytes: structs and arrays, exactly as they are."""

from typing import Any, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")


def pack(state: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(state, enc_hook=_encode)


def unpack(data: bytes, kind: type[T]) -> T:
    """Raises ValueError for bytes that are no such state."""
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_decode)
    except (msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"this is no evidence that this version of penstock wrote: {error}") from error


def _encode(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"no way to write a {type(value).__name__}")
    if value.dtype == np.bool_:
        return ("bits", value.shape, np.packbits(value).tobytes())
    return (value.dtype.str, value.shape, value.tobytes())


def _decode(_kind: type, value: Any) -> Any:
    dtype, shape, data = value
    if dtype == "bits":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)))
        return bits.astype(np.bool_).reshape(shape)
    if dtype != "<f8":
        raise ValueError(f"columns of {dtype}; have <f8 and bits")
    return np.frombuffer(data, dtype).reshape(shape).copy()
