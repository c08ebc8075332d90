"""XGBoost's trees as tables of nodes, from the booster's own JSON."""

import json
from collections.abc import Callable, Mapping
from math import log
from typing import Any

import numpy as np

from penstock.engines.require import require
from penstock.engines.tabular import plan_rows
from penstock.engines.xgboost import load, rounds
from penstock.optimize.passes import Source
from penstock.optimize.passes.trees_boosted import Boosted, Curve, refused
from penstock.optimize.passes.trees_forest import Tree


def _logit(share: float) -> float:
    return -log(1 / share - 1)


def _same(value: float) -> float:
    return value


_RAW = (
    *(
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
    ),
    *("rank:ndcg", "rank:map", "rank:pairwise"),
)
OBJECTIVES: Mapping[str, tuple[Curve, Callable[[float], float]]] = {
    **dict.fromkeys(_RAW, ("none", _same)),
    **dict.fromkeys(("binary:logistic", "reg:logistic"), ("sigmoid", _logit)),
    "binary:logitraw": ("none", _same),
    "binary:hinge": ("positive", _same),
    "multi:softprob": ("softmax", _same),
    "multi:softmax": ("argmax", _same),
    **dict.fromkeys(
        ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"), ("exp", log)
    ),
}
"""What is made of the sums, and of ``base_score`` before it is added to them (src/objective/*.cc)."""


def read_xgboost(source: Source) -> Boosted:
    """Raises LoadFailed for what has no counterpart in ONNX."""
    xgboost = require("xgboost", "XGBoost", "xgboost")
    booster = load(xgboost, source.file, 1)
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = learner["objective"]["name"]
    if objective not in OBJECTIVES:
        raise refused("XGBoost", f"the objective {objective}")
    curve, link = OBJECTIVES[objective]
    parameters = learner["learner_model_param"]
    targets = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    base = [link(score) for score in np.ravel(json.loads(parameters["base_score"])).tolist()]
    names = tuple(booster.feature_names or ())
    return Boosted(
        rows=plan_rows(source.spec, booster.num_features(), names, "FP32"),
        trees=_trees(learner["gradient_booster"], rounds(booster)),
        targets=targets,
        objective=objective,
        curve=curve,
        base=base * targets if len(base) == 1 else base,
        below=True,
    )


def _trees(outer: Any, last: int) -> list[Tree]:
    """Those of the first ``last`` rounds; 0: all."""
    inner = outer.get("gbtree", outer)
    if "model" not in inner or "trees" not in inner["model"]:
        raise refused("XGBoost", "linear functions in place of trees")
    model = inner["model"]
    trees, targets = model["trees"], model["tree_info"]
    if last:
        end = model["iteration_indptr"][last]
        trees, targets = trees[:end], targets[:end]
    drops = outer.get("weight_drop", [1.0] * len(trees))
    return [_tree(*each) for each in zip(trees, targets, drops, strict=False)]


def _tree(told: Any, target: int, weight: float) -> Tree:
    if int(told["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise refused("XGBoost", "trees with several values in a leaf (multi_output_tree)")
    if any(told["split_type"]):
        raise refused("XGBoost", "categorical splits")
    values = np.asarray(told["split_conditions"], np.float32)
    return Tree(
        feature=np.asarray(told["split_indices"], np.int64),
        threshold=values,
        left=np.asarray(told["left_children"], np.int64),
        right=np.asarray(told["right_children"], np.int64),
        missing_left=np.asarray(told["default_left"], np.bool_),
        values=values[:, None] * np.float32(weight),
        target=target,
    )
