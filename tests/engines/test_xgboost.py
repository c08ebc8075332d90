"""XGBoost sessions: objectives, files, declared signatures, threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec, TensorSpec
from penstock.engines.tabular import TableSession
from penstock.engines.xgboost import XgboostEngine

X = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
BINARY = (X[:, 0] > 0).astype(int)
THREE = BINARY + (X[:, 1] > 0)


def train(target: Any = BINARY, rounds: int = 5, names: Any = None, **settings: Any) -> Any:
    data = xgboost.DMatrix(X, label=target, nthread=1, feature_names=names)
    return xgboost.train({"nthread": 1} | settings, data, rounds)


def load(folder: Path, booster: Any, threads: int = 1, file: str = "model.json", **spec: Any) -> TableSession:
    booster.save_model(folder / file)
    return XgboostEngine().open(ModelSpec(name="m", instances=Instances(threads=threads), **spec), folder)


@pytest.mark.parametrize(
    ("objective", "target", "outputs"),
    [
        ("binary:logistic", BINARY, {"predict": ("INT64", (-1,)), "predict_proba": ("FP32", (-1, 2))}),
        ("multi:softprob", THREE, {"predict": ("INT64", (-1,)), "predict_proba": ("FP32", (-1, 3))}),
        ("multi:softmax", THREE, {"predict": ("INT64", (-1,))}),
        ("binary:hinge", BINARY, {"predict": ("INT64", (-1,))}),
        ("reg:squarederror", X[:, 0], {"predict": ("FP32", (-1,))}),
        ("reg:squarederror", X[:, :2], {"predict": ("FP32", (-1, 2))}),
        (
            "binary:logistic",
            np.stack([BINARY, 1 - BINARY], 1),
            {"predict": ("INT64", (-1, 2)), "predict_proba": ("FP32", (-1, 2))},
        ),
    ],
)
def test_an_objective_tells_what_comes_out(objective: str, target: Any, outputs: Any, tmp_path: Path) -> None:
    classes = {"num_class": 3} if objective.startswith("multi") else {}
    session = load(tmp_path, train(target, objective=objective, **classes))
    assert outputs == {o.name: (o.datatype, o.shape) for o in session.signature.outputs}
    assert session.signature.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    for rows in (0, 3):
        got = session.run({"x": X[:rows]})
        assert {name: (rows, *shape[1:]) for name, (_, shape) in outputs.items()} == {
            name: array.shape for name, array in got.items()
        }


@pytest.mark.parametrize("kind", ["binary", "multi"])
def test_answers_are_those_of_the_classifier_that_was_saved(kind: str, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(X, BINARY if kind == "binary" else THREE)
    got = load(tmp_path, model).run({"x": X})
    assert np.array_equal(model.predict(X), got["predict"])
    assert np.array_equal(model.predict_proba(X), got["predict_proba"])


def test_training_that_stopped_early_is_used_up_to_its_best_round(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 2, 200)
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=3, n_jobs=1)
    model.fit(X[:100], noise[:100], eval_set=[(X[100:], noise[100:])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    assert np.array_equal(model.predict_proba(X), load(tmp_path, model).run({"x": X})["predict_proba"])


def test_linear_boosters_are_served_too(tmp_path: Path) -> None:
    booster = train(booster="gblinear", objective="binary:logistic")
    session = load(tmp_path, booster)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda i: session.run({"x": X[i : i + 2]})["predict_proba"][:, 1], range(50)))
    whole = booster.predict(xgboost.DMatrix(X))
    assert all(np.allclose(whole[i : i + 2], each) for i, each in enumerate(got))
    assert session.run({"x": X[:0]})["predict"].shape == (0,)


def test_missing_values_are_nan(tmp_path: Path) -> None:
    holes = X.copy()
    holes[::2, 0] = np.nan
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(holes, BINARY)
    assert np.array_equal(model.predict(holes), load(tmp_path, model).run({"x": holes})["predict"])


def test_only_what_is_asked_for_comes_back(tmp_path: Path) -> None:
    session = load(tmp_path, train(objective="binary:logistic"))
    assert list(session.run({"x": X[:2]}, ("predict_proba",))) == ["predict_proba"]
    with pytest.raises(InvalidRequest, match="no output 'proba'; have 'predict', 'predict_proba'"):
        session.run({"x": X[:2]}, ("proba",))


def test_inputs_may_be_views_of_any_kind(tmp_path: Path) -> None:
    session = load(tmp_path, train())
    want = session.run({"x": X[:100:2]})["predict"]
    odd = np.asfortranarray(X)[:100:2].astype(">f4")
    odd.flags.writeable = False
    assert np.array_equal(want, session.run({"x": odd})["predict"])


@pytest.mark.parametrize("file", ["model.json", "model.ubj"])
def test_both_of_its_formats_are_read(file: str, tmp_path: Path) -> None:
    booster = train()
    assert np.allclose(
        booster.inplace_predict(X), load(tmp_path, booster, file=file).run({"x": X})["predict"]
    )


def test_threads_are_those_of_the_settings(tmp_path: Path) -> None:
    assert [load(tmp_path, train(), threads=n).threads for n in (1, 3)] == [1, 3]


# -- declared signatures -----------------------------------------------------------------------------


def test_a_declared_input_may_rename_and_choose_the_datatype(tmp_path: Path) -> None:
    booster = train()
    session = load(tmp_path, booster, inputs=(TensorSpec("rows", "INT16", (-1, -1)),))
    assert session.signature.inputs == (TensorSpec("rows", "INT16", (-1, 4)),)
    whole = np.array([[1, 0, -1, 2], [0, 0, 0, 0]], np.int16)
    assert np.array_equal(
        booster.inplace_predict(whole.astype("f4")), session.run({"rows": whole})["predict"]
    )


def test_columns_may_come_one_by_one_in_any_order(tmp_path: Path) -> None:
    booster = train(names=["a", "b", "c", "d"])
    inputs = tuple(TensorSpec(name, "FP32", (-1, 1) if name == "c" else (-1,)) for name in "dcab")
    session = load(tmp_path, booster, inputs=inputs)
    columns = {name: X[:5, i : i + 1] if name == "c" else X[:5, i] for i, name in enumerate("abcd")}
    want = booster.inplace_predict(X[:5], validate_features=False)
    assert np.array_equal(want, session.run(columns)["predict"])


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([("x", "FP32", (-1, 5))], "input 'x' is declared [-1, 5]; the model takes [-1, 4]"),
        ([("x", "FP32", (2, 4))], "input 'x' is declared [2, 4]; the model takes [-1, 4]"),
        ([("x", "BYTES", (-1, 4))], "input 'x' is declared BYTES; have FP32, FP64"),
        ([("a", "FP32", (-1,)), ("b", "FP32", (-1,))], "2 inputs are declared; the model has 4 columns"),
        ([("a", "FP32", (-1, 2)), ("b", "FP32", (-1, 2))], "'a' is declared [-1, 2]; a column is [-1]"),
    ],
)
def test_inputs_that_disagree_are_refused(inputs: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting) as caught:
        load(tmp_path, train(), inputs=tuple(TensorSpec(*each) for each in inputs))
    assert sentence in str(caught.value)


def test_declared_columns_must_be_the_models(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="'a', 'b', 'c', 'e' are declared; the model's columns are a, b,"):
        load(
            tmp_path,
            train(names=["a", "b", "c", "d"]),
            inputs=tuple(TensorSpec(name, "FP32", (-1,)) for name in "abce"),
        )


def test_declared_outputs_choose_and_must_agree(tmp_path: Path) -> None:
    booster = train(objective="binary:logistic")
    proba = TensorSpec("predict_proba", "FP32", (-1, 2))
    assert (proba,) == load(tmp_path, booster, outputs=(proba,)).signature.outputs
    with pytest.raises(BadSetting, match=r"'predict_proba' is declared FP64 \[-1, 2\]; it is FP32 \[-1, 2\]"):
        load(tmp_path, booster, outputs=(TensorSpec("predict_proba", "FP64", (-1, 2)),))
    with pytest.raises(BadSetting, match="'score' is declared; the model gives 'predict', 'predict_proba'"):
        load(tmp_path, booster, outputs=(TensorSpec("score", "FP32", (-1,)),))


# -- files and devices -------------------------------------------------------------------------------


CUT = """
import sys
from pathlib import Path
from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec
from penstock.engines.xgboost import XgboostEngine
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        XgboostEngine().open(ModelSpec(), file)
    except LoadFailed as error:
        print(error, flush=True)
"""


def test_files_that_are_cut_off_are_refused_and_end_nobody(tmp_path: Path) -> None:
    """XGBoost itself crashes on some of these, so that they are tried in a child."""
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    for ending in ("json", "ubj"):
        whole = train(rounds=2).save_raw(ending)
        for part in range(12):
            (cuts / f"{part}.{ending}").write_bytes(whole[: len(whole) * part // 12])
        (cuts / f"last.{ending}").write_bytes(whole[:-1])
    done = subprocess.run([sys.executable, "-c", CUT, str(cuts)], capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("XGBoost refuses ")]
    assert (done.returncode, len(said)) == (0, 26), done.stderr


@pytest.mark.parametrize("junk", [b"<html></html>", b'{"a": 1}', b"\0" * 100, b"{i\x01aT}"])
def test_a_file_of_something_else_is_refused_in_one_line(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(junk)
    with pytest.raises(LoadFailed, match=r"^XGBoost refuses model.json: .") as caught:
        XgboostEngine().open(ModelSpec(), tmp_path)
    said = str(caught.value)
    assert ("\n" in said, "Stack" in said, str(tmp_path) in said) == (False, False, False)


def test_another_device_is_refused_and_the_cpu_may_be_named(tmp_path: Path) -> None:
    assert load(tmp_path, train(), device=("cuda", "cpu")).device == "cpu"
    with pytest.raises(LoadFailed, match="XGBoost models are run on the CPU alone, not on cuda; use"):
        load(tmp_path, train(), device="cuda")
