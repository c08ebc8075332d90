"""Trees as one node of ONNX."""

from typing import Any

import numpy as np
from onnx import numpy_helper

from penstock.optimize.passes.trees_forest import Tree, ensemble
from penstock.optimize.passes.trees_graph import Graph


def written(tree: Tree, **more: Any) -> dict[str, Any]:
    graph = Graph()
    ensemble(graph, "x", [tree], targets=1, **more)
    return {
        each.name: numpy_helper.to_array(each.t) if each.HasField("t") else list(each.ints or each.strings)
        for each in graph.nodes[0].attribute
    }


def stump(threshold: float) -> Tree:
    """With two nodes that nothing leads to, as pruning leaves them."""
    return Tree(
        feature=np.zeros(5, np.int64),
        threshold=np.array([threshold, 0, 0, 0, 0], np.float64),
        left=np.array([1, -1, -1, -1, -1]),
        right=np.array([2, -1, -1, -1, -1]),
        missing_left=np.zeros(5, np.bool_),
        values=np.array([[0], [1.0], [0], [7], [7]]),
    )


def test_nodes_that_were_pruned_are_left_out() -> None:
    told = written(stump(0.5))
    assert told["nodes_nodeids"] == [0, 1, 2]
    assert told["target_weights_as_tensor"].tolist() == [1, 0]


def test_a_rounded_threshold_divides_fp32_values_as_before() -> None:
    for threshold in (0.1, -0.1, 1e-35, 0.3, 1e300, -1e300):
        for below in (False, True):
            (made, *_) = written(stump(threshold), below=below)["nodes_values_as_tensor"]
            with np.errstate(over="ignore"):
                around = np.nextafter(made, np.float32([-np.inf, np.inf])).tolist()
            for value in (*around, float(made)):
                want = value < threshold if below else value <= threshold
                assert want == (value < made if below else value <= made), (threshold, below, value)


def test_thresholds_are_kept_in_doubles() -> None:
    assert written(stump(0.1), double=True)["nodes_values_as_tensor"][0] == 0.1
