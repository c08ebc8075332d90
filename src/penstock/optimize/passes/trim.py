"""Trimming of padding: the graph cuts its inputs to the longest row of the batch by itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.engines.onnx import OnnxEngine
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

LEAST = 0.05
"""Share of tokens that must be padding for it to be worth while."""
OPSET = 11
"""The first with Range, and with Pad and Slice whose sizes are computed."""


class Trim:
    """For models with a mask of tokens that is 0 where a row is padded at its end."""

    stage = "trim"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = graph.glance(source, "trim")
        if model is None or source.did("trim") or graph.opset(model) < OPSET or not _masks(model):
            return ()
        return ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where the samples are hardly padded, or an output's sizes cannot be kept."""
        model = graph.read(source.file)
        mask = next((each for each in _masks(model) if _saved(each.name, samples) >= LEAST), None)
        if mask is None:
            raise LoadFailed(
                f"the samples are not padded at their ends by {LEAST:.0%} of their tokens or more"
            )
        axes = _token_axes(model, mask)
        row = _padded_row(samples, mask.name, graph.shape(mask)[0])
        padded = _probe(source, row, mask.name, axes)
        _rewire(model, mask.name, axes, padded)
        return Made(file=graph.write(model, out), packages=("onnx",))


class Axis(NamedTuple):
    """Of an output, which is padded back there."""

    name: str
    axis: int
    rank: int


def _masks(model: "ModelProto") -> "list[ValueInfoProto]":
    """Inputs [batch, tokens] that are a mask by their names, where others have tokens, too."""
    found = [
        each
        for each in graph.inputs(model)
        if "mask" in each.name.lower()
        and len(graph.shape(each)) == 2
        and isinstance(graph.shape(each)[1], str)
    ]
    return [each for each in found if len(_token_axes(model, each)) > 1]


def _token_axes(model: "ModelProto", mask: "ValueInfoProto") -> dict[str, int]:
    """The axis of tokens by input: where the mask's size has a name, all of that name; else of [-1, -1]."""
    rows, tokens = graph.shape(mask)
    found: dict[str, int] = {}
    for each in graph.inputs(model):
        shape = graph.shape(each)
        if tokens and tokens in shape:
            found[each.name] = shape.index(tokens)
        elif not tokens and shape == (rows, tokens):
            found[each.name] = 1
    return found


def _last(mask: Array) -> int:
    """Tokens up to the last one that counts in any row; 1 at the least."""
    return 1 + int(max(np.flatnonzero(mask.any(axis=0)), default=0))


def _saved(mask: str, samples: Samples) -> float:
    """Share of tokens that rows are spared when each runs alone; 0 where the mask is not of 0 and 1 alone."""
    tokens = kept = 0
    for group in samples.groups:
        if not np.isin(group[mask], (0, 1)).all():
            return 0.0
        tokens += group[mask].size
        kept += sum(_last(row[None]) for row in group[mask])
    return 1 - kept / tokens if tokens else 0.0


def _probe(source: Source, whole: Tensors, mask: str, axes: Mapping[str, int]) -> list[Axis]:
    """Outputs whose sizes hang on the number of tokens, seen by running a row with and without padding."""
    end = _last(whole[mask])
    cut = {
        name: array.take(range(end), axes[name]) if name in axes else array for name, array in whole.items()
    }
    session = OnnxEngine().open(source.spec, source.file)
    before, after = session.run(whole), session.run(cut)
    session.close()
    sizes = whole[mask].shape[1], end
    found: list[Axis] = []
    for name, array in before.items():
        pairs = enumerate(zip(array.shape, after[name].shape, strict=True))
        changed = [(axis, pair) for axis, pair in pairs if pair[0] != pair[1]]
        if any(pair != sizes for _, pair in changed):
            raise LoadFailed(
                f"output {name!r} is {list(array.shape)} for {sizes[0]} tokens: not one for each"
            )
        found += [Axis(name, axis, array.ndim) for axis, _ in changed]
    return found


def _padded_row(samples: Samples, mask: str, rows: int | str) -> Tensors:
    """The row with most padding, as often as the model wants rows."""
    most = max(
        (
            (row.size - _last(row[None]), group, at)
            for group in samples.groups
            for at, row in enumerate(group[mask])
        ),
        key=lambda each: each[0],
    )
    times = rows if isinstance(rows, int) else 1
    return {name: np.repeat(array[most[2]][None], times, axis=0) for name, array in most[1].items()}


class Surgery:
    """Nodes before and after those of a graph."""

    def __init__(self, model: "ModelProto") -> None:
        self._model = model
        self.before: list[NodeProto] = []
        self.after: list[NodeProto] = []

    def rename(self, old: str) -> str:
        """Wherever nodes take or give it."""
        new = f"{old}.trimmed"
        for node in graph.nodes(self._model.graph):
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name == old:
                        names[at] = new
        return new

    def constant(self, name: str, values: Sequence[int], scalar: bool = False) -> str:
        from onnx import numpy_helper

        array = np.array(values[0] if scalar else values, dtype=np.int64)
        self._model.graph.initializer.append(numpy_helper.from_array(array, f"trim.{name}"))
        return f"trim.{name}"

    def put(self, where: "list[NodeProto]", kind: str, inputs: Sequence[str], give: str, **more: int) -> str:
        from onnx import helper

        where.append(helper.make_node(kind, inputs, [give], f"{give}.{kind}", **more))
        return give

    def close(self) -> None:
        all_of_them = [*self.before, *self._model.graph.node, *self.after]
        del self._model.graph.node[:]
        self._model.graph.node.extend(all_of_them)


def _rewire(model: "ModelProto", mask: str, axes: Mapping[str, int], padded: Sequence[Axis]) -> None:
    del model.graph.value_info[:]  # shapes by the old number of tokens
    work = Surgery(model)
    end = _longest(work, mask)
    zero, one = work.constant("zero", [0]), work.constant("one", [1])
    for name, axis in axes.items():
        new = work.rename(name)
        work.put(work.before, "Slice", [name, zero, end, work.constant(f"axis.{name}", [axis])], new)
    missing = _missing(work, mask, one)
    for each in padded:
        begin = work.constant(f"begin.{each.name}", [0] * (each.rank + each.axis))
        rest = [begin, missing]
        if each.axis + 1 < each.rank:
            rest.append(work.constant(f"rest.{each.name}", [0] * (each.rank - each.axis - 1)))
        pads = work.put(work.after, "Concat", rest, f"trim.pads.{each.name}", axis=0)
        new = work.rename(each.name)
        work.put(work.after, "Pad", [new, pads], each.name)
    work.close()


def _longest(work: Surgery, mask: str) -> str:
    """[1]: the last place with a one in any row, counted from 1; 1 where there is none.

    By place, as ones need not be a prefix.
    """
    from onnx import TensorProto

    def put(kind: str, *inputs: str, give: str, **more: int) -> str:
        return work.put(work.before, kind, inputs, f"trim.{give}", **more)

    start, axis = work.constant("start", [1], scalar=True), work.constant("second", [1], scalar=True)
    tokens = put("Gather", put("Shape", mask, give="shape"), axis, give="tokens")
    places = put("Range", start, put("Add", tokens, start, give="stop"), start, give="places")
    ones = put("Cast", put("Cast", mask, give="bool", to=TensorProto.BOOL), give="ones", to=TensorProto.INT64)
    counted = put("Mul", ones, places, give="counted")
    flat = put("Reshape", counted, work.constant("flat", [-1]), give="flattened")
    some = put("Concat", flat, work.constant("least", [1]), give="some", axis=0)
    return put("ReduceMax", some, give="longest", keepdims=1)


def _missing(work: Surgery, mask: str, second: str) -> str:
    """[1]: how many tokens were cut off."""
    sizes = [
        work.put(
            work.before,
            "Gather",
            [work.put(work.before, "Shape", [name], f"trim.shape.{name}"), second],
            f"trim.size.{name}",
            axis=0,
        )
        for name in (mask, f"{mask}.trimmed")
    ]
    return work.put(work.before, "Sub", sizes, "trim.missing")
