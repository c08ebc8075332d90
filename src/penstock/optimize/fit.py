"""Arrays made fit for a model's inputs, where nothing is lost by it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.spec import Signature, TensorSpec
from penstock.core.tensors import Array, as_bytes, dtype_of
from penstock.core.types import Tensors

LONE = ""
"""Name of an array that has none; it is for a model's only input."""


def fitted(group: Mapping[str, Any], signature: Signature, where: str) -> Tensors:
    """The inputs among ``group``, in their datatypes; ``where`` leads errors.

    Raises BadSetting for names, shapes and values that the inputs do not take.
    """
    ready = {
        spec.name: _input(_named(group, spec, signature, where), spec, where) for spec in signature.inputs
    }
    rows = {name: len(array) for name, array in ready.items()}
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise BadSetting(
            f"{where}: inputs have different numbers of rows ({told}); each row needs all inputs"
        )
    return ready


def _named(group: Mapping[str, Any], spec: TensorSpec, signature: Signature, where: str) -> Any:
    if spec.name in group:
        return group[spec.name]
    if LONE in group and len(signature.inputs) == 1:
        return group[LONE]
    inputs = ", ".join(each.name for each in signature.inputs)
    if LONE in group:
        raise BadSetting(
            f"{where} holds one array without a name, the model has the inputs {inputs}; "
            "give a .npz with an array for each"
        )
    raise BadSetting(
        f"{where} has nothing for input {spec.name!r}; {nearest(spec.name, [str(name) for name in group])} "
        f"(the model's inputs: {inputs})"
    )


def _input(value: Any, spec: TensorSpec, where: str) -> Array:
    where = f"{where}: {spec.name}"
    try:
        array = np.asarray(value, dtype=object if spec.datatype == "BYTES" else None)
    except ValueError:
        raise BadSetting(
            f"{where} is ragged; give rows of one shape, or a list of samples, one mapping each"
        ) from None
    return cast(_shaped(array, spec, where), spec.datatype, where)


def _shaped(array: Array, spec: TensorSpec, where: str) -> Array:
    """Rows on axis 0, with the sizes that the input has fixed; [rows] may stand for [rows, 1]."""
    shape = spec.shape
    if array.ndim == 1 and len(shape) == 2 and shape[1] in (1, -1):
        array = array[:, None]
    wanted = [each if each >= 0 else "any" for each in shape[1:]]
    told = f"[{', '.join(map(str, ['rows', *wanted]))}]"
    if array.ndim != len(shape):
        one = " (a single row? give it an axis 0)" if array.ndim == len(shape) - 1 else ""
        raise BadSetting(f"{where} has shape {list(array.shape)}, the model takes {told}{one}")
    if any(want not in (-1, have) for want, have in zip(shape[1:], array.shape[1:], strict=True)):
        raise BadSetting(f"{where} has shape {list(array.shape)}, the model takes {told}")
    return array


def cast(array: Array, datatype: str, where: str) -> Array:
    """As the V2 datatype, where every value stays what it is (but for digits of floats).

    Raises BadSetting, led by ``where``, with the first value that does not.
    """
    if datatype == "BYTES":
        return _texts(array, where)
    want = dtype_of(datatype)
    kind = array.dtype.kind
    if array.dtype == want:
        return array
    if kind not in "biuf" and array.dtype.name != "bfloat16":
        raise BadSetting(f"{where} holds {_kind(array)}, the model takes {datatype}")
    if want.kind in "iub":
        _check_whole(array, want, datatype, where)
        return array.astype(want)
    with np.errstate(over="ignore"):
        out = array.astype(want)
    if kind != "b" and bool((np.isinf(out.astype(np.float64)) & ~np.isinf(array.astype(np.float64))).any()):
        raise BadSetting(f"{where} has values that are too large for {datatype}")
    return out


def _check_whole(array: Array, want: np.dtype[Any], datatype: str, where: str) -> None:
    """Numbers that an integer or a boolean can hold."""
    if array.dtype.kind not in "biu":
        odd = array[~np.isfinite(array) | (array != np.floor(array))]
        if odd.size:
            raise BadSetting(f"{where} has {odd.flat[0]:g}, the model takes {datatype}: whole numbers")
    low, high = (0, 1) if want.kind == "b" else (np.iinfo(want).min, np.iinfo(want).max)
    if array.size and not low <= array.min() <= array.max() <= high:
        raise BadSetting(
            f"{where} has {array.min():g} to {array.max():g}, the model takes {datatype}: {low} to {high}"
        )


def _texts(array: Array, where: str) -> Array:
    out = np.empty(array.size, dtype=object)
    for at, value in enumerate(array.flat):
        if not isinstance(value, str | bytes):
            raise BadSetting(f"{where} has {value!r}, the model takes BYTES: text or bytes")
        out[at] = as_bytes(value)
    return out.reshape(array.shape)


def _kind(array: Array) -> str:
    return "text" if array.dtype.kind in "SU" or _holds_text(array) else f"values of {array.dtype}"


def _holds_text(array: Array) -> bool:
    return array.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in array.flat)
