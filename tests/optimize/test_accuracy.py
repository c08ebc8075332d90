import sys
from types import ModuleType

import numpy as np
import pytest

from penstock.core.errors import BadSetting
from penstock.optimize.accuracy import FINITE, judge
from penstock.optimize.samples import Samples


def one(**outputs):
    return Samples((outputs,))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def spoiled(labels, count):
    told = labels.copy()
    told[:count] = (told[:count] + 1) % 3
    return told


@pytest.fixture
def labels(rng):
    return rng.integers(0, 3, 600)


def test_accuracy_that_did_not_fall_passes(labels):
    before, after = one(label=spoiled(labels, 30)), one(label=spoiled(labels, 31))
    found = judge(before, after, labels)
    assert (found.metric, found.rows, found.passed, found.why) == ("accuracy", 600, True, "")
    assert (round(found.reference, 4), round(found.value, 4)) == (0.95, 0.9483)
    assert 0 < found.drop < found.upper <= 0.01


def test_accuracy_that_fell_says_by_how_much(labels):
    found = judge(one(label=labels), one(label=spoiled(labels, 20)), labels)
    assert not found.passed
    assert found.why == "the drop is 0.0333 (up to 0.0476 at 95 %), more than 0.01"


def test_a_better_candidate_has_a_negative_drop(labels):
    found = judge(one(label=spoiled(labels, 30)), one(label=labels), labels)
    assert (round(found.drop, 3), found.passed) == (-0.05, True)


def test_too_few_rows_say_how_many_would_do():
    labels = np.zeros(120, int)
    found = judge(one(label=labels), one(label=labels), labels)
    assert found.why == (
        "too few rows to prove it: 120 rows bound the drop at 0.0247; 299 without a difference would do"
    )


def test_a_floor_of_nothing_is_never_proven_by_shares_of_rows(labels):
    found = judge(one(label=labels), one(label=labels), labels, max_drop=0.0)
    assert found.why == "600 rows bound the drop at 0.00498; a floor of 0 is proven by no number of rows"


def test_enough_rows_that_leave_it_open_say_so(labels):
    found = judge(one(label=labels), one(label=spoiled(labels, 4)), labels)
    assert found.why == "the drop is 0.00667, but may be 0.0148 at 95 % on 600 rows, more than 0.01"


def test_labels_follow_rows_over_groups():
    before = Samples(({"y": np.array([0, 1])}, {"y": np.array([2])}))
    after = Samples(({"y": np.array([0, 1])}, {"y": np.array([0])}))
    found = judge(before, after, np.array([0, 1, 2]))
    assert (found.reference, round(found.value, 3)) == (1.0, 0.667)


def test_f1_and_accuracy_are_asked_for_by_name(labels):
    found = judge(one(label=labels), one(label=spoiled(labels, 20)), labels, "f1")
    assert found.metric == "f1"
    assert found.reference == 1.0
    assert 0.02 < found.drop < 0.05 < found.upper + 0.02


def test_auc_of_two_classes(rng):
    labels = rng.integers(0, 2, 500)
    scores = (labels + rng.normal(size=500)).astype("f4")
    found = judge(one(y=scores), one(y=scores * 2 + 1), labels)
    assert (found.metric, found.drop, found.passed) == ("auc", 0.0, True)
    assert not judge(one(y=scores), one(y=-scores), labels).passed


@pytest.mark.parametrize(("metric", "expected"), [("", 0.02), ("mae", 0.02), ("rmse", 0.02), ("r2", 0.0)])
def test_errors_drop_by_the_part_by_which_they_grow(rng, metric, expected):
    labels = rng.normal(size=400) * 5
    off = rng.normal(size=400)
    found = judge(one(y=labels + off), one(y=labels + 1.02 * off), labels, metric, max_drop=0.03)
    assert abs(found.drop - expected) < 2e-3
    assert found.drop < found.upper
    assert found.passed


def test_an_original_without_errors_divides_nothing_by_zero(rng):
    labels = rng.normal(size=400)
    found = judge(one(y=labels), one(y=labels + 1e-6), labels, "rmse")
    assert found.passed
    assert not judge(one(y=labels), one(y=labels + 0.1), labels, "rmse").passed


def test_a_users_metric_is_judged_by_resampling(monkeypatch, labels):
    module = ModuleType("judged_by_a_user")
    module.hits = lambda outputs, labels: float((outputs["label"] == labels).mean())
    monkeypatch.setitem(sys.modules, "judged_by_a_user", module)
    found = judge(one(label=labels), one(label=spoiled(labels, 20)), labels, "judged_by_a_user:hits")
    usual = judge(one(label=labels), one(label=spoiled(labels, 20)), labels, "accuracy")
    assert found.drop == pytest.approx(usual.drop)
    assert found.upper == pytest.approx(usual.upper, rel=0.15)


def test_a_metric_of_labels_without_them_says_what_would_do():
    with pytest.raises(BadSetting, match="metric 'f1' needs labels"):
        judge(one(y=np.zeros(3, int)), one(y=np.zeros(3, int)), None, "f1")


def test_as_many_labels_as_rows():
    with pytest.raises(ValueError, match="2 labels for 3 rows"):
        judge(one(y=np.zeros(3, int)), one(y=np.zeros(3, int)), np.zeros(2))


# -- without labels -----------------------------------------------------------------------------------


def test_without_labels_every_output_must_pass_and_the_worst_is_named(rng):
    scores = rng.dirichlet(np.ones(3), 400)
    values = rng.normal(size=400)
    before = one(scores=scores, value=values)
    assert judge(before, before).metric == "top1 of scores"
    found = judge(before, one(scores=scores, value=values + 0.5))
    assert (found.metric, found.passed) == ("relative of value", False)


def test_an_asked_measure_is_taken_of_what_it_fits(rng):
    before = one(label=np.zeros(400, int), logits=rng.normal(size=(400, 5)))
    found = judge(before, before, metric="top1")
    assert (found.metric, found.passed) == ("top1", True)


def test_a_measure_that_fits_nothing_is_refused():
    with pytest.raises(BadSetting, match="metric 'top1' fits none of the outputs y"):
        judge(one(y=np.zeros(3)), one(y=np.zeros(3)), metric="top1")


def test_what_is_alike_passes_and_what_is_not_does_not(rng):
    ours = rng.normal(size=(300, 64)).astype("f4")
    near = ours + 0.02 * rng.normal(size=ours.shape).astype("f4")
    assert judge(one(y=ours), one(y=near)).passed
    far = judge(one(y=ours), one(y=ours + 0.6 * rng.normal(size=ours.shape).astype("f4")))
    assert not far.passed
    assert far.others["cosine"] < 0.95


def test_a_silent_collapse_is_found(rng):
    """As NNCF's mixed preset with full bias correction did: cosine 0.85, and no error."""
    ours = rng.normal(size=(300, 64))
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    wrong = rng.normal(size=ours.shape)
    wrong /= np.linalg.norm(wrong, axis=1, keepdims=True)
    found = judge(one(y=ours), one(y=0.85 * ours + (1 - 0.85**2) ** 0.5 * wrong))
    assert not found.passed
    assert found.why.startswith("the drop is 0.1")


def test_no_numbers_fail_whatever_the_metric(labels):
    scores = np.eye(3, dtype="f4")[labels]
    after = scores.copy()
    after[7] = np.nan
    for found in (judge(one(y=scores), one(y=after)), judge(one(y=scores), one(y=after), labels)):
        assert (found.passed, found.drop, found.upper) == (False, 1.0, 1.0)
        assert found.why == "output 'y' is no number in 1 rows in which the original's is"


def test_hidden_positions_do_not_count(rng):
    ours = rng.normal(size=(100, 6, 8)).astype("f4")
    mask = np.tile([1, 1, 1, 1, 0, 0], (100, 1))
    theirs = ours.copy()
    theirs[:, 4:] = 9
    inputs = one(attention_mask=mask, input_ids=np.zeros((100, 6), int))
    assert judge(one(y=ours), one(y=theirs), inputs=inputs).passed
    assert not judge(one(y=ours), one(y=theirs)).passed


def test_likeness_is_told_beside_the_metric(rng, labels):
    scores = rng.normal(size=(600, 3))
    found = judge(one(y=scores), one(y=scores), labels)
    assert found.others == pytest.approx({"top1": 1.0, "cosine": 1.0, "ranking": 1.0})


def distinct(outputs, labels):
    """A metric that has no value where a row is drawn twice."""
    if len(np.unique(outputs["y"][:, 0])) < len(labels):
        raise ValueError("the same row twice")
    return 1.0


def test_a_metric_without_values_on_resamples_proves_nothing():
    answers = Samples(({"y": np.random.default_rng(0).random((100, 3))},))
    found = judge(answers, answers, np.zeros(100), f"{__name__}:distinct", max_drop=1.0)
    assert (found.metric, found.passed) == (FINITE, False)
    assert "the drop has no bound" in found.why
