"""scikit-learn's estimators as ONNX: drop-in, and the same answers."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from penstock.core.errors import LoadFailed
from penstock.core.spec import Instances, ModelSpec, Sklearn, TensorSpec
from penstock.core.types import Tensors
from penstock.engines.onnx import OnnxEngine
from penstock.engines.openvino import OpenVinoEngine
from penstock.optimize.passes.trees import Trees
from tests.optimize.passes.swap import (
    BINARY,
    FRESH,
    GAPS,
    HOLES,
    NUMBER,
    THREE,
    X,
    apply,
    disagreements,
    opened,
)

TEXT = np.array(["no", "yés", "maybe"])[THREE]
NARROW: Tensors = {"x": FRESH}
WIDE: Tensors = {"x": FRESH.astype(np.float64)}
NEAR = 1e-5
DOUBLES = {"floats": "fp64"}


def kept(folder: Path, model: Any, **settings: Any) -> tuple[Path, ModelSpec]:
    file = folder / "model.skops"
    skops.io.dump(model, file)
    trusted = tuple(skops.io.get_untrusted_types(file=file))
    spec = ModelSpec(name="m", instances=Instances(threads=1), sklearn=Sklearn(trusted=trusted), **settings)
    return file, spec


def compared(
    folder: Path, model: Any, rows: Tensors, options: Any = None, **settings: Any
) -> dict[str, float]:
    file, spec = kept(folder, model, **settings)
    return disagreements(file, "sklearn", rows, spec, options)[1]


# -- trees -------------------------------------------------------------------------------------------


@cache
def forest() -> Any:
    """Grown to the end: many of its votes are even."""
    return RandomForestClassifier(20, random_state=0, n_jobs=1).fit(X, BINARY)


TREES: dict[str, Callable[[], Any]] = {
    "two classes": forest,
    "three": lambda: RandomForestClassifier(10, random_state=0).fit(X, THREE),
    "text": lambda: RandomForestClassifier(10, random_state=0).fit(X, TEXT),
    "yes and no": lambda: RandomForestClassifier(10, random_state=0).fit(X, BINARY > 0),
    "cut short": lambda: RandomForestClassifier(10, max_depth=3, random_state=0).fit(X, THREE),
    "several labels": lambda: RandomForestClassifier(5, random_state=0).fit(X, np.stack([BINARY, THREE], 1)),
    "one tree": lambda: DecisionTreeClassifier(max_depth=5).fit(X, THREE),
    "numbers": lambda: ExtraTreesRegressor(10, random_state=0).fit(X, NUMBER),
    "several numbers": lambda: RandomForestRegressor(5).fit(X, np.stack([NUMBER, -NUMBER], 1)),
    "boosted": lambda: GradientBoostingClassifier(n_estimators=10).fit(X, BINARY),
    "boosted text": lambda: GradientBoostingClassifier(n_estimators=10).fit(X, TEXT),
    "outliers": lambda: IsolationForest(n_estimators=10, random_state=0).fit(X),
}


@pytest.mark.parametrize("name", TREES)
def test_trees_answer_the_same(name: str, tmp_path: Path) -> None:
    file, spec = kept(tmp_path, TREES[name]())
    assert list(Trees().variants(opened(file, "sklearn", spec)[0])) == [{}]
    made, apart = disagreements(file, "sklearn", NARROW, spec)
    assert apart.pop("predict") < (NEAR if "numbers" in name else 1)
    assert max(apart.values(), default=0) < NEAR
    assert made.engines == ("onnx",), "OpenVINO has no tree operators"


def test_even_votes_fall_as_in_scikit_learn(tmp_path: Path) -> None:
    votes = forest().predict_proba(FRESH)[:, 0]
    assert (votes == 0.5).sum() > 20
    assert compared(tmp_path, forest(), NARROW)["predict"] == 0


def test_trees_take_missing_values(tmp_path: Path) -> None:
    model = RandomForestClassifier(10, random_state=0).fit(GAPS, THREE)
    assert max(compared(tmp_path, model, {"x": HOLES}).values()) < NEAR


@pytest.mark.parametrize("floats", ["fp64", "fp32"])
@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=8).fit(GAPS, BINARY),
        HistGradientBoostingClassifier(max_iter=8).fit(GAPS, TEXT),
        HistGradientBoostingRegressor(max_iter=8).fit(GAPS, NUMBER),
        HistGradientBoostingRegressor(max_iter=8, loss="poisson").fit(GAPS, np.exp(NUMBER / 4)),
    ],
    ids=["two", "text", "numbers", "counts"],
)
def test_histogram_boosting_answers_the_same(model: Any, floats: str, tmp_path: Path) -> None:
    inputs = {"x": HOLES.astype(np.float64)}
    assert max(compared(tmp_path, model, inputs, {"floats": floats}).values()) < NEAR


def test_histogram_boosting_with_categories_is_refused(tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features=[0])
    file, spec = kept(tmp_path, model.fit(np.abs(X).astype(int), NUMBER))
    source, _ = opened(file, "sklearn", spec)
    with pytest.raises(LoadFailed, match="categorical splits"):
        apply(source, DOUBLES, WIDE)


# -- what is plain arithmetic ------------------------------------------------------------------------

PLAIN: dict[str, Callable[[], Any]] = {
    "scaled": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, BINARY),
    "searched": lambda: GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2).fit(X, THREE),
    "least squares": lambda: LinearRegression().fit(X.astype(np.float64), NUMBER),
    "layers": lambda: MLPClassifier((8,), max_iter=40, random_state=0, tol=1).fit(X, THREE),
    "clusters": lambda: KMeans(3, n_init=1).fit(X.astype(np.float64)),
}


@pytest.mark.parametrize("floats", ["fp64", "fp32"])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_arithmetic_runs_on_every_engine(name: str, floats: str, tmp_path: Path) -> None:
    file, spec = kept(tmp_path, PLAIN[name]())
    source, session = opened(file, "sklearn", spec)
    inputs = {"x": FRESH.astype(np.float64 if source.signature.inputs[0].datatype == "FP64" else np.float32)}
    made, apart = disagreements(file, "sklearn", inputs, spec, {"floats": floats})
    assert max(apart.values()) < NEAR
    assert made.engines == (), "any that reads .onnx"
    other = OpenVinoEngine().open(ModelSpec(name="m"), made.file)
    assert session.signature == other.signature
    want, have = session.run(inputs)["predict"], other.run(inputs)["predict"]
    assert np.mean(np.abs(want - have) < NEAR * 10) > 0.99


def test_labels_may_be_text(tmp_path: Path) -> None:
    model = MLPClassifier((8,), max_iter=40, random_state=0, tol=1).fit(X.astype(np.float64), TEXT)
    assert compared(tmp_path, model, WIDE, DOUBLES)["predict"] == 0


def test_votes_are_converted_too(tmp_path: Path) -> None:
    voters = [("forest", RandomForestClassifier(5, random_state=0)), ("line", LogisticRegression())]
    model = VotingClassifier(voters, voting="soft").fit(X, THREE)
    assert max(compared(tmp_path, model, WIDE, DOUBLES).values()) < NEAR


def test_scores_of_two_classes_are_one_column(tmp_path: Path) -> None:
    outputs = (TensorSpec("decision_function", "FP64", (-1,)),)
    model = LogisticRegression().fit(X.astype(np.float64), BINARY)
    assert max(compared(tmp_path, model, WIDE, DOUBLES, outputs=outputs).values()) < NEAR


def test_a_classifier_without_probabilities_gives_labels(tmp_path: Path) -> None:
    model = LinearSVC().fit(X.astype(np.float64), BINARY)
    assert compared(tmp_path, model, WIDE, {"floats": "fp32"}) == {"predict": 0}


# -- columns and texts -------------------------------------------------------------------------------

CITIES = np.array(["Ulm", "Köln", "Bern"], object)
NAMES = ["a", "b", "probabilities", "width (cm)", "label"]
"""Some as skl2onnx calls its outputs."""
TABLE = pd.DataFrame(X.astype(np.float64), columns=NAMES).assign(
    city=CITIES[THREE[::-1]], age=(X[:, 0] * 10 + 40).astype(np.int64)
)
COLUMNS = (
    *(TensorSpec(name, "FP64", (-1,)) for name in NAMES[::-1]),
    TensorSpec("city", "BYTES", (-1,)),
    TensorSpec("age", "INT64", (-1, 1)),
)
ROWS: Tensors = {
    **{name: FRESH[:, at].astype(np.float64) for at, name in enumerate(NAMES)},
    "city": np.array([name.encode() for name in (*CITIES, "Rom")], object)[np.arange(1000) % 4],
    "age": (FRESH[:, :1] * 10 + 40).astype(np.int64),
}


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(10, random_state=0)])
def test_columns_of_a_table_are_inputs_by_name(last: Any, tmp_path: Path) -> None:
    choice = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["a", "label", "age"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    model = make_pipeline(choice, last).fit(TABLE, TEXT)
    apart = compared(tmp_path, model, ROWS, DOUBLES, inputs=COLUMNS)
    assert apart["predict"] == 0
    assert max(apart.values()) < NEAR


def test_columns_may_come_as_one_matrix(tmp_path: Path) -> None:
    choice = ColumnTransformer([("numbers", StandardScaler(), ["width (cm)", "b"])], remainder="passthrough")
    model = make_pipeline(choice, LogisticRegression()).fit(TABLE[NAMES], BINARY)
    assert max(compared(tmp_path, model, WIDE, DOUBLES).values()) < NEAR


def test_a_matrix_may_be_of_text(tmp_path: Path) -> None:
    rows = np.stack([CITIES[THREE], CITIES[THREE[::-1]]], 1)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, BINARY)
    inputs = (TensorSpec("x", "BYTES", (-1, 2)),)
    assert max(compared(tmp_path, model, {"x": rows}, inputs=inputs).values()) < NEAR


def test_words_are_found_as_before(tmp_path: Path) -> None:
    texts = ["Good fine dáy", "bad rainy ÜBER day", "so so it is", "fine bad mix", "a b c good", "", "!"]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    model.fit(texts * 4, [1, 0, 2, 0, 1, 2, 2] * 4)
    fresh = np.array([*texts, "unknown", "Good, day!", "über x-y_z"], object)
    apart = compared(tmp_path, model, {"x": fresh})
    assert apart["predict"] == 0
    assert max(apart.values()) < NEAR


def test_rows_of_zeros_do_not_become_nan(tmp_path: Path) -> None:
    zeros = np.where(np.arange(400)[:, None] % 3, X, 0).astype(np.float64)
    model = make_pipeline(Normalizer(), LogisticRegression()).fit(zeros, THREE)
    file, spec = kept(tmp_path, model)
    with pytest.raises(LoadFailed, match="NaN"):
        apply(opened(file, "sklearn", spec)[0], DOUBLES, {"x": zeros})
    _, apart = disagreements(file, "sklearn", {"x": zeros}, spec, {"floats": "fp32"})
    assert max(apart.values()) < NEAR


# -- what is not done --------------------------------------------------------------------------------


def test_an_output_that_is_not_converted_is_named(tmp_path: Path) -> None:
    outputs = (TensorSpec("predict_log_proba", "FP64", (-1, 2)),)
    file, spec = kept(tmp_path, LogisticRegression().fit(X.astype(np.float64), BINARY), outputs=outputs)
    with pytest.raises(LoadFailed, match="'predict_log_proba' of LogisticRegression is not converted"):
        apply(opened(file, "sklearn", spec)[0], DOUBLES, WIDE)


def test_pickles_are_loaded_only_where_they_are_trusted(tmp_path: Path) -> None:
    file = tmp_path / "model.joblib"
    joblib.dump(forest(), file)
    trusting = ModelSpec(name="m", instances=Instances(threads=1), sklearn=Sklearn(pickle=True))
    source, _ = opened(file, "sklearn", trusting)
    assert apply(source, {}, NARROW).packages == ("onnx", "skl2onnx")
    wary = type(source)(artefact=source.artefact, spec=ModelSpec(name="m"), signature=source.signature)
    with pytest.raises(LoadFailed, match="set `pickle = true`"):
        apply(wary, {"floats": "other"}, NARROW)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    file, spec = kept(tmp_path, forest())
    made = apply(opened(file, "sklearn", spec)[0], {}, NARROW)
    assert Trees().variants(opened(made.file, "onnx")[0]) == ()


def test_without_skl2onnx_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, spec = kept(tmp_path, forest())
    source, _ = opened(file, "sklearn", spec)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(LoadFailed, match=r"pip install 'penstock\[optimize\]'"):
        Trees().variants(source)


def test_any_number_of_rows_may_come(tmp_path: Path) -> None:
    file, spec = kept(tmp_path, forest())
    source, session = opened(file, "sklearn", spec)
    other = OnnxEngine().open(ModelSpec(name="m"), apply(source, {}, NARROW).file)
    for rows in (0, 1, 17):
        want, have = (each.run({"x": FRESH[:rows]})["predict"] for each in (session, other))
        assert want.tolist() == have.tolist()
