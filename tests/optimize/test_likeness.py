import numpy as np
import pytest

from penstock.optimize import likeness
from penstock.optimize.likeness import Pair
from penstock.optimize.samples import Samples


def pair(ours, theirs):
    return Pair("y", (np.asarray(ours),), (np.asarray(theirs),))


def cleaned(ours, theirs, **inputs):
    given = Samples((inputs,)) if inputs else None
    found, broken = likeness.pairs(Samples(({"y": ours},)), Samples(({"y": theirs},)), given)
    return found[0] if found else None, broken


SHARES = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], "f4")


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (np.zeros((2, 4), "i8"), "equal"),
        (np.array([b"a", b"b"], object), "equal"),
        (np.zeros(2, bool), "equal"),
        (np.zeros(2, "f4"), "relative"),
        (np.zeros((2, 1), "f4"), "relative"),
        (SHARES, "top1"),
        (SHARES.astype("f2"), "top1"),
        (SHARES * 2, "cosine"),
        (SHARES - 0.2, "cosine"),
        (np.zeros((2, 3, 4), "f4"), "cosine"),
    ],
)
def test_the_usual_measure_goes_by_datatype_shape_and_values(ours, expected):
    assert likeness.usual(pair(ours, ours)) == expected


def test_equal_counts_rows_in_which_anything_differs():
    lost = likeness.losses("equal", pair([[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 0], [0, 0]]))
    assert lost.tolist() == [0, 1, 1]


def test_any_of_the_best_scores_is_right():
    """Trees that vote half and half answer either, by a rounding that means nothing."""
    lost = likeness.losses(
        "top1", pair([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0]], [[0.4, 0.6, 0.0], [0.4, 0.6, 0.0]])
    )
    assert lost.tolist() == [0, 1]


def test_cosine_of_one_length_is_one_less_the_cosine():
    a, b = np.array([[1.0, 0.0]]), np.array([[np.cos(0.3), np.sin(0.3)]])
    assert np.allclose([1 - np.cos(0.3)], likeness.losses("cosine", pair(a, b)))


def test_cosine_tells_answers_of_twice_the_size():
    assert likeness.losses("cosine", pair([[1.0, 2.0]], [[2.0, 4.0]])).tolist() == [0.25]


def test_cosine_of_nothing():
    lost = likeness.losses("cosine", pair([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]))
    assert lost.tolist() == [0, 1]


def test_relative_errors_are_of_the_spread_and_not_of_each_value():
    ours = np.linspace(-1, 1, 201)
    lost = likeness.losses("relative", pair(ours, ours + 0.01))
    assert np.allclose(0.01 / ours.std(), lost)


def test_a_few_huge_values_do_not_hide_errors():
    ours = np.append(np.linspace(-1, 1, 99), 1e6)
    assert likeness.losses("relative", pair(ours, ours + 0.1)).mean() > 0.1


def test_a_constant_is_measured_by_its_size():
    assert np.allclose([0.1, 0.1], likeness.losses("relative", pair([10.0, 10.0], [11.0, 11.0])))
    assert likeness.losses("relative", pair([0.0, 0.0], [0.0, 0.0])).tolist() == [0, 0]


def test_ranking_is_nothing_for_the_same_order_and_about_one_at_random():
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(500, 20))
    assert likeness.losses("ranking", pair(ours, ours * 3 + 1)).max() == 0
    assert abs(likeness.losses("ranking", pair(ours, rng.normal(size=(500, 20)))).mean() - 1) < 0.05
    column = ours[:, :1]
    assert abs(likeness.losses("ranking", pair(column, rng.normal(size=(500, 1)))).mean() - 1) < 0.1


def test_rows_keep_their_order_over_groups():
    both = Pair("y", (np.zeros((2, 3)), np.zeros((3, 5))), (np.zeros((2, 3)), np.ones((3, 5))))
    assert likeness.losses("cosine", both).tolist() == [0, 0, 1, 1, 1]


def test_masked_positions_do_not_count():
    ours = np.ones((2, 3, 4), "f4")
    theirs = ours.copy()
    theirs[0, 2] = np.nan
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    found, broken = cleaned(ours, theirs, attention_mask=mask)
    assert broken == ""
    assert likeness.losses("cosine", found).tolist() == [0, 0]


def test_token_types_are_no_mask():
    ours, theirs = np.ones((1, 3, 4), "f4"), np.zeros((1, 3, 4), "f4")
    found, _ = cleaned(ours, theirs, token_type_ids=np.array([[0, 0, 0]]))
    assert likeness.losses("cosine", found).tolist() == [1]


def test_text_is_masked_too():
    ours, theirs = np.array([[b"a", b"x"]], object), np.array([[b"a", b"y"]], object)
    found, _ = cleaned(ours, theirs, mask=np.array([[1, 0]]))
    assert likeness.losses("equal", found).tolist() == [0]


def test_what_is_no_number_in_the_original_does_not_count():
    found, broken = cleaned(np.array([-np.inf, 1.0]), np.array([-np.inf, 1.0]))
    assert broken == ""
    assert likeness.losses("relative", found).tolist() == [0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_a_number_only_in_the_original_is_said(value):
    _, broken = cleaned(np.ones((3, 2), "f4"), np.array([[1, value], [1, 1], [value, value]], "f4"))
    assert broken == "output 'y' is no number in 2 rows in which the original's is"


def test_another_shape_is_said():
    _, broken = cleaned(np.ones((3, 2)), np.ones((3, 4)))
    assert broken == "output 'y' is missing, or of another shape than the original's"


def test_other_rows_are_a_mistake():
    with pytest.raises(ValueError, match="3 and 4 rows"):
        cleaned(np.ones(3), np.ones(4))
