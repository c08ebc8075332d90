"""V2 datatypes and their numpy forms, and tensors from and to JSON values and raw bytes.

Formats: Open Inference Protocol (tensor data types) and Triton's binary tensor data extension:
little-endian, row-major, no padding; a BYTES element is a uint32 length and its bytes.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.core.errors import InvalidRequest

Array = NDArray[Any]

_NUMPY = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
DATATYPES = (*_NUMPY, "BF16")
_NAMES: dict[Any, str] = {dtype: name for name, dtype in _NUMPY.items()}
MAX_RANK = 64
"""As numpy has it."""
_LARGEST = 1 << 48
"""Elements that the other sizes of an empty tensor may make up; numpy's own bound is not far above."""
_UINT32 = struct.Struct("<I")


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of a V2 datatype; BF16 is ml_dtypes', imported only when it is met."""
    found = _NUMPY.get(datatype)
    if found is not None:
        return found
    if datatype == "BF16":
        import ml_dtypes

        _NUMPY["BF16"] = np.dtype(ml_dtypes.bfloat16)
        _NAMES[_NUMPY["BF16"]] = "BF16"
        return _NUMPY["BF16"]
    raise InvalidRequest(f"no datatype {datatype!r}; have {', '.join(DATATYPES)}")


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The V2 datatype of a numpy dtype; text and bytes of any kind are BYTES."""
    name = _NAMES.get(dtype)
    if name is not None:
        return name
    if dtype.name == "bfloat16":
        dtype_of("BF16")
        return "BF16"
    if dtype.kind in "OSU":
        return "BYTES"
    if not dtype.isnative:
        return datatype_of(dtype.newbyteorder("="))
    raise InvalidRequest(f"dtype {dtype} has no V2 datatype; have {', '.join(DATATYPES)}")


def elements(name: str, shape: Sequence[int]) -> int:
    """How many elements a wire shape holds; raises on negative sizes and absurd ranks."""
    if len(shape) > MAX_RANK:
        raise InvalidRequest(f"tensor {name!r} has {len(shape)} dimensions; at most {MAX_RANK} are allowed")
    for size in shape:
        if size < 0:
            raise InvalidRequest(f"tensor {name!r} has shape {list(shape)}; every size must be 0 or more")
    count = prod(shape)
    if not count and prod(size or 1 for size in shape) > _LARGEST:
        raise InvalidRequest(f"tensor {name!r} has shape {list(shape)}; its sizes are too large")
    return count


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """A tensor from JSON values, nested or flat row-major.

    Raises InvalidRequest where the values are of another kind, out of range, or not as many as
    the shape needs.
    """
    if type(data) is list and (pack := _packer(datatype, shape, data)) is not None:
        try:
            return np.ndarray(shape, _NUMPY[datatype], pack(*data))
        except (struct.error, OverflowError, TypeError, ValueError):
            pass  # something is odd, which the long way names, or accepts
    if datatype in _CODES and len(shape) > 1 and (flat := _flatten(shape, data)) is not None:
        return from_json(name, datatype, shape, flat)
    return _from_odd_json(name, datatype, shape, data)


def _from_odd_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """The long way, which takes all that can be taken, and says what is wrong with the rest."""
    want = elements(name, shape)
    dtype = dtype_of(datatype)
    if datatype in ("FP16", "BF16"):
        raise InvalidRequest(f"tensor {name!r}: {datatype} has no JSON form; send it as binary data")
    if datatype != "BYTES" and _has_text(data):
        raise InvalidRequest(f"tensor {name!r}: {datatype} data must be {_KINDS[dtype.kind]}; it has text")
    try:
        raw = np.array(data) if datatype != "BYTES" else np.array(data, dtype=object)
    except ValueError:
        raise InvalidRequest(
            f"tensor {name!r}: data is ragged; it must be flat or nested as its shape {list(shape)}"
        ) from None
    if raw.size != want:
        raise InvalidRequest(f"tensor {name!r}: shape {list(shape)} needs {want} values, data has {raw.size}")
    if not want:
        return np.empty(shape, dtype)
    if datatype == "BYTES":
        return _texts(name, raw.ravel()).reshape(shape)
    if datatype == "UINT64" and raw.dtype.kind == "f":
        raw = _whole(data, raw)
    if raw.dtype == dtype:
        return raw.reshape(shape)
    return _cast(name, datatype, dtype, raw).reshape(shape)


_CODES = {
    "FP32": "f",
    "FP64": "d",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
}
"""struct's codes of the datatypes whose kinds and ranges it checks while it packs (in its standard sizes)."""
_LONGEST_FLAT = 1 << 22
_PACKERS: dict[tuple[str, int], Callable[..., bytes]] = {}


def _packer(datatype: str, shape: Sequence[int], data: list[Any]) -> Callable[..., bytes] | None:
    """What packs a flat list of just the right length; None for anything else."""
    size = len(data)
    if size != prod(shape) or not size or type(data[0]) is bool:
        return None
    pack = _PACKERS.get((datatype, size))
    if pack is None and datatype in _CODES and size <= _LONGEST_FLAT:
        if len(_PACKERS) >= 256:
            _PACKERS.clear()
        pack = _PACKERS[datatype, size] = struct.Struct(f"<{size}{_CODES[datatype]}").pack
    return pack


def _flatten(shape: Sequence[int], data: Any) -> list[Any] | None:
    """The elements of data that is nested just as its shape says; None for anything else."""
    level: list[Any] = [data]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(chain.from_iterable(level))
    return level if level and type(level[0]) is not list else None


def _has_text(data: Any) -> bool:
    """Whether there is a string at any depth.

    numpy would give every element the room of the longest one, which may be more than all memory.
    """
    level: list[Any] = [data]
    while level:
        kinds = set(map(type, level))
        if str in kinds:
            return True
        level = list(chain.from_iterable(x for x in level if type(x) is list)) if list in kinds else []
    return False


_KINDS = {"b": "true or false", "u": "whole numbers", "i": "whole numbers", "f": "numbers"}
_ACCEPTED = {"b": "b", "u": "ui", "i": "ui", "f": "uif"}


def _cast(name: str, datatype: str, dtype: np.dtype[Any], raw: Array) -> Array:
    if raw.dtype.kind not in _ACCEPTED[dtype.kind]:
        raise InvalidRequest(f"tensor {name!r}: {datatype} data must be {_KINDS[dtype.kind]}{_odd(raw)}")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            out = raw.astype(dtype)
        if raw.dtype.itemsize > dtype.itemsize and np.isinf(out).any():
            raise InvalidRequest(f"tensor {name!r}: a value is out of range for {datatype}")
        return out
    bounds = np.iinfo(dtype)
    if int(raw.min()) < bounds.min or int(raw.max()) > bounds.max:
        raise InvalidRequest(
            f"tensor {name!r}: {datatype} holds {bounds.min} to {bounds.max}, "
            f"data has {raw.min()} to {raw.max()}"
        )
    return raw.astype(dtype)


def _whole(data: Any, raw: Array) -> Array:
    """The exact values where numpy made floats of small whole numbers beside ones over 2**63."""
    flat = np.array(data, dtype=object).ravel()
    return flat.astype(np.uint64) if all(type(x) is int and 0 <= x < 2**64 for x in flat) else raw


def _odd(raw: Array) -> str:
    """What the data has instead, when a short word for it exists."""
    if raw.dtype.kind == "O":
        if any(value is None for value in raw.ravel()):
            return "; it has null"
        return "; it mixes kinds, or a number is too large"
    return {"b": "; it has true or false", "f": "; it has fractions, or numbers too large"}.get(
        raw.dtype.kind, ""
    )


def _texts(name: str, flat: Array) -> Array:
    for i, value in enumerate(flat):
        if isinstance(value, str):
            flat[i] = value.encode()
        elif not isinstance(value, bytes):
            raise InvalidRequest(f"tensor {name!r}: BYTES data must be strings")
    return flat


def from_bytes(name: str, datatype: str, shape: Sequence[int], raw: memoryview | bytes) -> Array:
    """A tensor over raw little-endian bytes, without a copy where alignment allows.

    The result is read-only where it shares ``raw``. Raises InvalidRequest on a wrong length.
    """
    dtype = _NUMPY.get(datatype) or dtype_of(datatype)
    if datatype == "BYTES":
        return _unpack(name, elements(name, shape), raw).reshape(shape)
    if len(raw) != prod(shape) * dtype.itemsize:
        raise InvalidRequest(
            f"tensor {name!r}: {datatype} of shape {list(shape)} needs "
            f"{elements(name, shape) * dtype.itemsize} bytes, got {len(raw)}"
        )
    try:
        array: Array = np.ndarray(shape, dtype, raw)
    except ValueError:  # two negative sizes, or too many dimensions
        elements(name, shape)
        raise
    if datatype == "BOOL" and array.size and int(array.view(np.uint8).max()) > 1:
        raise InvalidRequest(f"tensor {name!r}: BOOL bytes must be 0 or 1")
    return array if array.flags.aligned else array.copy()


def _unpack(name: str, want: int, raw: memoryview | bytes) -> Array:
    at, end = 0, len(raw)
    if want > end // 4:
        raise InvalidRequest(
            f"tensor {name!r}: {want} BYTES elements need at least 4 bytes each, got {end} in all"
        )
    out = np.empty(want, dtype=object)
    for i in range(want):
        if at + 4 > end:
            raise InvalidRequest(f"tensor {name!r}: BYTES data ends after {i} of {want} elements")
        (size,) = _UINT32.unpack_from(raw, at)
        at += 4
        if size > end - at:
            raise InvalidRequest(
                f"tensor {name!r}: BYTES element {i} says {size} bytes, only {end - at} are left"
            )
        out[i] = bytes(raw[at : at + size])
        at += size
    if at != end:
        raise InvalidRequest(f"tensor {name!r}: {end - at} bytes are left after {want} BYTES elements")
    return out


_SMALL = 16384
"""Bytes up to which a copy is cheaper than a view."""


def to_bytes(array: Array) -> memoryview | bytes:
    """Raw little-endian bytes of a tensor, without a copy where it is contiguous."""
    if array.dtype.kind in "OSU":
        return b"".join(_UINT32.pack(len(text)) + text for text in map(as_bytes, array.ravel()))
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.nbytes <= _SMALL:
        return array.tobytes()
    # A view of uint8 also serves dtypes that the buffer protocol does not know (bfloat16).
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def as_bytes(value: Any) -> bytes:
    """One BYTES element as bytes, whatever a framework returned for it."""
    if isinstance(value, bytes):
        return value
    return str(value).encode()


NUMBERS = {dtype: name for name, dtype in _NUMPY.items() if name not in ("BYTES", "FP16")}
"""V2 names of the dtypes that orjson writes by itself."""


def to_json(array: Array, name: str) -> dict[str, Any]:
    """A V2 tensor with flat data, that ``orjson`` (with OPT_SERIALIZE_NUMPY) can write.

    orjson writes ``null`` for NaN and infinity: see ``check_finite``.
    Raises InvalidRequest for datatypes and texts that JSON cannot carry.
    """
    datatype = NUMBERS.get(array.dtype)
    if datatype is not None:
        return {"name": name, "datatype": datatype, "shape": array.shape, "data": array.ravel()}
    datatype = datatype_of(array.dtype)
    if datatype in ("FP16", "BF16"):
        raise InvalidRequest(f"tensor {name!r} is {datatype}, which JSON cannot carry; use binary data")
    if datatype == "BYTES":
        texts = [_text(name, value) for value in array.ravel()]
        return {"name": name, "datatype": datatype, "shape": array.shape, "data": texts}
    return to_json(array.astype(array.dtype.newbyteorder("=")), name)


def check_finite(tensors: Mapping[str, Array]) -> None:
    """Raises InvalidRequest if a float tensor has NaN or infinity, for which JSON has no form."""
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InvalidRequest(f"tensor {name!r} is not finite and JSON has no NaN; use binary data")


def _text(name: str, value: Any) -> str:
    try:
        return as_bytes(value).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"tensor {name!r} is not UTF-8 text; use binary data") from None
