"""LightGBM sessions: objectives, files, threads that keep out of each other's way."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import lightgbm
import numpy as np
import pytest

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.spec import Instances, ModelSpec, TensorSpec
from penstock.engines.lightgbm import LightGbmEngine, _Width
from penstock.engines.tabular import TableSession

X = np.random.default_rng(0).standard_normal((200, 4))
BINARY = (X[:, 0] > 0).astype(int)
THREE = BINARY + (X[:, 1] > 0)


def train(target: Any = BINARY, names: Any = "auto", **settings: Any) -> Any:
    data = lightgbm.Dataset(X, target, feature_name=names)
    return lightgbm.train({"num_threads": 1, "verbosity": -1} | settings, data, 5)


def load(folder: Path, booster: Any, threads: int = 1, **spec: Any) -> TableSession:
    booster.save_model(folder / "model.txt")
    return LightGbmEngine().open(ModelSpec(name="m", instances=Instances(threads=threads), **spec), folder)


@pytest.mark.parametrize(
    ("settings", "target", "outputs"),
    [
        ({"objective": "binary"}, BINARY, {"predict": ("INT64", (-1,)), "predict_proba": ("FP64", (-1, 2))}),
        (
            {"objective": "multiclass", "num_class": 3},
            THREE,
            {"predict": ("INT64", (-1,)), "predict_proba": ("FP64", (-1, 3))},
        ),
        ({"objective": "regression"}, X[:, 0], {"predict": ("FP64", (-1,))}),
        ({"objective": "cross_entropy"}, BINARY, {"predict": ("FP64", (-1,))}),
    ],
)
def test_an_objective_tells_what_comes_out(settings: Any, target: Any, outputs: Any, tmp_path: Path) -> None:
    session = load(tmp_path, train(target, **settings))
    assert outputs == {o.name: (o.datatype, o.shape) for o in session.signature.outputs}
    assert session.signature.inputs == (TensorSpec("x", "FP64", (-1, 4)),)
    for rows in (0, 3):
        got = session.run({"x": X[:rows]})
        assert {name: (rows, *shape[1:]) for name, (_, shape) in outputs.items()} == {
            name: array.shape for name, array in got.items()
        }


@pytest.mark.parametrize("target", [BINARY, THREE], ids=["binary", "multi"])
def test_answers_are_those_of_the_classifier_that_was_saved(target: Any, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbosity=-1).fit(X, target)
    got = load(tmp_path, model.booster_).run({"x": X})
    assert np.array_equal(model.booster_.predict(X).round(9), _positive(got["predict_proba"]).round(9))
    assert np.array_equal(np.argmax(got["predict_proba"], axis=1), got["predict"])


def _positive(proba: Any) -> Any:
    return proba[:, 1] if proba.shape[1] == 2 else proba


def test_a_custom_objective_gives_its_values(tmp_path: Path) -> None:
    def squares(scores: Any, data: Any) -> Any:
        return scores - data.get_label(), np.ones_like(scores)

    booster = train(X[:, 0], objective=squares)
    got = load(tmp_path, booster).run({"x": X})
    assert (list(got), np.allclose(booster.predict(X), got["predict"])) == (["predict"], True)


def test_named_columns_are_put_into_the_models_order(tmp_path: Path) -> None:
    booster = train(names=["a", "b", "c", "d"])
    session = load(tmp_path, booster, inputs=tuple(TensorSpec(n, "FP64", (-1,)) for n in "dcba"))
    got = session.run({name: X[:5, i] for i, name in enumerate("abcd")})
    assert np.allclose(booster.predict(X[:5]), got["predict"])
    with pytest.raises(BadSetting, match="the model's columns are a, b, c, d"):
        load(tmp_path, booster, inputs=tuple(TensorSpec(n, "FP64", (-1,)) for n in "abc"))


def test_a_declared_datatype_is_taken(tmp_path: Path) -> None:
    session = load(tmp_path, train(), inputs=(TensorSpec("x", "FP32", (-1, 4)),))
    assert session.run({"x": X[:2].astype(np.float32)})["predict"].shape == (2,)


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.3, 0.5])
def test_a_file_that_is_cut_off_is_refused_before_it_can_end_the_process(
    part: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    booster = train()
    booster.save_model(tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text()
    trees = text[: text.index("end of trees")]
    (tmp_path / "model.txt").write_text(trees[: int(len(trees) * part)])
    with pytest.raises(LoadFailed, match=r"^LightGBM refuses model.txt: .") as caught:
        LightGbmEngine().open(ModelSpec(), tmp_path)
    assert (str(tmp_path) in str(caught.value), capfd.readouterr().err) == (False, "")


def test_a_tree_that_is_not_where_the_header_says_is_named(tmp_path: Path) -> None:
    train().save_model(tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text().replace("num_cat=0\n", "num_cat=00\n", 1)
    (tmp_path / "model.txt").write_text(text)
    with pytest.raises(LoadFailed, match="tree 1 is not where the header says"):
        LightGbmEngine().open(ModelSpec(), tmp_path)


@pytest.mark.parametrize("junk", [b"hello", b"{}", b"\xff" * 100, b"tree\nversion=v4\n\n\xff"])
def test_a_file_of_something_else_is_refused(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(junk)
    with pytest.raises(LoadFailed, match=r"^LightGBM refuses model.txt: .") as caught:
        LightGbmEngine().open(ModelSpec(), tmp_path)
    assert str(tmp_path) not in str(caught.value)


# -- threads -----------------------------------------------------------------------------------------


def test_models_of_several_thread_counts_run_side_by_side(tmp_path: Path) -> None:
    """The count is one variable of the library: without turns, this writes behind buffers."""
    booster = train(THREE, objective="multiclass", num_class=3)
    want = booster.predict(X)
    sessions = [load(tmp_path, booster, threads=n) for n in (1, 2, 4, 1)]

    def many(session: TableSession) -> bool:
        runs = (session.run({"x": X}, ("predict_proba",))["predict_proba"] for _ in range(100))
        return all(np.array_equal(want, each) for each in runs)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(many, sessions * 2)) == [True] * 8


def test_runs_of_one_thread_count_do_not_wait_for_each_other() -> None:
    width = _Width()
    with width(2), width(2):
        pass


def test_who_waits_for_another_count_comes_before_those_who_come_later() -> None:
    width, order, waits = _Width(), [], Event()

    def run(threads: int, name: str) -> None:
        waits.set()
        with width(threads):
            order.append(name)

    with width(1):
        other = Thread(target=run, args=(2, "other"))
        other.start()
        waits.wait()
        while not width._turn.locked():
            pass
        late = Thread(target=run, args=(1, "late"))
        late.start()
        late.join(0.05)
        assert order == []
    other.join()
    late.join()
    assert order == ["other", "late"]
