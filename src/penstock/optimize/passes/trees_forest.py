"""Trees as tables of nodes, and an ensemble of them as one node of ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from penstock.core.tensors import Array
from penstock.optimize.passes.trees_graph import Graph


class Tree(Struct, frozen=True, eq=False):
    """Of each node, by number; node 0 is the root, and a leaf has no ``left``."""

    feature: NDArray[np.int64]
    threshold: Array
    """In whatever type the framework compares in."""
    left: NDArray[np.int64]
    """Where the comparison holds; -1 at a leaf."""
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    """Whether NaN goes left."""
    values: Array
    """[nodes, targets]: what a leaf adds to each target; of other nodes of no account."""
    target: int = 0
    """The first."""


def ensemble(
    graph: Graph,
    x: str,
    trees: Sequence[Tree],
    *,
    targets: int,
    below: bool = False,
    double: bool = False,
    near: bool = False,
    base: Sequence[float] = (),
) -> str:
    """Sums over the trees and ``base``, FP32 [rows, targets]; ``x`` is FP64 if ``double``, else FP32.

    The comparison is ``x <= threshold``, or ``x < threshold`` if ``below``.
    Thresholds are rounded such that every FP32 compares as before; with ``near``, where ``x`` was FP64 and
    was rounded itself, to the nearest, so that what was equal stays equal.
    (https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html)
    """
    dtype = np.float64 if double else np.float32
    parts = [
        _attributes(number, tree, _rounded(tree.threshold, below, dtype, near), below)
        for number, tree in enumerate(trees)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if any(base):
        joined["base_values_as_tensor"] = np.asarray(base, dtype)
    return graph.add("TreeEnsembleRegressor", x, domain="ai.onnx.ml", n_targets=targets, **_as_onnx(joined))


def _attributes(number: int, tree: Tree, threshold: Array, below: bool) -> dict[str, Array]:
    nodes = _reached(tree)
    leaf = tree.left[nodes] < 0
    leaves = nodes[leaf]
    # A leaf must have some weight; zeros beyond it are left out.
    given = tree.values[leaves] != 0
    given[:, 0] |= ~given.any(axis=1)
    at, target = np.nonzero(given)
    return {
        "nodes_treeids": np.full(len(nodes), number),
        "nodes_nodeids": nodes,
        "nodes_featureids": np.where(leaf, 0, tree.feature[nodes]),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LT" if below else "BRANCH_LEQ"),
        "nodes_values_as_tensor": np.where(leaf, threshold.dtype.type(0), threshold[nodes]),
        "nodes_truenodeids": np.where(leaf, 0, tree.left[nodes]),
        "nodes_falsenodeids": np.where(leaf, 0, tree.right[nodes]),
        "nodes_missing_value_tracks_true": (~leaf & tree.missing_left[nodes]).astype(np.int64),
        "target_treeids": np.full(len(at), number),
        "target_nodeids": leaves[at],
        "target_ids": target + tree.target,
        "target_weights_as_tensor": tree.values[leaves[at], target].astype(threshold.dtype),
    }


def _reached(tree: Tree) -> NDArray[np.int64]:
    """Without the nodes that pruning left in the table."""
    return np.unique(np.concatenate([[0], tree.left[tree.left >= 0], tree.right[tree.left >= 0]]))


def _rounded(threshold: Array, below: bool, dtype: Any, near: bool) -> Array:
    with np.errstate(over="ignore"):
        nearest = threshold.astype(dtype)
        if near:
            return nearest
        if below:
            return np.where(nearest < threshold, np.nextafter(nearest, dtype(np.inf)), nearest)
        return np.where(nearest > threshold, np.nextafter(nearest, dtype(-np.inf)), nearest)


def _as_onnx(attributes: dict[str, Array]) -> dict[str, Any]:
    from onnx import numpy_helper

    return {
        name: numpy_helper.from_array(array, name) if name.endswith("_as_tensor") else array.tolist()
        for name, array in attributes.items()
    }
