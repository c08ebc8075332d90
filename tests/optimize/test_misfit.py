"""Labels that cannot tell good answers from bad ones."""

import numpy as np
import pytest

from penstock.core.errors import BadSetting
from penstock.optimize.accuracy import check
from penstock.optimize.samples import Samples

ROWS = 800
NAMES = np.array(["setosa", "versicolor", "virginica"], object)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def right(rng):
    return rng.integers(0, 3, ROWS)


def one(**outputs):
    return Samples((outputs,))


def scores(classes):
    return np.eye(3, dtype="f4")[classes]


def test_labels_of_the_rows_raise_no_doubt(right):
    told = np.where(np.arange(ROWS) % 10, right, (right + 1) % 3)
    for outputs, labels in (
        ({"label": told}, right),
        ({"p": scores(told)}, right),
        ({"label": NAMES[told]}, NAMES[right]),
    ):
        assert check(one(**outputs), labels) == ""


def test_names_for_numbers_are_refused_with_what_both_are(right):
    with pytest.raises(
        BadSetting, match=r"labels are 'setosa', 'versicolor', 'virginica', answers are 0, 1, 2;"
    ):
        check(one(label=right), NAMES[right])


@pytest.mark.parametrize(
    "labels", [lambda right, rng: rng.permutation(right), lambda right, _: (right + 1) % 3]
)
def test_labels_of_other_rows_are_refused(right, rng, labels):
    with pytest.raises(BadSetting, match=r"labels seem to be of other rows; give each row its own"):
        check(one(p=scores(right)), labels(right, rng))


def test_with_few_rows_it_may_be_bad_luck_and_is_said(right):
    told = check(one(p=scores(right[:40])), (right[:40] + 1) % 3)
    assert told.startswith("the original is right on 0.0% of 40 rows; one answer for all would be on ")


def test_a_rare_class_that_is_found_at_a_price_is_said(rng):
    """One row in a hundred; all are found, and more than as many others are taken for such."""
    labels = np.arange(1000) % 100 == 0
    told = labels.copy()
    told[1:25] = True
    assert "so accuracy tells little; --metric f1" in check(one(label=told.astype(int)), labels.astype(int))


def test_an_original_that_never_says_the_rare_class_is_said():
    labels = (np.arange(1000) % 100 == 0).astype(int)
    said = check(one(label=np.zeros(1000, int)), labels)
    assert said.startswith(
        "the original is right on 99.0% of 1000 rows; one answer for all would be on 99.0%"
    )


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, ""), (0.9, ""), (0.1, "all labels are 1, but the original says so in 10% of")]
)
def test_rows_of_one_class_are_data_like_others(share, said):
    told = (np.arange(ROWS) < share * ROWS).astype(int)
    assert check(one(label=told), np.ones(ROWS, int)).startswith(said)
    assert bool(said) == bool(check(one(label=told), np.ones(ROWS, int)))


def test_scores_that_are_the_other_way_round_are_refused(rng):
    labels = rng.integers(0, 2, ROWS)
    told = labels + rng.normal(size=ROWS)
    assert check(one(y=told), labels) == ""
    with pytest.raises(BadSetting, match=r"rows labelled 1 score no higher .* or the other way round"):
        check(one(y=told), 1 - labels)
    assert "by chance" in check(one(y=rng.normal(size=40)), labels[:40], "auc")


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_numbers_of_other_rows_or_in_another_unit_are_refused(rng, metric):
    labels = 50 + 10 * rng.normal(size=ROWS)
    told = labels + rng.normal(size=ROWS)
    assert check(one(y=told), labels, metric) == ""
    with pytest.raises(BadSetting, match="labels seem to be of other rows"):
        check(one(y=told), rng.permutation(labels), metric)
    with pytest.raises(BadSetting, match="labels seem to be in another unit"):
        check(one(y=told), 100 * labels, metric)
    assert "tells little" in check(one(y=told + 12), labels, metric)


def test_what_is_not_judged_by_labels_or_by_a_metric_of_ones_own_is_not_looked_at(right):
    for metric in ("top1", "somebody:metric"):
        assert check(one(p=scores(right)), (right + 1) % 3, metric) == ""
    assert check(one(p=scores(right)), None) == ""
