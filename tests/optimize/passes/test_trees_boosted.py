"""XGBoost's and LightGBM's trees as ONNX: drop-in, and the same answers."""

from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray

from penstock.core.errors import LoadFailed
from penstock.core.spec import Instances, ModelSpec, TensorSpec
from penstock.optimize.passes.trees import Trees
from penstock.optimize.passes.trees_lightgbm import OBJECTIVES as LIGHTGBM
from penstock.optimize.passes.trees_xgboost import OBJECTIVES as XGBOOST
from tests.optimize.passes.swap import BINARY, GAPS, HOLES, NUMBER, THREE, X, apply, disagreements, opened

POSITIVE = np.exp(NUMBER / 4)
GROUPS = [40] * 10
NEAR = 1e-5
DOUBLES = {"floats": "fp64"}
WIDE = {"x": HOLES.astype(np.float64)}
SEVERAL = {"reg:quantileerror": {"quantile_alpha": [0.2, 0.8]}}


# -- XGBoost -----------------------------------------------------------------------------------------


@cache
def labels(objective: str) -> NDArray[Any]:
    if objective.startswith("multi"):
        return THREE
    binary = ("binary", "cross_entropy", "rank", "lambda", "reg:logistic")
    return BINARY if objective.startswith(binary) else POSITIVE


def xgb(objective: str, rounds: int = 20, target: Any = None, **more: Any) -> Any:
    settings = {"objective": objective, "max_depth": 4, "nthread": 1, "verbosity": 0} | more
    if objective.startswith("multi"):
        settings["num_class"] = 3
    label = labels(objective) if target is None else target
    data = xgboost.DMatrix(GAPS, label=label)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", label)
        data.set_float_info("label_upper_bound", label * 2)
    if objective.startswith("rank"):
        data.set_group(GROUPS)
    return xgboost.train(settings, data, rounds)


def saved(booster: Any, folder: Path) -> Path:
    file = folder / ("model.ubj" if isinstance(booster, xgboost.Booster) else "model.txt")
    booster.save_model(file)
    return file


@pytest.mark.parametrize("objective", XGBOOST)
def test_xgboost_answers_the_same_for_each_objective(objective: str, tmp_path: Path) -> None:
    file = saved(xgb(objective, **SEVERAL.get(objective, {})), tmp_path)
    made, apart = disagreements(file, "xgboost", {"x": HOLES})
    assert made.engines == ("onnx",)
    assert max(apart.values()) < NEAR, apart


@pytest.mark.parametrize(
    "more",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"gamma": 3.0, "tree_method": "exact"},  # which prunes what has grown
        {"num_parallel_tree": 4, "subsample": 0.5},
        {"base_score": 0.2},
        {"max_depth": 1, "min_child_weight": 1000.0},  # trees of one leaf
    ],
    ids=lambda more: next(iter(more)),
)
def test_xgboost_answers_the_same_however_it_grew(more: dict[str, Any], tmp_path: Path) -> None:
    _, apart = disagreements(saved(xgb("binary:logistic", **more), tmp_path), "xgboost", {"x": HOLES})
    assert max(apart.values()) < NEAR, apart


def test_xgboost_stops_at_its_best_round(tmp_path: Path) -> None:
    model = xgb("multi:softprob", 30)
    model.set_attr(best_iteration="4")
    _, apart = disagreements(saved(model, tmp_path), "xgboost", {"x": HOLES})
    assert max(apart.values()) < NEAR, apart


def test_several_labels_each_have_a_probability(tmp_path: Path) -> None:
    model = xgb("binary:logistic", target=np.stack([BINARY, 1 - BINARY, THREE > 1], 1))
    _, apart = disagreements(saved(model, tmp_path), "xgboost", {"x": HOLES})
    assert {"predict", "predict_proba"} == set(apart)
    assert max(apart.values()) < NEAR, apart


def test_columns_may_be_inputs_of_their_own(tmp_path: Path) -> None:
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, NUMBER, feature_names=list("abcde")), 10)
    inputs = tuple(TensorSpec(name, "FP64", (-1,)) for name in "ecdba")
    spec = ModelSpec(name="m", instances=Instances(threads=1), inputs=inputs)
    rows = {name: HOLES[:, at].astype(np.float64) for at, name in enumerate("abcde")}
    _, apart = disagreements(saved(model, tmp_path), "xgboost", rows, spec)
    assert max(apart.values()) < NEAR, apart


def test_xgboost_has_nothing_to_choose(tmp_path: Path) -> None:
    source, _ = opened(saved(xgb("binary:logistic"), tmp_path), "xgboost")
    assert Trees().variants(source) == [{}]


def categories(folder: Path) -> Path:
    data = xgboost.DMatrix(np.abs(X).astype(int), NUMBER, feature_types=["c"] * 5, enable_categorical=True)
    return saved(xgboost.train({"nthread": 1, "max_cat_to_onehot": 1}, data, 5), folder)


def lines(folder: Path) -> Path:
    return saved(xgboost.train({"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(X, NUMBER), 5), folder)


@pytest.mark.parametrize(("make", "why"), [(categories, "categorical splits"), (lines, "linear functions")])
def test_what_onnx_has_not_is_refused(make: Any, why: str, tmp_path: Path) -> None:
    source, _ = opened(make(tmp_path), "xgboost")
    with pytest.raises(LoadFailed, match=why):
        apply(source, {}, {"x": X})


# -- LightGBM ----------------------------------------------------------------------------------------


def lgb(objective: str, **more: Any) -> Any:
    settings = {"objective": objective, "num_leaves": 8, "num_threads": 1, "verbosity": -1} | more
    if objective.startswith("multi"):
        settings["num_class"] = 3
    ranks = GROUPS if objective in ("lambdarank", "rank_xendcg") else None
    columns = more.get("categorical_feature", "auto")
    rows = np.abs(X).round() if columns != "auto" else GAPS
    data = lightgbm.Dataset(rows, labels(objective), group=ranks, categorical_feature=columns)
    return lightgbm.train(settings, data, 20)


@pytest.mark.parametrize("objective", [each for each in LIGHTGBM if each not in ("custom", "")])
def test_lightgbm_answers_the_same_for_each_objective(objective: str, tmp_path: Path) -> None:
    made, apart = disagreements(saved(lgb(objective), tmp_path), "lightgbm", WIDE, options=DOUBLES)
    assert made.engines == ("onnx",)
    assert max(apart.values()) < NEAR, apart


@pytest.mark.parametrize(
    "more",
    [
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"boosting": "dart"},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"sigmoid": 2.0},
        {"min_data_in_leaf": 1000},  # trees of one leaf
    ],
    ids=lambda more: next(iter(more)),
)
def test_lightgbm_answers_the_same_however_it_grew(more: dict[str, Any], tmp_path: Path) -> None:
    _, apart = disagreements(saved(lgb("binary", **more), tmp_path), "lightgbm", WIDE, options=DOUBLES)
    assert max(apart.values()) < NEAR, apart


def test_a_target_under_a_root_is_squared_again(tmp_path: Path) -> None:
    model = lgb("regression", reg_sqrt=True)
    _, apart = disagreements(saved(model, tmp_path), "lightgbm", WIDE, options=DOUBLES)
    assert max(apart.values()) < NEAR, apart


def test_doubles_may_be_kept_or_rounded(tmp_path: Path) -> None:
    file = saved(lgb("multiclass"), tmp_path)
    assert Trees().variants(opened(file, "lightgbm")[0]) == [{"floats": "fp64"}, {"floats": "fp32"}]
    _, apart = disagreements(file, "lightgbm", WIDE, options={"floats": "fp32"})
    assert max(apart.values()) < NEAR, apart


def test_fp32_values_at_a_threshold_go_the_same_way(tmp_path: Path) -> None:
    """Thresholds are doubles: rounded to the nearest FP32, some would let the value above them pass."""
    steps = np.float32(1) + np.arange(400, dtype=np.float32) * np.finfo(np.float32).eps
    data = lightgbm.Dataset(steps[:, None].astype(np.float64), np.arange(400) % 7)
    settings = {
        "num_threads": 1,
        "verbosity": -1,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "max_bin": 500,
    }
    file = saved(lightgbm.train(settings, data, 5), tmp_path)
    spec = ModelSpec(name="m", inputs=(TensorSpec("x", "FP32", (-1, 1)),), instances=Instances(threads=1))
    _, apart = disagreements(file, "lightgbm", {"x": steps[:, None]}, spec)
    assert max(apart.values()) < NEAR, apart


@pytest.mark.parametrize(
    ("more", "why"),
    [({"categorical_feature": [0]}, "categorical splits"), ({"linear_tree": True}, "linear functions")],
    ids=["categorical", "linear"],
)
def test_leaves_and_splits_that_onnx_has_not_are_refused(more: Any, why: str, tmp_path: Path) -> None:
    source, _ = opened(saved(lgb("regression", **more), tmp_path), "lightgbm")
    with pytest.raises(LoadFailed, match=why):
        apply(source, DOUBLES, WIDE)
