import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from penstock.core.errors import BadSetting
from penstock.optimize import metrics


def ones(rows):
    return np.ones((1, rows))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_f1_is_scikit_learns(rng):
    labels = rng.integers(0, 5, 200)
    told = np.where(rng.random(200) < 0.3, rng.integers(0, 5, 200), labels)
    coded = metrics.codes(labels, told)
    expected = f1_score(labels, told, average="macro")
    assert np.isclose(expected, metrics.f1(coded[1], coded[0], ones(200))[0])


def test_auc_is_scikit_learns_with_ties_and_weights(rng):
    labels = rng.integers(0, 2, 300)
    scores = np.round(labels + rng.normal(size=300), 1)
    weights = rng.integers(0, 4, (3, 300)).astype(float)
    expected = [roc_auc_score(labels, scores, sample_weight=each) for each in weights]
    assert np.allclose(expected, metrics.auc(scores, labels, weights))


def test_classes_come_from_the_label_output_before_scores():
    outputs = {
        "probabilities": np.zeros((4, 3), "f4"),
        "count": np.zeros(4, "i8"),
        "label": np.zeros(4, "i8"),
    }
    assert metrics.classes(outputs, np.zeros(4, int))[0] == "label"


def test_classes_are_the_best_scores_where_there_is_no_label_output():
    outputs = {"logits": np.array([[0.1, 0.9], [2.0, 1.0]], "f4")}
    name, read = metrics.classes(outputs, np.array([1, 0]))
    assert (name, read(outputs["logits"]).tolist()) == ("logits", [1, 0])


@pytest.mark.parametrize("labels", [np.array([1, 2, 3]), np.array(["a", "b", "c"]), np.array([0, -1, 1])])
def test_labels_must_be_numbers_of_the_scores(labels):
    with pytest.raises(BadSetting, match="'logits' has 3 scores; labels must be the numbers 0 to 2"):
        metrics.classes({"logits": np.zeros((3, 3), "f4")}, labels)


def test_no_fitting_output_says_what_there_is():
    with pytest.raises(BadSetting, match=r"no output holds classes.*have x float32 \[3\]"):
        metrics.classes({"x": np.zeros(3, "f4")}, np.zeros(3, int))


def test_two_scores_are_read_as_their_difference():
    outputs = {"p": np.array([[0.2, 0.8], [0.9, 0.1]], "f4")}
    _, read = metrics.scores(outputs, np.array([1, 0]))
    assert np.allclose([0.6, -0.8], read(outputs["p"]))


def test_auc_wants_two_classes():
    with pytest.raises(BadSetting, match="just two values"):
        metrics.scores({"p": np.zeros(3, "f4")}, np.array([0, 1, 2]))


def test_values_want_as_many_numbers_as_the_labels():
    outputs = {"n": np.zeros(3, "i8"), "box": np.zeros((3, 4), "f4"), "y": np.zeros((3, 1), "f4")}
    assert metrics.values(outputs, np.zeros(3))[0] == "y"
    assert metrics.values(outputs, np.zeros((3, 4)))[0] == "box"
    with pytest.raises(BadSetting, match="2 numbers a row"):
        metrics.values(outputs, np.zeros((3, 2)))
    with pytest.raises(BadSetting, match="labels are text"):
        metrics.values(outputs, np.array(["a", "b", "c"]))


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        ({"logits": np.zeros((4, 3), "f4")}, np.array([0, 1, 2, 1]), "accuracy"),
        ({"logits": np.zeros((4, 3), "f4")}, np.array([0.0, 1.0, 2.0, 1.0]), "accuracy"),
        ({"label": np.array([b"a"] * 4, object)}, np.array(["a", "b", "a", "a"]), "accuracy"),
        ({"p": np.zeros((4, 1), "f4")}, np.array([0, 1, 1, 0]), "auc"),
        ({"y": np.zeros((4, 1), "f4")}, np.array([0, 1, 5, 0]), "mae"),
        ({"y": np.zeros(4, "f4")}, np.array([0.5, 1, 5, 0]), "mae"),
        ({"y": np.zeros((4, 2), "f4")}, np.zeros((4, 2)), "mae"),
    ],
)
def test_the_usual_metric_goes_by_labels_and_outputs(outputs, labels, expected):
    assert metrics.usual(outputs, labels) == expected


def test_text_and_numbers_are_compared_as_text():
    told = np.array([b"1", b"2", b"x"], object)
    assert metrics.right(told, np.array([1, 3, 3])).tolist() == [True, False, False]
    assert metrics.codes(np.array(["a", "b"]), np.array([b"b", b"z"], object))[1].tolist() == [1, -1]


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(BadSetting, match=r"no metric 'acuracy'.*accuracy"):
        metrics.reads("acuracy")


@pytest.fixture
def mine(monkeypatch):
    module = ModuleType("mine_of_a_user")
    module.hits = lambda outputs, labels: float((outputs["y"] == labels).mean())
    module.broken = lambda outputs, labels: outputs["nope"]
    monkeypatch.setitem(sys.modules, "mine_of_a_user", module)
    return module


def test_a_users_function_sees_each_row_as_often_as_drawn(mine):
    value = metrics.weighted(metrics.own("mine_of_a_user:hits"), "hits")
    told, labels = {"y": np.array([1, 1, 1])}, np.array([1, 0, 0])
    assert value(told, labels, np.array([[1.0, 1, 1], [3, 1, 0]])).tolist() == [1 / 3, 0.75]


def test_a_users_function_that_raises_is_named(mine):
    value = metrics.weighted(metrics.own("mine_of_a_user:broken"), "mine_of_a_user:broken")
    with pytest.raises(BadSetting, match=r"mine_of_a_user:broken.*KeyError"):
        value({"y": np.array([1])}, np.array([1]), ones(1))


def test_a_users_function_that_is_not_there_is_named():
    with pytest.raises(BadSetting, match="cannot be imported"):
        metrics.own("no_such_module:f")


def test_a_quick_function_is_resampled_in_full(mine):
    value = metrics.weighted(metrics.own("mine_of_a_user:hits"), "hits")
    assert metrics.affordable(value, {"y": np.array([1])}, np.array([1])) == 2000
