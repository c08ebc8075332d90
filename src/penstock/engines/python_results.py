"""Between a session's tensors and what a model's own methods take and give."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from penstock.core.errors import EngineFailed, InvalidRequest
from penstock.core.spec import TensorSpec
from penstock.core.tensors import Array, as_bytes, datatype_of, dtype_of
from penstock.core.types import Tensors
from penstock.engines.arguments import fits, native, quoted

_PLAIN = (list, tuple, int, float, bool, str, bytes)


def view(array: Array) -> Array:
    """The input as models see it: read-only, in native byte order, text as ``bytes`` objects."""
    if array.dtype.kind in "OSU":
        seen = _texts([as_bytes(value) for value in array.flat], array.shape)
    else:
        seen = native(array).view()
    seen.flags.writeable = False
    return seen


def split(given: Tensors, rows: int, kinds: Mapping[str, type]) -> Iterator[dict[str, Any]]:
    """Of each row its inputs, as Python's own ``str``, ``int`` … where ``kinds`` says so.

    Raises InvalidRequest where text is not UTF-8.
    """
    columns = {name: _column(name, array, kinds.get(name)) for name, array in given.items()}
    for i in range(rows):
        yield {name: column[i] for name, column in columns.items()}


def _column(name: str, array: Array, kind: type | None) -> Sequence[Any] | Array:
    if kind is None:
        return array
    if kind is not str:
        values: list[Any] = array.tolist()
        return values
    try:
        return [value.decode() for value in array]
    except UnicodeDecodeError:
        raise InvalidRequest(f"input {name!r} has bytes that are not UTF-8 text") from None


def stacked(decoded: list[Any]) -> Any:
    """One array where all rows are arrays of one shape and dtype; the list itself otherwise."""
    if not all(isinstance(each, (np.ndarray, np.generic)) for each in decoded):
        return decoded
    if len({(each.shape, each.dtype) for each in decoded}) > 1:
        return decoded
    return np.stack(decoded)


def each_row(result: Any, rows: int) -> Sequence[Any]:
    """What ``predict`` gave, one element a row; raises EngineFailed where there are not as many."""
    if isinstance(result, Mapping) or not hasattr(result, "__len__") or not hasattr(result, "__getitem__"):
        raise EngineFailed(
            f"predict gave {_kind(result)}; before encode it must give a list or an array of rows"
        )
    if len(result) != rows:
        raise EngineFailed(f"predict gave {len(result)} results for a batch of {rows}")
    return [result[i] for i in range(rows)]


def joined(specs: Sequence[TensorSpec], encoded: list[Any]) -> dict[str, Any]:
    """Outputs by name, from what ``encode`` gave for each row."""
    named = [by_name(specs, each, "encode") for each in encoded]
    return {spec.name: _stack(spec, [row[spec.name] for row in named]) for spec in specs}


def _stack(spec: TensorSpec, values: list[Any]) -> Any:
    if all(isinstance(value, _PLAIN) for value in values):
        return values
    arrays = [np.asarray(value) for value in values]
    if len({array.shape for array in arrays}) > 1:
        shapes = " and ".join(sorted({str(list(array.shape)) for array in arrays}))
        raise EngineFailed(f"output {spec.name!r} has rows of shapes {shapes}, which do not make one tensor")
    return np.stack(arrays)


def by_name(specs: Sequence[TensorSpec], result: Any, method: str) -> Mapping[str, Any]:
    """Outputs by name, from a dict, a NamedTuple, a tuple in order, or the single one itself.

    Raises EngineFailed that names what is missing or too much.
    """
    if hasattr(result, "_asdict"):
        result = result._asdict()
    if isinstance(result, tuple):
        if len(result) != len(specs):
            raise EngineFailed(f"{method} gave {len(result)} outputs; it declares {quoted(specs)}")
        return {spec.name: value for spec, value in zip(specs, result, strict=True)}
    if not isinstance(result, Mapping):
        if len(specs) != 1 or result is None:
            raise EngineFailed(f"{method} gave {_kind(result)}; it declares {quoted(specs)}")
        return {specs[0].name: result}
    for spec in specs:
        if spec.name not in result:
            raise EngineFailed(f"{method} gave no output {spec.name!r}; it gave {_names(result)}")
    if len(result) > len(specs):
        known = {spec.name for spec in specs}
        raise EngineFailed(f"{method} gave {_names(set(result) - known)}; it declares {quoted(specs)}")
    return result


def checked(spec: TensorSpec, value: Any, rows: int, given: Iterable[Array]) -> Array:
    """The output as its spec says, with memory of its own; raises EngineFailed that names it."""
    array = _texts_of(spec, value) if spec.datatype == "BYTES" else _numbers(spec, value)
    if not fits(array.shape, spec.shape):
        raise EngineFailed(
            f"output {spec.name!r} has shape {list(array.shape)}; it is declared {list(spec.shape)}"
        )
    if spec.shape and spec.shape[0] < 0 and len(array) != rows:
        raise EngineFailed(f"output {spec.name!r} has {len(array)} rows for a batch of {rows}")
    return array.copy() if any(np.may_share_memory(array, one) for one in given) else array


def _numbers(spec: TensorSpec, value: Any) -> Array:
    dtype = dtype_of(spec.datatype)
    try:
        array = np.asarray(value, dtype) if isinstance(value, _PLAIN) else np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise EngineFailed(f"output {spec.name!r} does not make {spec.datatype}: {error}") from None
    if array.dtype != dtype and native(array).dtype != dtype:
        raise EngineFailed(f"output {spec.name!r} is {_datatype(array)}; it is declared {spec.datatype}")
    return native(array)


def _texts_of(spec: TensorSpec, value: Any) -> Array:
    array = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    if array.dtype.kind not in "OSU":
        raise EngineFailed(f"output {spec.name!r} is {_datatype(array)}; it is declared BYTES")
    for one in array.flat:
        if not isinstance(one, (bytes, str)):
            raise EngineFailed(f"output {spec.name!r} holds {_kind(one)}; BYTES hold bytes or str")
    return _texts([as_bytes(one) for one in array.flat], array.shape)


def _texts(values: list[bytes], shape: tuple[int, ...]) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out.reshape(shape)


def _datatype(array: Array) -> str:
    try:
        return datatype_of(array.dtype)
    except InvalidRequest:
        return str(array.dtype)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(map(str, names))) or "none"
