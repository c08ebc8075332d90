"""Requests against a model's signature: the fast yes, and the sentence for a no."""

from typing import Any

from penstock.core.errors import InvalidRequest
from penstock.core.spec import Signature, TensorSpec
from penstock.core.tensors import Array, datatype_of, dtype_of
from penstock.core.types import Request


class Check:
    """Raises InvalidRequest unless names, dtypes and shapes are what the model takes."""

    def __init__(self, model: str, signature: Signature, *, batched: bool, max_rows: int = 0) -> None:
        """``max_rows`` 0: no limit on the rows of one request."""
        self._model = model
        self._signature = signature
        self._batched = batched
        self._max_rows = max_rows
        self._outputs = frozenset(spec.name for spec in signature.outputs)
        first = 1 if batched else 0
        self._wanted: list[tuple[str, Any, tuple[int, ...], bool, TensorSpec]] = [
            (spec.name, dtype_of(spec.datatype), spec.shape[first:], -1 in spec.shape[first:], spec)
            for spec in signature.inputs
        ]

    def __call__(self, request: Request) -> None:
        inputs = request.inputs
        if len(inputs) != len(self._wanted):
            raise self._names(request)
        rows = 0
        for name, dtype, tail, varied, spec in self._wanted:
            array = inputs.get(name)
            if array is None:
                raise self._names(request)
            if array.dtype != dtype:
                raise self._datatype(spec, array)
            shape = array.shape
            if self._batched:
                if not shape or not shape[0]:
                    raise self._shape(spec, array)
                if shape[0] != rows:
                    rows = self._same_rows(request, rows, shape[0])
                shape = shape[1:]
            if shape != tail and not (varied and _fits(shape, tail)):
                raise self._shape(spec, array)
        if request.outputs and not self._outputs.issuperset(request.outputs):
            raise self._unknown_output(request)

    def _names(self, request: Request) -> InvalidRequest:
        want = [spec.name for spec in self._signature.inputs]
        missing = [name for name in want if name not in request.inputs]
        odd = [name for name in request.inputs if name not in want]
        what = f"lacks input {missing[0]!r}" if missing else f"has no input {odd[0]!r}"
        who = "the request" if missing else f"model {self._model!r}"
        return InvalidRequest(f"{who} {what}; model {self._model!r} takes {_names(want)}")

    def _datatype(self, spec: TensorSpec, array: Array) -> InvalidRequest:
        return InvalidRequest(
            f"input {spec.name!r} is {datatype_of(array.dtype)}; it must be {spec.datatype}"
        )

    def _shape(self, spec: TensorSpec, array: Array) -> InvalidRequest:
        hint = ", axis 0 being the batch and at least 1" if self._batched else ""
        return InvalidRequest(
            f"input {spec.name!r} has shape {list(array.shape)}; "
            f"it must be {list(spec.shape)} (-1 is any size{hint})"
        )

    def _same_rows(self, request: Request, before: int, rows: int) -> int:
        """The rows of the first input, which the others must have too."""
        if before:
            sizes = {name: len(array) for name, array in request.inputs.items() if array.ndim}
            raise InvalidRequest(f"axis 0 must be the same in all inputs; got {sizes}")
        if self._max_rows and rows > self._max_rows:
            raise InvalidRequest(
                f"model {self._model!r} takes at most {self._max_rows} rows a request, got {rows}"
            )
        return rows

    def _unknown_output(self, request: Request) -> InvalidRequest:
        odd = next(name for name in request.outputs if name not in self._outputs)
        have = _names([spec.name for spec in self._signature.outputs])
        return InvalidRequest(f"model {self._model!r} has no output {odd!r}; it gives {have}")


def _fits(shape: tuple[int, ...], tail: tuple[int, ...]) -> bool:
    return len(shape) == len(tail) and all(want in (-1, size) for size, want in zip(shape, tail, strict=True))


def _names(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
