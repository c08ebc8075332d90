"""What an answer says: against outcomes, and in bins of a distribution."""

import ml_dtypes
import numpy as np
import pytest

from penstock.rollout.answers import LEARNED, Bins, answer_of, bin_of, wrong


def texts(*values):
    return np.array(values, dtype=object)


SHARES = np.array([[0.1, 0.7, 0.2]], "f4")


# -- what it says -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"y": texts(b"cat")}, "cat"),
        ({"y": texts(b"\xff")}, "\ufffd"),
        ({"y": texts("cat")}, "cat"),
        ({"y": texts(b"x" * 500)}, "x" * 200),
        ({"y": np.array([[7]], "i8")}, 7),
        ({"y": np.array([True])}, 1),
        ({"y": np.array(7, "u1")}, 7),
        ({"y": SHARES}, 1),
        ({"y": SHARES.astype(ml_dtypes.bfloat16)}, 1),
        ({"y": np.array([[2.5]], "f8")}, 2.5),
        ({"y": np.array([2.5], ml_dtypes.bfloat16)}, 2.5),
        ({"p": SHARES, "label": texts(b"cat"), "id": texts(b"x")}, "cat"),
        ({"y": np.zeros(1, "f4"), "p": SHARES}, 1),
        ({"y": np.array([[1, 0, 0], [0, 0, 1]], "f4")}, (0, 2)),
        ({"y": np.array([3, 4], "i4")}, (3, 4)),
        ({"y": np.zeros((1, 3, 4), "f4")}, None),
        ({"y": np.zeros((65, 3), "f4")}, None),
        ({"y": np.zeros((0, 3), "f4")}, None),
        ({"y": np.zeros((1, 0), "f4")}, None),
        ({"y": np.zeros(0, "i8")}, None),
        ({}, None),
    ],
)
def test_an_answer_is_its_label_else_its_best_class_else_its_number(outputs, expected):
    answer = answer_of(outputs)
    assert answer == expected
    assert type(answer) is type(expected)


@pytest.mark.parametrize(
    ("answer", "outcome", "expected"),
    [
        ("cat", "cat", False),
        ("cat", "dog", True),
        ("3", 3, False),
        (3, "3", False),
        (3, "3.0", True),
        ("true", True, False),
        ("x" * 200, "x" * 300, False),
        (3, 3, False),
        (3, 3.0, False),
        (3, 4, True),
        (1, True, False),
        (2.0, "2", False),
        (100.0, 100.9, False),
        (100.0, 102.0, True),
        (1e-9, 0.0, False),
        (0.1, 0.0, True),
        (0.83, 1, False),
        (0.83, True, False),
        (0.83, False, True),
        (0.83, 1.0, True),
        (5.0, 1, True),
        (float("nan"), 1.0, True),
        (1.0, 10**400, True),
        ((1, 2), (1, 2), False),
        ((1, 2), (1, 3), True),
        ((1, 2), 1, True),
        (1, (1,), False),
        (None, 1, True),
        (1, None, True),
    ],
)
def test_an_answer_is_wrong_where_it_is_not_the_outcome(answer, outcome, expected):
    assert wrong(answer, outcome, 0.01) == expected


# -- bins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"y": SHARES}, 1),
        ({"y": np.array([[0, 0, 1], [1, 0, 0]], "f4")}, 2),
        ({"y": np.eye(1000, dtype="f4")[70:71]}, 6),
        ({"y": np.array([True])}, 1),
        ({"y": np.array([5], "u1")}, 5),
        ({"y": np.array([-1], "i8")}, 63),
        ({"y": np.array([-(2**63)], "i8")}, 0),
        ({"y": np.array([2.0], "f4")}, -1),
        ({"y": np.zeros((0, 3), "f4")}, -1),
        ({"y": np.zeros(0, "f4")}, -1),
        ({}, -1),
    ],
)
def test_the_first_row_has_a_bin(outputs, expected):
    assert bin_of(outputs) == expected


def test_a_label_has_the_same_bin_in_every_process():
    assert [bin_of({"y": texts(word)}) for word in (b"cat", b"dog", "cat")] == [40, 61, 40]


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 4, 5)])
def test_numbers_have_the_deciles_of_the_first_stable_answers(shape):
    bins, rng = Bins(), np.random.default_rng(0)

    def outputs():
        return {"y": np.full(shape, rng.normal(), "f4")}

    assert bins.of(outputs()) == -1
    bins.learn({"y": np.full(shape, np.nan)})
    for _ in range(LEARNED):
        bins.learn(outputs())
    edges = bins.edges
    assert len(edges) == 9
    counts = np.bincount([bins.of(outputs()) for _ in range(2000)], minlength=10)
    assert counts.min() > 120
    assert counts.size == 10
    bins.learn({"y": np.full(shape, 1e9)})
    assert bins.edges is edges
    assert bins.of({"y": np.full(shape, np.nan)}) == 10
    assert [bins.of({"y": np.full(shape, value)}) for value in (-np.inf, np.inf)] == [0, 9]
    assert Bins(edges).of({"y": np.full(shape, 0.01)}) == bins.of({"y": np.full(shape, 0.01)})


def test_classes_need_no_learning():
    bins = Bins()
    for _ in range(LEARNED):
        bins.learn({"y": SHARES})
        bins.learn({})
        bins.learn({"y": np.zeros(0, "f4")})
    assert bins.edges == ()
    assert bins.of({"y": SHARES}) == 1
