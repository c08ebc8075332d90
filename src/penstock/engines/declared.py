"""The signature that settings declare, held against the one that a model's file tells."""

from collections.abc import Sequence

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec, Signature, TensorSpec


def check_declared(spec: ModelSpec, told: Signature, file: str) -> None:
    """Raises BadSetting unless each tensor that ``spec`` declares is one of the file's; -1 fits any size."""
    _check("input", spec.inputs, told.inputs, file)
    _check("output", spec.outputs, told.outputs, file)


def _check(role: str, declared: Sequence[TensorSpec], told: Sequence[TensorSpec], file: str) -> None:
    there = {tensor.name: tensor for tensor in told}
    for tensor in declared:
        found = there.get(tensor.name)
        if found is None:
            raise BadSetting(f"{role}s: {file} has no {role} {tensor.name!r}; have {', '.join(there)}")
        if tensor.datatype != found.datatype or not _fit(tensor.shape, found.shape):
            raise BadSetting(
                f"{role}s: {tensor.name!r} is declared as {_text(tensor)}; in {file} it is {_text(found)}"
            )


def _fit(left: Sequence[int], right: Sequence[int]) -> bool:
    return len(left) == len(right) and all(a == b or -1 in (a, b) for a, b in zip(left, right, strict=True))


def _text(tensor: TensorSpec) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}"
