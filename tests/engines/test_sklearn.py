"""scikit-learn sessions: files and trust, what models take and give, threads."""

import logging
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import threadpoolctl
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec, Sklearn, TensorSpec
from penstock.engines.sklearn import SklearnEngine
from penstock.engines.tabular import TableSession

X = np.random.default_rng(0).standard_normal((60, 4))
Y = (X[:, 0] > 0).astype(int)
NAMES = np.array(["no", "yés"])[Y]
TREE = "sklearn.tree._tree.Tree"


def load(
    folder: Path, model: Any, threads: int = 1, trusted: tuple[str, ...] = (TREE,), **spec: Any
) -> TableSession:
    skops.io.dump(model, folder / "model.skops")
    instances = Instances(threads=threads)
    settings = ModelSpec(name="m", instances=instances, sklearn=Sklearn(trusted=trusted), **spec)
    return SklearnEngine().open(settings, folder)


def told(session: TableSession) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {each.name: (each.datatype, each.shape) for each in session.signature.outputs}


# -- what models take and give -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "target", "outputs"),
    [
        (LogisticRegression(), Y, {"predict": ("INT64", (-1,)), "predict_proba": ("FP64", (-1, 2))}),
        (LogisticRegression(), NAMES, {"predict": ("BYTES", (-1,)), "predict_proba": ("FP64", (-1, 2))}),
        (LogisticRegression(), Y > 0, {"predict": ("BOOL", (-1,)), "predict_proba": ("FP64", (-1, 2))}),
        (LinearRegression(), X[:, 0], {"predict": ("FP64", (-1,))}),
        (LinearRegression(), X[:, :2], {"predict": ("FP64", (-1, 2))}),
        (SVC(), Y, {"predict": ("INT64", (-1,))}),
        (KMeans(2, n_init=1), None, {"predict": ("INT32", (-1,))}),
        (PCA(2), None, {"transform": ("FP64", (-1, 2))}),
        (
            MultiOutputClassifier(LogisticRegression()),
            np.stack([Y, 1 - Y], 1),
            {"predict": ("INT64", (-1, 2))},
        ),
        (
            GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2),
            Y,
            {"predict": ("INT64", (-1,)), "predict_proba": ("FP64", (-1, 2))},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_models_methods_are_its_outputs(model: Any, target: Any, outputs: Any, tmp_path: Path) -> None:
    model.fit(X, target)
    session = load(tmp_path, model, trusted=tuple(skops.io.get_untrusted_types(data=skops.io.dumps(model))))
    assert (TensorSpec("x", "FP64", (-1, 4)),) == session.signature.inputs
    assert outputs == told(session)
    got = session.run({"x": X[:3]})
    for name, (datatype, shape) in outputs.items():
        want = getattr(model, name)(X[:3])
        here = [v.decode() for v in got[name]] if datatype == "BYTES" else got[name]
        assert (True, (3, *shape[1:])) == (np.array_equal(want, here), got[name].shape)


def test_no_rows_are_answered_without_the_model_which_would_refuse(tmp_path: Path) -> None:
    got = load(tmp_path, LogisticRegression().fit(X, NAMES)).run({"x": X[:0]})
    assert {name: array.shape for name, array in got.items()} == {"predict": (0,), "predict_proba": (0, 2)}


def test_only_what_is_asked_for_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(tmp_path, LogisticRegression().fit(X, Y))

    def never(self: Any, x: Any) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(LogisticRegression, "predict_proba", never)
    assert list(session.run({"x": X[:2]}, ("predict",))) == ["predict"]


def test_what_computes_in_fp32_takes_it(tmp_path: Path) -> None:
    half = X.astype(np.float32)
    for model in (RandomForestClassifier(3), LinearRegression()):
        session = load(tmp_path, model.fit(half, Y.astype(np.float32)))
        assert session.signature.inputs[0].datatype == "FP32"
        assert np.array_equal(model.predict(half), session.run({"x": half})["predict"])


def test_declared_outputs_may_be_other_methods(tmp_path: Path) -> None:
    model = IsolationForest(n_estimators=3).fit(X)
    session = load(tmp_path, model, outputs=(TensorSpec("score_samples", "FP64", (-1,)),))
    got = session.run({"x": X.astype(np.float32)})
    assert (
        list(got),
        np.allclose(model.score_samples(X), got["score_samples"], atol=1e-3),
    ) == (["score_samples"], True)
    with pytest.raises(BadSetting, match=r"'predict_prob' is declared; .* did you mean 'predict'"):
        load(tmp_path, model, outputs=(TensorSpec("predict_prob", "FP64", (-1,)),))


def test_a_pipeline_that_begins_with_text_takes_a_vector_of_it(tmp_path: Path) -> None:
    texts = ["good day", "bad day", "söme good"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1] * 5)
    session = load(tmp_path, model)
    assert session.signature.inputs == (TensorSpec("x", "BYTES", (-1,)),)
    given = np.array([text.encode() for text in texts], object)
    assert np.array_equal(model.predict(texts), session.run({"x": given})["predict"])
    with pytest.raises(InvalidRequest, match="'x' has bytes that are not UTF-8"):
        session.run({"x": np.array([b"\xff"], object)})
    with pytest.raises(BadSetting, match=r"one vector of texts: declare one input, BYTES of shape \[-1\]"):
        load(tmp_path, model, inputs=(TensorSpec("x", "FP32", (-1, 4)),))


def test_what_is_sparse_comes_out_dense(tmp_path: Path) -> None:
    texts = ["good day", "bad day"]
    model = TfidfVectorizer().fit(texts)
    got = load(tmp_path, model).run({"x": np.array([b"good day", b"bad day"], object)})
    assert np.array_equal(model.transform(texts).toarray(), got["transform"])


# -- columns -----------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"age": [1.0, 2, 3, 4] * 5, "city": ["a", "b", "ä", "c"] * 5, "n": [1, 2, 3, 4] * 5})
COLUMNS = (
    TensorSpec("city", "BYTES", (-1,)),
    TensorSpec("n", "INT64", (-1, 1)),
    TensorSpec("age", "FP64", (-1,)),
)
GIVEN = {
    "city": np.array([v.encode() for v in FRAME["city"]], object),
    "n": FRAME["n"].to_numpy()[:, None],
    "age": FRAME["age"].to_numpy(),
}


def by_columns(**encoder: Any) -> Any:
    parts = [("c", OneHotEncoder(**encoder), ["city"]), ("n", StandardScaler(), ["age", "n"])]
    return make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(FRAME, ["x", "y", "x", "y"] * 5)


def test_declared_columns_become_a_data_frame(tmp_path: Path) -> None:
    model = by_columns()
    session = load(tmp_path, model, inputs=COLUMNS)
    got = session.run(GIVEN)
    assert session.signature.inputs == COLUMNS
    assert told(session) == {"predict": ("BYTES", (-1,)), "predict_proba": ("FP64", (-1, 2))}
    assert list(model.predict(FRAME)) == [v.decode() for v in got["predict"]]
    assert np.array_equal(model.predict_proba(FRAME), got["predict_proba"])


def test_what_a_run_warns_of_is_no_noise(tmp_path: Path) -> None:
    session = load(tmp_path, by_columns(handle_unknown="warn"), inputs=COLUMNS)
    assert session.run(GIVEN | {"city": np.array([b"new"] * 20, object)})["predict"].shape == (20,)


def test_columns_must_be_those_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="'city', 'n' are declared; the model's columns are age, city, n"):
        load(tmp_path, by_columns(), inputs=COLUMNS[:2])


def test_a_matrix_for_a_model_of_a_data_frame_gets_its_names(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME[["age", "n"]], [0, 1, 0, 1] * 5)
    got = load(tmp_path, model).run({"x": FRAME[["age", "n"]].to_numpy()})
    assert np.array_equal(model.predict(FRAME[["age", "n"]]), got["predict"])


def test_columns_without_names_come_in_the_order_of_their_declaration(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    session = load(tmp_path, model, inputs=tuple(TensorSpec(n, "FP64", (-1,)) for n in "dcba"))
    got = session.run({name: X[:, i] for i, name in enumerate("dcba")})
    assert np.array_equal(model.predict_proba(X), got["predict_proba"])


# -- files and trust ---------------------------------------------------------------------------------


def test_types_that_are_not_trusted_are_named_and_may_be_trusted(tmp_path: Path) -> None:
    model = RandomForestClassifier(3).fit(X, Y)
    with pytest.raises(LoadFailed, match=rf"are not trusted: {TREE}; .*`trusted` under \[sklearn\]"):
        load(tmp_path, model, trusted=())
    assert load(tmp_path, model, trusted=(TREE,)).platform == "sklearn"


@pytest.mark.parametrize("file", ["model.pkl", "model.joblib"])
def test_a_pickle_is_loaded_only_where_the_settings_trust_it(file: str, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    joblib.dump(model, tmp_path / file)
    with pytest.raises(LoadFailed, match=rf"{file} is read as a pickle, .*`pickle = true`"):
        SklearnEngine().open(ModelSpec(), tmp_path)
    session = SklearnEngine().open(ModelSpec(sklearn=Sklearn(pickle=True)), tmp_path)
    assert np.array_equal(model.predict(X), session.run({"x": X})["predict"])


def test_a_pickle_of_no_model_is_refused(tmp_path: Path) -> None:
    joblib.dump({"weights": 1}, tmp_path / "model.pkl")
    with pytest.raises(LoadFailed, match="the file holds dict, which has neither predict nor transform"):
        SklearnEngine().open(ModelSpec(sklearn=Sklearn(pickle=True)), tmp_path)


@pytest.mark.parametrize("file", ["model.skops", "model.pkl"])
@pytest.mark.parametrize("size", [0, 10, 300, -1])
def test_a_file_that_is_cut_off_is_refused(file: str, size: int, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    raw = skops.io.dumps(model) if file == "model.skops" else _pickled(model, tmp_path)
    (tmp_path / file).write_bytes(raw[:size])
    with pytest.raises(LoadFailed, match=rf"^{file} cannot be loaded: .") as caught:
        SklearnEngine().open(ModelSpec(sklearn=Sklearn(pickle=True)), tmp_path / file)
    assert ("\n" in str(caught.value), str(tmp_path) in str(caught.value)) == (False, False)


def _pickled(model: Any, folder: Path) -> bytes:
    joblib.dump(model, folder / "whole")
    return (folder / "whole").read_bytes()


@pytest.mark.parametrize("file", ["model.skops", "model.pkl"])
def test_another_version_of_scikit_learn_is_one_line_of_the_log(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as past:
        past.setattr("sklearn.base.__version__", "1.2.0")
        model = RandomForestClassifier(3).fit(X, Y)
        (skops.io.dump if file == "model.skops" else joblib.dump)(model, tmp_path / file)
    with caplog.at_level(logging.WARNING):
        SklearnEngine().open(ModelSpec(name="m", sklearn=Sklearn(pickle=True, trusted=(TREE,))), tmp_path)
    assert len(caplog.messages) == 1
    assert f"model 'm': {file}: saved by scikit-learn 1.2.0 and loaded by" in caplog.text


def test_another_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="scikit-learn models are run on the CPU alone, not on cuda:0; use"):
        load(tmp_path, LogisticRegression().fit(X, Y), device="cuda:0")


# -- threads -----------------------------------------------------------------------------------------


def test_jobs_and_pools_are_those_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def predict(self: Any, x: Any) -> Any:
        seen["jobs"] = self.n_jobs
        seen["pools"] = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
        return np.zeros(len(x), np.int64)

    monkeypatch.setattr(RandomForestClassifier, "predict", predict)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3, n_jobs=-1)).fit(X, Y)
    with threadpoolctl.threadpool_limits():
        for threads in (2, 1):
            session = load(tmp_path, model, threads=threads)
            session.run({"x": X}, ("predict",))
            assert (threads, threads, {threads}) == (session.threads, seen["jobs"], seen["pools"])
