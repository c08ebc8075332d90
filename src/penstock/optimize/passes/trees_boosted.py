"""Boosted trees as ONNX: from sums over the trees to what the engines make of them."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.errors import LoadFailed
from penstock.core.spec import Signature
from penstock.core.tensors import dtype_of
from penstock.engines.boosted import CLASSES, PAIR
from penstock.engines.tabular import Rows
from penstock.optimize.passes.trees_forest import Tree, ensemble
from penstock.optimize.passes.trees_graph import Graph

Curve: TypeAlias = Literal["none", "sigmoid", "softmax", "exp", "log1p-exp", "square", "argmax", "positive"]
"""What an objective makes of the sums."""
_HALF = 0.5


class Boosted(Struct, frozen=True, kw_only=True, eq=False):
    """A booster, its framework left behind."""

    rows: Rows
    trees: Sequence[Tree]
    targets: int
    objective: str
    curve: Curve
    scale: float = 1.0
    """Of the sums, before the curve."""
    base: Sequence[float] = ()
    """Added to the sums, by target."""
    below: bool = False
    """Compares with ``<``, else with ``<=``."""
    doubles: bool = False
    """Compares in FP64."""
    near: bool = False
    """Where it does, and inputs are rounded to FP32: see ``ensemble``."""
    zero_missing: float = 0.0
    """Zeros up to this are missing values; 0: they are not."""


def write_boosted(model: Boosted, signature: Signature) -> Graph:
    """The whole graph, up to the outputs of the signature."""
    graph = Graph()
    x = graph.matrix(model.rows, "FP64" if model.doubles else "FP32")
    if model.zero_missing:
        none = graph.add(
            "LessOrEqual", graph.add("Abs", x), _number(graph, model.zero_missing, model.doubles)
        )
        x = graph.add("Where", none, _number(graph, float("nan"), model.doubles), x)
    sums = ensemble(
        graph,
        x,
        model.trees,
        targets=model.targets,
        below=model.below,
        double=model.doubles,
        near=model.near,
        base=model.base,
    )
    datatype = next(
        (each.datatype for each in signature.outputs if each.datatype in ("FP32", "FP64")), "FP64"
    )
    sums = graph.cast(sums, datatype)
    if model.scale != 1:
        sums = graph.add("Mul", sums, graph.constant(model.scale, dtype_of(datatype)))
    values = _curved(graph, sums, model.curve, datatype)
    for spec in signature.outputs:
        graph.give(_output(graph, values, spec.name, model, datatype), spec)
    return graph


def _number(graph: Graph, value: float, double: bool) -> str:
    return graph.constant(value, dtype_of("FP64" if double else "FP32"))


def _curved(graph: Graph, sums: str, curve: Curve, datatype: str) -> str:
    one = dtype_of(datatype).type(1)
    match curve:
        case "sigmoid":
            return graph.add("Sigmoid", sums)
        case "softmax":
            return graph.add("Softmax", sums, axis=1)
        case "exp":
            return graph.add("Exp", sums)
        case "log1p-exp":
            return graph.add("Log", graph.add("Add", graph.add("Exp", sums), graph.constant(one)))
        case "square":
            return graph.add("Mul", sums, graph.add("Abs", sums))
        case "argmax":
            return graph.add("ArgMax", sums, axis=1, keepdims=0)
        case "positive":
            return graph.add("Greater", sums, graph.constant(0 * one))
        case "none":
            return sums


def _output(graph: Graph, values: str, name: str, model: Boosted, datatype: str) -> str:
    """``predict`` or ``predict_proba``, as ``engines.boosted.Meaning`` has them."""
    whole = dtype_of(datatype).type
    if name == "predict" and model.objective in CLASSES:
        return graph.add("ArgMax", values, axis=1, keepdims=0)
    if name == "predict" and model.objective in PAIR:
        return graph.add("Greater", values, graph.constant(whole(_HALF)))
    if name == "predict_proba" and model.objective in PAIR and model.targets == 1:
        return graph.add("Concat", graph.add("Sub", graph.constant(whole(1)), values), values, axis=1)
    return values


def refused(framework: str, what: str) -> LoadFailed:
    return LoadFailed(f"this {framework} model has {what}, which is not converted to ONNX")
