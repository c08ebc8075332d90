"""What the engines for tables share: rows as a matrix or as named columns, and the session of a model."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.core.tensors import Array, as_bytes
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen, native, quoted
from penstock.engines.device import wanted
from penstock.engines.memory import trim

Answer = Callable[[Tensors, Sequence[str]], Tensors]
"""From checked inputs to just the outputs named."""
NUMBERS = (
    *("FP32", "FP64", "FP16", "BOOL"),
    *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
)


class TableSession:
    """One loaded model; how it answers is a function of the checked inputs."""

    device = "cpu"
    concurrency = 0

    def __init__(self, platform: str, signature: Signature, threads: int, answer: Answer) -> None:
        self.platform = platform
        self.signature = signature
        self.threads = threads
        self._answer: Answer | None = answer

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Only what is asked for is computed.

        Raises InvalidRequest for inputs that are not the signature's, and what the framework raises.
        """
        answer = self._answer
        if answer is None:
            raise RuntimeError("the session is closed")
        check_inputs(self.signature, inputs)
        return answer(inputs, chosen(self.signature, outputs))

    def close(self) -> None:
        self._answer = None
        trim()


class Rows(Struct, frozen=True):
    """How rows come in: as one matrix (``columns`` empty), or as an input for each column."""

    inputs: tuple[TensorSpec, ...]
    columns: tuple[str, ...] = ()
    """The inputs' names in the order of the model's columns."""

    def series(self, inputs: Tensors) -> list[Array]:
        """Of each column its values, [rows]; text as ``str``."""
        return [plain(name, inputs[name]).reshape(len(inputs[name])) for name in self.columns]

    def matrix(self, inputs: Tensors) -> Array:
        """All rows as [rows, columns], of the datatype that holds all columns; text as ``str``."""
        if not self.columns:
            only = self.inputs[0].name
            return plain(only, inputs[only])
        series = self.series(inputs)
        out = np.empty((len(series[0]), len(series)), np.result_type(*series))
        for i, values in enumerate(series):
            out[:, i] = values
        return out


def plan_rows(
    spec: ModelSpec, columns: int, names: Sequence[str], usual: str, allowed: Sequence[str] = NUMBERS
) -> Rows:
    """One matrix ``x`` of datatype ``usual``, unless ``spec.inputs`` has it otherwise.

    ``columns`` is how many the model takes (-1 where it does not tell), ``names`` what they are called.
    Raises BadSetting where what is declared is not what the model takes.
    """
    declared = spec.inputs
    if not declared:
        return Rows((TensorSpec("x", usual, (-1, columns)),))
    for each in declared:
        if each.datatype not in allowed:
            raise BadSetting(f"input {each.name!r} is declared {each.datatype}; have {', '.join(allowed)}")
    first = declared[0]
    if len(declared) == 1 and len(first.shape) == 2 and (columns != 1 or not names):
        return Rows((_matrix(first, columns),))
    return Rows(declared, _in_order(declared, columns, names))


def _matrix(declared: TensorSpec, columns: int) -> TensorSpec:
    rows, wide = declared.shape
    if rows >= 0 or (wide >= 0 and columns >= 0 and wide != columns):
        raise BadSetting(
            f"input {declared.name!r} is declared {list(declared.shape)}; the model takes {[-1, columns]}"
        )
    return TensorSpec(declared.name, declared.datatype, (-1, max(wide, columns)))


def _in_order(declared: Sequence[TensorSpec], columns: int, names: Sequence[str]) -> tuple[str, ...]:
    for each in declared:
        if each.shape not in ((-1,), (-1, 1)):
            raise BadSetting(
                f"input {each.name!r} is declared {list(each.shape)}; a column is [-1] or [-1, 1]"
            )
    given = tuple(each.name for each in declared)
    if names and set(given) != set(names):
        raise BadSetting(
            f"inputs {quoted(declared)} are declared; the model's columns are {', '.join(names)}"
        )
    if not names and columns >= 0 and len(given) != columns:
        raise BadSetting(f"{len(given)} inputs are declared; the model has {columns} columns")
    return tuple(names) or given


def plan_outputs(spec: ModelSpec, there: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Those that ``spec.outputs`` names, or all; raises BadSetting where they disagree."""
    known = {each.name: each for each in there}
    for each in spec.outputs:
        have = known.get(each.name)
        if have is None:
            raise BadSetting(f"output {each.name!r} is declared; the model gives {quoted(there)}")
        if (each.datatype, each.shape) != (have.datatype, have.shape):
            raise BadSetting(
                f"output {each.name!r} is declared {each.datatype} {list(each.shape)}; "
                f"it is {have.datatype} {list(have.shape)}"
            )
    return tuple(known[each.name] for each in spec.outputs) or tuple(there)


def on_cpu(spec: ModelSpec, framework: str) -> None:
    """Raises LoadFailed or BadSetting where another device is asked for."""
    wishes = wanted(spec.device, ("cpu",))
    if all(wish.kind != "cpu" for wish in wishes):
        asked = " or ".join(map(str, wishes))
        raise LoadFailed(f"{framework} models are run on the CPU alone, not on {asked}; use 'auto' or 'cpu'")


def plain(name: str, array: Array) -> Array:
    """Native byte order, and text as ``str``; raises InvalidRequest where BYTES are not UTF-8."""
    if array.dtype.kind not in "OSU":
        return native(array)
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
    except UnicodeDecodeError:
        raise InvalidRequest(f"input {name!r} has bytes that are not UTF-8; text columns must be") from None
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out.reshape(array.shape)


def labels(array: Array) -> Array:
    """What a model gives, with text as an object array of ``bytes``."""
    if array.dtype.kind not in "OSU":
        return native(array)
    out = np.empty(array.size, dtype=object)
    out[:] = [as_bytes(value) for value in array.flat]
    return out.reshape(array.shape)
