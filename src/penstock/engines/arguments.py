"""What a run is given, held against its session's signature, for engines whose framework does not."""

from collections.abc import Sequence

from penstock.core.errors import InvalidRequest
from penstock.core.spec import Signature, TensorSpec
from penstock.core.tensors import Array, datatype_of
from penstock.core.types import Tensors


def check_inputs(signature: Signature, inputs: Tensors) -> None:
    """Raises InvalidRequest unless names, datatypes, shapes and rows are the signature's."""
    rows: dict[str, int] = {}
    for spec in signature.inputs:
        array = inputs.get(spec.name)
        if array is None:
            raise _names(signature, f"input {spec.name!r} is missing")
        if datatype_of(array.dtype) != spec.datatype:
            raise InvalidRequest(
                f"input {spec.name!r} is {datatype_of(array.dtype)}; it must be {spec.datatype}"
            )
        if not fits(array.shape, spec.shape):
            raise InvalidRequest(
                f"input {spec.name!r} has shape {list(array.shape)}; it must be {list(spec.shape)}"
            )
        if spec.shape and spec.shape[0] < 0:  # a fixed first axis is no batch
            rows[spec.name] = len(array)
    if len(inputs) != len(signature.inputs):
        known = {spec.name for spec in signature.inputs}
        raise _names(signature, f"no input {next(name for name in inputs if name not in known)!r}")
    if len(set(rows.values())) > 1:
        raise InvalidRequest(f"axis 0 must be the same in all inputs; got {rows}")


def chosen(signature: Signature, outputs: Sequence[str]) -> list[str]:
    """The outputs asked for, all of them where none is named; raises InvalidRequest for an unknown one."""
    known = [spec.name for spec in signature.outputs]
    for name in outputs:
        if name not in known:
            raise InvalidRequest(f"no output {name!r}; have {quoted(signature.outputs)}")
    return list(outputs) or known


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is the one wanted, in which -1 is any size."""
    return len(shape) == len(wanted) and all(
        want in (-1, got) for got, want in zip(shape, wanted, strict=True)
    )


def native(array: Array) -> Array:
    """The array, turned where its byte order is foreign."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def quoted(specs: Sequence[TensorSpec]) -> str:
    """Names for a sentence."""
    return ", ".join(repr(spec.name) for spec in specs)


def _names(signature: Signature, what: str) -> InvalidRequest:
    return InvalidRequest(f"{what}; the model takes {quoted(signature.inputs)}")
