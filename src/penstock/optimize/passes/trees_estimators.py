"""Converters for skl2onnx of scikit-learn's trees that answer as scikit-learn does.

Its own divide before they add, so that ties between classes, which are frequent among trees grown to the end,
fall otherwise (seen in 1.20: one label in a hundred, one in eight of ten trees with doubles).
What it writes of HistGradientBoosting does not load where inputs are doubles, and lacks losses' links.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.tensors import Array
from penstock.optimize.passes.trees_forest import Tree, ensemble
from penstock.optimize.passes.trees_graph import OPSETS, Graph

Convert = Callable[[Any, Any, Any], None]
"""Of a scope, an operator and a container, as skl2onnx calls it."""
_PAIR = 2


def converters(near: bool) -> dict[type, Convert]:
    """By estimator's class; ``near`` as in ``ensemble``, where there is something to round."""
    from sklearn import ensemble as many
    from sklearn import tree as one

    labels = (*(many.RandomForestClassifier, many.ExtraTreesClassifier), one.DecisionTreeClassifier)
    numbers = (*(many.RandomForestRegressor, many.ExtraTreesRegressor), one.DecisionTreeRegressor)
    return {
        **dict.fromkeys((*labels, one.ExtraTreeClassifier), _classifier),
        **dict.fromkeys((*numbers, one.ExtraTreeRegressor), _regressor),
        many.HistGradientBoostingClassifier: partial(_hist, near),
        many.HistGradientBoostingRegressor: partial(_hist, near),
    }


# -- forests and single trees, which take FP32 -------------------------------------------------------


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    if model.n_outputs_ > 1:
        from skl2onnx.common._registration import get_converter

        get_converter(operator.type)(scope, operator, container)
        return
    graph = Graph(scope.get_unique_operator_name("forest"))
    classes, first = len(model.classes_), len(model.classes_) == _PAIR
    trees = [_tree(each.tree_, each.tree_.value[:, 0, first:]) for each in _trees(model)]
    count = graph.constant(len(trees), np.float32)
    sums = ensemble(graph, _x(graph, operator, "FP32"), trees, targets=classes - first)
    if first:
        sums = graph.add("Concat", graph.add("Sub", count, sums), sums, axis=1)
    _give_classes(graph, operator, container, sums, graph.add("Div", sums, count))


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    graph = Graph(scope.get_unique_operator_name("forest"))
    trees = [_tree(each.tree_, each.tree_.value[:, :, 0]) for each in _trees(model)]
    sums = ensemble(graph, _x(graph, operator, "FP32"), trees, targets=model.n_outputs_)
    mean = graph.add("Div", sums, graph.constant(len(trees), np.float32))
    _give(graph, container, operator.outputs, mean)


def _trees(model: Any) -> Sequence[Any]:
    trees: Sequence[Any] = getattr(model, "estimators_", [model])
    return trees


def _tree(tree: Any, values: Array) -> Tree:
    return Tree(
        feature=np.asarray(tree.feature, np.int64),
        threshold=np.asarray(tree.threshold, np.float64),
        left=np.asarray(tree.children_left, np.int64),
        right=np.asarray(tree.children_right, np.int64),
        missing_left=np.asarray(tree.missing_go_to_left, np.bool_),
        values=np.asarray(values, np.float64),
    )


# -- boosting over histograms ------------------------------------------------------------------------


def _hist(near: bool, scope: Any, operator: Any, container: Any) -> None:
    """Raises LoadFailed for categorical splits."""
    from skl2onnx.common.data_types import DoubleTensorType

    model = operator.raw_operator
    if model.is_categorical_ is not None:
        raise LoadFailed(
            f"this {type(model).__name__} has categorical splits, which are not converted to ONNX"
        )
    graph = Graph(scope.get_unique_operator_name("boosted"))
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    x = _x(graph, operator, "FP64" if double else "FP32")
    trees = [_hist_tree(each.nodes, k) for some in model._predictors for k, each in enumerate(some)]
    base = np.ravel(model._baseline_prediction).tolist()
    targets = model.n_trees_per_iteration_
    sums = ensemble(graph, x, trees, targets=targets, double=double, near=near, base=base)
    if not hasattr(model, "classes_"):
        log = type(model._loss.link).__name__ == "LogLink"
        _give(graph, container, operator.outputs, graph.add("Exp", sums) if log else sums)
        return
    if targets == 1:
        sums = graph.add("Concat", graph.add("Neg", sums), sums, axis=1)
    raw = container.get_options(model, {"raw_scores": False})["raw_scores"]
    share = graph.add("Sigmoid", sums) if targets == 1 else graph.add("Softmax", sums, axis=1)
    _give_classes(graph, operator, container, sums, sums if raw else share)


def _hist_tree(nodes: Any, target: int) -> Tree:
    leaf = nodes["is_leaf"].astype(np.bool_)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        values=nodes["value"].astype(np.float64)[:, None],
        target=target,
    )


# -- between skl2onnx's graph and ours ---------------------------------------------------------------


def _x(graph: Graph, operator: Any, datatype: str) -> str:
    return graph.cast(operator.inputs[0].full_name, datatype)


def _give_classes(graph: Graph, operator: Any, container: Any, sums: str, share: str) -> None:
    """The label of the greatest sum, the first of several, and the shares."""
    classes = operator.raw_operator.classes_
    known = graph.constant(classes.astype(str if classes.dtype.kind in "OSU" else np.int64).tolist())
    label = graph.add("Gather", known, graph.add("ArgMax", sums, axis=1, keepdims=0))
    _give(graph, container, operator.outputs, label, share)


def _give(graph: Graph, container: Any, outputs: Sequence[Any], *values: str) -> None:
    from skl2onnx.common.data_types import guess_proto_type

    for output, value in zip(outputs, values, strict=True):
        graph.add("Cast", value, to=guess_proto_type(output.type), out=output.full_name)
    container.nodes.extend(graph.nodes)
    container.initializers.extend(graph.constants)
    container.node_domain_version_pair_sets.add(("ai.onnx.ml", OPSETS["ai.onnx.ml"]))
