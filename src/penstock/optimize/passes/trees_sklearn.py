"""scikit-learn's estimators as ONNX by skl2onnx, inputs and outputs as the engine has them."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed, one_line
from penstock.core.spec import TensorSpec
from penstock.core.tensors import datatype_of, dtype_of
from penstock.engines.sklearn import load
from penstock.engines.sklearn_model import Feed, estimators, plan_feed
from penstock.optimize.passes import Source
from penstock.optimize.passes.trees_estimators import Convert, converters
from penstock.optimize.passes.trees_graph import OPSETS, Graph

PREFIX, COLUMN = "m/", "column_"
DEFAULT_WORDS, WORDS = r"(?u)\b\w\w+\b", r"[\pL\pM\pN_]{2,}"
"""scikit-learn's pattern, and the same for RE2."""
_AVOIDED = ("LinearClassifier", "LinearRegressor", "Scaler")
"""Operators for which skl2onnx has plain ones, too, which every engine reads."""


def require_skl2onnx() -> Any:
    """Raises LoadFailed that says what to install."""
    try:
        import skl2onnx
    except ModuleNotFoundError as error:
        raise LoadFailed("pass 'trees' needs skl2onnx: pip install 'penstock[optimize]'") from error
    return skl2onnx


def convert(source: Source, doubles: bool) -> Graph:
    """Raises LoadFailed where skl2onnx cannot do it, with its reason."""
    model = load(source.spec, source.file)
    feed = plan_feed(source.spec, model)
    model = getattr(model, "best_estimator_", model)
    for each in estimators(model):
        if hasattr(each, "flatten_transform"):  # of votes; skl2onnx refuses it, whatever is asked of them
            each.flatten_transform = False
    graph = Graph()
    by_column = _by_column(feed, model)
    if by_column:
        _rename(model, feed.names)
    fed = _fed(graph, feed, by_column, doubles)
    outputs = source.signature.outputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        near = any(each.datatype == "FP64" for each in source.signature.inputs)
        inner = _convert(model, fed, [each.name for each in outputs], converters(near))
    _take(graph, inner)
    for spec in outputs:
        _give(graph, inner, _place(model, spec.name), spec)
    return graph


# -- what goes in ------------------------------------------------------------------------------------


def _by_column(feed: Feed, model: Any) -> bool:
    """Whether the estimator asks for columns by name, or they cannot be of one type."""
    from sklearn.compose import ColumnTransformer

    if feed.names and any(isinstance(each, ColumnTransformer) for each in estimators(model)):
        return True
    return len({each.datatype == "BYTES" for each in feed.rows.inputs}) > 1


def _fed(graph: Graph, feed: Feed, by_column: bool, doubles: bool) -> list[TensorSpec]:
    """Nodes for what skl2onnx's graph is fed, and what that is."""
    rows = feed.rows
    if not by_column:
        only = feed.text
        kinds = [dtype_of(each.datatype) for each in rows.inputs]
        datatype = _inside(datatype_of(np.result_type(*kinds)), doubles)
        graph.cast(rows.inputs[0].name if only else graph.matrix(rows, datatype), datatype, f"{PREFIX}x")
        wide = (-1,) if only else (-1, len(rows.columns) or rows.inputs[0].shape[1])
        return [TensorSpec("x", datatype, wide)]
    fed = []
    datatypes = {each.name: _inside(each.datatype, doubles) for each in rows.inputs}
    for at, name in enumerate(feed.names or rows.columns):
        datatype = datatypes[name if rows.columns else rows.inputs[0].name]
        column = (
            graph.shaped(name, (-1, 1))
            if rows.columns
            else graph.add("Gather", rows.inputs[0].name, graph.constant([at], np.int64), axis=1)
        )
        graph.cast(column, datatype, f"{PREFIX}{COLUMN}{at}")
        fed.append(TensorSpec(f"{COLUMN}{at}", datatype, (-1, 1)))
    return fed


def _rename(model: Any, names: Sequence[str]) -> None:
    """Columns by their places: skl2onnx trips over those that are called as its outputs are."""
    from sklearn.compose import ColumnTransformer

    fresh = {name: f"{COLUMN}{at}" for at, name in enumerate(names)}
    for each in estimators(model):
        if isinstance(each, ColumnTransformer):
            each.transformers_ = [
                (name, inner, _renamed(chosen, fresh)) for name, inner, chosen in each.transformers_
            ]


def _renamed(chosen: Any, fresh: Mapping[str, str]) -> Any:
    """Names, a name, or whatever else columns are chosen by."""
    if isinstance(chosen, str):
        return fresh.get(chosen, chosen)
    if isinstance(chosen, slice):
        return chosen
    return [fresh.get(each, each) if isinstance(each, str) else each for each in chosen]


def _inside(datatype: str, doubles: bool) -> str:
    """Of those that skl2onnx's graphs take."""
    if datatype == "FP64":
        return "FP64" if doubles else "FP32"
    return {"BYTES": "BYTES", "FP16": "FP32", "FP32": "FP32"}.get(datatype, "INT64")


def _convert(model: Any, fed: Sequence[TensorSpec], wanted: Sequence[str], ours: dict[type, Convert]) -> Any:
    """skl2onnx's own graph, in as plain operators as it has."""
    from sklearn.base import is_classifier

    skl2onnx = require_skl2onnx()
    types = [(each.name, _type(each)) for each in fed]
    avoid = {*_AVOIDED, *(() if _normalizes(model) else ("Normalizer",))}
    raw = {"raw_scores": True} if is_classifier(model) and "decision_function" in wanted else {}
    if _normalizes(model) and any(each.datatype == "FP64" for each in fed):
        raise LoadFailed("skl2onnx's Normalizer makes NaN of rows of zeros in doubles")
    reason = ""
    # Not all classifiers know of these, nor are all classes of operators avoidable.
    for avoided, options in product((avoid, set[str]()), ({"zipmap": False} | raw, raw)):
        try:
            return skl2onnx.convert_sklearn(
                model,
                initial_types=types,
                options=_texts(model) | ({id(model): options} if options else {}),
                target_opset=dict(OPSETS),
                black_op=avoided,
                custom_conversion_functions=ours,
            )
        except LoadFailed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it raises
            reason = f"{type(error).__name__}: {one_line(error)}"
    raise LoadFailed(f"skl2onnx does not convert this {type(model).__name__}: {reason}")


def _normalizes(model: Any) -> bool:
    """Whether it brings rows to one length, of which plain operators make NaN where all is zero."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import Normalizer

    return any(isinstance(each, (Normalizer, TfidfTransformer)) for each in estimators(model))


def _texts(model: Any) -> dict[int, dict[str, str]]:
    """Of what counts words: a locale that is everywhere, and letters of all scripts."""
    from sklearn.feature_extraction.text import CountVectorizer

    locale = {"locale": "C.UTF-8"} if sys.platform == "linux" else {}
    return {
        id(each): locale | ({"tokenexp": WORDS} if usual else {})
        for each in estimators(model)
        if isinstance(each, CountVectorizer)
        for usual in [each.analyzer == "word" and each.token_pattern == DEFAULT_WORDS]
    }


def _type(spec: TensorSpec) -> Any:
    from skl2onnx.common import data_types

    kind = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BYTES": data_types.StringTensorType,
    }[spec.datatype]
    return kind([None, *spec.shape[1:]])


# -- what comes out ----------------------------------------------------------------------------------


def _take(graph: Graph, inner: Any) -> None:
    """All nodes and constants of skl2onnx's graph, with names of their own."""
    from onnx import compose

    compose.add_prefix(inner, PREFIX, inplace=True)
    for node in inner.graph.node:
        if node.op_type == "ArrayFeatureExtractor":
            _gather(graph, inner, node)
        else:
            graph.nodes.append(node)
    graph.constants.extend(inner.graph.initializer)
    graph.opsets = graph.opsets | {each.domain: each.version for each in inner.opset_import}


def _gather(graph: Graph, inner: Any, node: Any) -> None:
    """ArrayFeatureExtractor takes along the last axis, as the standard operator does."""
    flat = next(
        (len(each.dims) == 1 for each in inner.graph.initializer if each.name == node.input[0]), False
    )
    at = graph.shaped(node.input[1], (-1,))
    if flat:  # of which it makes a row
        graph.shaped(graph.add("Gather", node.input[0], at), (1, -1), out=node.output[0])
    else:
        graph.add("Gather", node.input[0], at, axis=-1, out=node.output[0])


def _place(model: Any, name: str) -> int:
    """Which of skl2onnx's outputs it is: labels first, then probabilities, scores or distances."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

    second = {
        "predict_proba": is_classifier(model),
        "decision_function": is_classifier(model) or is_outlier_detector(model),
        "transform": is_clusterer(model),
    }
    if name == "predict" or (name == "transform" and not second["transform"]):
        return 0
    if second.get(name):
        return 1
    raise LoadFailed(f"output {name!r} of {type(model).__name__} is not converted to ONNX")


def _give(graph: Graph, inner: Any, place: int, spec: TensorSpec) -> None:
    from onnx import helper

    value = inner.graph.output[place]
    name, told = value.name, value.type.tensor_type
    if spec.name == "decision_function" and len(spec.shape) == 1:  # of two classes scores of both come out
        name = graph.add("Gather", name, graph.constant([-1], np.int64), axis=1)
    datatype = (
        "" if spec.datatype == "BYTES" else datatype_of(helper.tensor_dtype_to_np_dtype(told.elem_type))
    )
    graph.give(name, spec, datatype, len(told.shape.dim))
