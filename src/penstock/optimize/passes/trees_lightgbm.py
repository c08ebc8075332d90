"""LightGBM's trees as tables of nodes, from its text files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.engines.lightgbm import names, objective, read_header
from penstock.engines.require import require
from penstock.engines.tabular import plan_rows
from penstock.optimize.passes import Source
from penstock.optimize.passes.trees_boosted import Boosted, Curve, refused
from penstock.optimize.passes.trees_forest import Tree

_RAW = (*("regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom", ""),)
OBJECTIVES: Mapping[str, Curve] = {
    **dict.fromkeys(_RAW, "none"),
    "regression": "none",
    **dict.fromkeys(("binary", "cross_entropy", "multiclassova"), "sigmoid"),
    "multiclass": "softmax",
    "cross_entropy_lambda": "log1p-exp",
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
}
"""What is made of the sums (src/objective/*.hpp, ConvertOutput)."""
ZERO = 1e-35
"""LightGBM's kZeroThreshold."""
CATEGORICAL, DEFAULT_LEFT = 1, 2
NONE, ZEROS, NAN = 0, 1, 2
"""Bits of ``decision_type``, and what its two bits above them say is missing (include/LightGBM/tree.h)."""


def read_lightgbm(source: Source, doubles: bool) -> Boosted:
    """Raises LoadFailed for what has no counterpart in ONNX."""
    lightgbm = require("lightgbm", "LightGBM", "lightgbm")
    raw = source.file.read_bytes()
    header = read_header(raw)
    booster = lightgbm.Booster(model_str=raw.decode(), params={"verbosity": -1})
    name = objective(header)
    if name not in OBJECTIVES:
        raise refused("LightGBM", f"the objective {name}")
    words = header.get("objective", "").split()
    targets = int(header["num_tree_per_iteration"])
    blocks = _blocks(raw)
    trees = [_tree(block, at % targets) for at, block in enumerate(blocks)]
    return Boosted(
        rows=plan_rows(source.spec, booster.num_feature(), names(booster), "FP64"),
        trees=trees,
        targets=targets,
        objective=name,
        curve="square" if "sqrt" in words else OBJECTIVES[name],
        scale=_slope(words) / (len(trees) // targets if "average_output" in header else 1),
        doubles=doubles,
        near=source.signature.inputs[0].datatype == "FP64",
        zero_missing=_zeros(blocks),
    )


def _slope(words: Sequence[str]) -> float:
    """The parameter ``sigmoid`` of objectives that have it."""
    return next((float(word.partition(":")[2]) for word in words if word.startswith("sigmoid:")), 1.0)


def _blocks(raw: bytes) -> list[dict[str, str]]:
    """Of each tree what stands in the file."""
    body = raw.decode().partition("\nend of trees")[0]
    parts = body.split("\nTree=")[1:]
    return [dict(line.partition("=")[::2] for line in part.splitlines()[1:]) for part in parts]


def _array(block: Mapping[str, str], key: str, dtype: Any) -> NDArray[Any]:
    return np.asarray(block.get(key, "").split(), dtype)


def _missing(block: Mapping[str, str]) -> NDArray[np.int64]:
    kinds: NDArray[np.int64] = _array(block, "decision_type", np.int64) >> 2 & 3
    return kinds


def _zeros(blocks: Sequence[Mapping[str, str]]) -> float:
    """Trained with ``zero_as_missing``, which is of all columns or of none."""
    kinds = {kind for block in blocks for kind in _missing(block).tolist()}
    if ZEROS in kinds and kinds != {ZEROS}:
        raise refused("LightGBM", "zeros as missing values in some columns alone")
    return ZERO if ZEROS in kinds else 0.0


def _tree(block: Mapping[str, str], target: int) -> Tree:
    """Splits keep their numbers, leaves follow them."""
    if block.get("is_linear", "0") != "0":
        raise refused("LightGBM", "linear functions in its leaves (linear_tree)")
    if block.get("num_cat", "0") != "0":
        raise refused("LightGBM", "categorical splits")
    weights = _array(block, "leaf_value", np.float64)
    if len(weights) == 1:
        none = np.zeros(1, np.int64)
        return Tree(none, np.zeros(1), none - 1, none, none > 0, weights[:, None], target)
    kinds = _array(block, "decision_type", np.int64)
    splits, leaves = len(kinds), np.zeros(len(weights), np.int64)
    thresholds = _array(block, "threshold", np.float64)
    # Where NaN is not told from other values it counts as zero.
    default = np.where(_missing(block) == NONE, thresholds >= 0, (kinds & DEFAULT_LEFT) != 0)
    return Tree(
        feature=np.concatenate([_array(block, "split_feature", np.int64), leaves]),
        threshold=np.concatenate([thresholds, leaves]),
        left=np.concatenate([_child(block, "left_child", splits), leaves - 1]),
        right=np.concatenate([_child(block, "right_child", splits), leaves - 1]),
        missing_left=np.concatenate([default, leaves > 0]),
        values=np.concatenate([np.zeros(splits), weights])[:, None],
        target=target,
    )


def _child(block: Mapping[str, str], key: str, splits: int) -> NDArray[np.int64]:
    """Leaves are written as their numbers' complements."""
    child = _array(block, key, np.int64)
    return np.where(child < 0, splits + ~child, child)
