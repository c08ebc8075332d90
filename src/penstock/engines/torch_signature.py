"""Signatures for PyTorch: read from exported programs, declared in the settings, or found by running."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from penstock.core.errors import BadSetting, LoadFailed, one_line
from penstock.core.samples import made_up
from penstock.core.spec import ModelSpec, TensorSpec
from penstock.core.tensors import Array
from penstock.engines.arguments import quoted
from penstock.engines.torch_tensors import DATATYPES, DTYPES, named

VECTOR_SIZES = (16, 8, 32, 64, 224, 1)
"""Sizes to try for variable axes after the first."""
IMAGE_SIZES = (64, 224, 32, 16, 8, 1)
"""The same where an input has four axes or more."""
_TRITON = re.compile(r".*__(\d+)")

# -- read -------------------------------------------------------------------------------------------


def export_inputs(torch: Any, program: Any) -> tuple[TensorSpec, ...]:
    """Names and symbolic shapes from an exported program's signature, in the order of its arguments."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.user_inputs
    return tuple(_tensor_spec(torch, f"input {name!r}", name, values[name]) for name in names)


def export_outputs(torch: Any, program: Any) -> dict[str, TensorSpec | None]:
    """In the order of a flat result; None for what is no output but None itself.

    By the keys of what the program returns, else ``output_0`` …: its own names are those of operators.
    """
    last = next(node for node in program.graph.nodes if node.op == "output")
    spec = program.call_spec.out_spec
    kept = last.args[0][len(last.args[0]) - spec.num_leaves :]
    values = [getattr(each, "meta", {"val": each})["val"] for each in kept]
    labels = named(torch.utils._pytree.tree_unflatten(range(len(values)), spec))
    return {
        name: None if values[at] is None else _tensor_spec(torch, f"output {name!r}", name, values[at])
        for name, at in labels.items()
    }


def _tensor_spec(torch: Any, role: str, name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise LoadFailed(f"{role} is {type(value).__name__}; only tensors can be served")
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, _datatype(role, value), shape)


def _datatype(role: str, tensor: Any) -> str:
    datatype = DATATYPES.get(str(tensor.dtype))
    if datatype is None:
        raise LoadFailed(f"{role} is {tensor.dtype}; only {', '.join(DTYPES)} can be served")
    return datatype


# -- declared ---------------------------------------------------------------------------------------


def declared_inputs(spec: ModelSpec, what: str) -> tuple[TensorSpec, ...]:
    """Those of the settings, which must be there; ``what`` is the file and its kind."""
    if not spec.inputs:
        raise BadSetting(
            f"{what} does not tell its signature; say name, datatype and shape of every input "
            "in [[inputs]] (and [[outputs]])"
        )
    for each in (*spec.inputs, *spec.outputs):
        if each.datatype not in DTYPES:
            raise BadSetting(f"{each.name!r} is {each.datatype}; PyTorch has {', '.join(DTYPES)}")
    return spec.inputs


def ordered(inputs: tuple[TensorSpec, ...], names: Sequence[str]) -> tuple[tuple[TensorSpec, ...], bool]:
    """Inputs in the order of the arguments, and whether they can be passed by name.

    By the arguments' names, else by Triton's ``NAME__0``, else as declared.
    """
    if names and all(each.name in names for each in inputs):
        return tuple(sorted(inputs, key=lambda each: names.index(each.name))), True
    numbers = [_TRITON.fullmatch(each.name) for each in inputs]
    if all(numbers):
        pairs = sorted(zip(numbers, inputs, strict=True), key=lambda pair: int(pair[0][1]))  # type: ignore[index]
        return tuple(each for _, each in pairs), False
    return inputs, False


def agree(declared: tuple[TensorSpec, ...], told: tuple[TensorSpec, ...], what: str) -> None:
    """Raises BadSetting where a declared tensor is not the one that the file tells."""
    known = {each.name: each for each in told}
    for each in declared:
        if each.name not in known:
            raise BadSetting(f"{what} has no {each.name!r}; have {quoted(told)}")
        if each != known[each.name]:
            raise _disagree(each, known[each.name], what)


def _disagree(declared: TensorSpec, right: TensorSpec, what: str) -> BadSetting:
    return BadSetting(
        f"{declared.name!r} is declared as {declared.datatype}{list(declared.shape)}; "
        f"{what} has {right.datatype}{list(right.shape)}"
    )


def rename(declared: tuple[TensorSpec, ...], own: Sequence[str], what: str) -> dict[str, str]:
    """The program's own names of its outputs, by the names under which they are served.

    Where the program names its outputs, so must the settings; else they go by number or by order.
    """
    if not declared:
        return {name: name for name in own}
    if all(each.name in own for each in declared):
        return {each.name: each.name for each in declared}
    places = [_place(each, i) for i, each in enumerate(declared)]
    if max(places) >= len(own) or any(not re.fullmatch(r"output_\d+", name) for name in own):
        raise BadSetting(f"outputs {quoted(declared)} are declared; {what} gives {', '.join(map(repr, own))}")
    return {each.name: own[place] for each, place in zip(declared, places, strict=True)}


def _place(declared: TensorSpec, at: int) -> int:
    number = _TRITON.fullmatch(declared.name)
    return int(number[1]) if number else at


def served(
    declared: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...], names: dict[str, str], *, told: bool
) -> tuple[TensorSpec, ...]:
    """Outputs as they are declared, else as they were found.

    Raises BadSetting where the two disagree; -1 may be declared for what only looked fixed (not ``told``).
    """
    own = {each.name: each for each in found}
    for each in declared:
        right = own[names[each.name]]
        pairs = zip(each.shape, right.shape, strict=False)
        same = all(want == got or (want < 0 and not told) for want, got in pairs)
        if each.datatype != right.datatype or len(each.shape) != len(right.shape) or not same:
            raise _disagree(each, right, "the model")
    return declared or found


# -- found ------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What running a program on made-up input has shown."""

    outputs: tuple[TensorSpec, ...]
    size: int
    """Of variable axes after the first, with which it runs."""
    writes: bool
    """Whether it changes its inputs."""


def make_up(inputs: Sequence[TensorSpec], rows: int, size: int) -> list[Array]:
    """Plausible input for every tensor, the same for the same ``rows`` and ``size``."""
    rng = np.random.default_rng(rows)
    return [made_up(each, rows, rng, size) for each in inputs]


def find_outputs(run: Callable[[list[Array]], dict[str, Any]], inputs: tuple[TensorSpec, ...]) -> Found:
    """Runs two batch sizes and, if there are other variable axes, two sizes of those.

    ``run`` gives tensors by name and may change the arrays that it is given.
    Raises LoadFailed with the first error where no size runs.
    """
    size, first, writes = _first_run(run, inputs)
    runs = [first, _run(run, inputs, 3, size)]
    if any(-1 in each.shape[1:] for each in inputs):
        runs.append(next(_others(run, inputs, size), first))
    names = [name for name in first if all(name in each for each in runs)]
    outputs = tuple(_common(name, [each[name] for each in runs]) for name in names)
    return Found(outputs, size, writes)


def _first_run(
    run: Callable[[list[Array]], dict[str, Any]], inputs: tuple[TensorSpec, ...]
) -> tuple[int, dict[str, Any], bool]:
    trouble = ""
    for size in _sizes(inputs):
        arrays = make_up(inputs, 2, size)
        try:
            outputs = run(arrays)
        except Exception as error:  # noqa: BLE001 - whatever a framework raises
            trouble = trouble or one_line(error)
            continue
        before = make_up(inputs, 2, size)
        same = all(left.tobytes() == right.tobytes() for left, right in zip(before, arrays, strict=True))
        return size, outputs, not same
    raise LoadFailed(f"it cannot be run on made-up input: {trouble}")


def _others(
    run: Callable[[list[Array]], dict[str, Any]], inputs: tuple[TensorSpec, ...], but: int
) -> Iterator[dict[str, Any]]:
    for size in _sizes(inputs):
        if size != but:
            try:
                yield _run(run, inputs, 2, size)
            except Exception:  # noqa: BLE001, S112 - then another size
                continue


def _run(
    run: Callable[[list[Array]], dict[str, Any]], inputs: tuple[TensorSpec, ...], rows: int, size: int
) -> dict[str, Any]:
    return run(make_up(inputs, rows, size))


def _sizes(inputs: tuple[TensorSpec, ...]) -> tuple[int, ...]:
    if not any(-1 in each.shape[1:] for each in inputs):
        return (1,)
    return IMAGE_SIZES if any(len(each.shape) >= 4 for each in inputs) else VECTOR_SIZES


def _common(name: str, tensors: list[Any]) -> TensorSpec:
    role = f"output {name!r}"
    if not all(hasattr(each, "dtype") for each in tensors):
        raise LoadFailed(f"{role} is {type(tensors[0]).__name__}; only tensors can be served")
    shapes = [tuple(each.shape) for each in tensors]
    if len({len(shape) for shape in shapes}) > 1:
        raise LoadFailed(f"{role} has another number of axes for another input: {shapes[0]} and {shapes[-1]}")
    shape = (sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True))
    return TensorSpec(name, _datatype(role, tensors[0]), tuple(shape))
