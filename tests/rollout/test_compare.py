"""Whether two answers differ: what is the same to a user never does, and what is not always does."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.rollout.compare import COMPARISONS, comparison

TOLERANCE = 0.01


def differ(ours, theirs, how="auto", name="y", tolerance=TOLERANCE):
    old, new = {name: np.asarray(ours)}, {name: np.asarray(theirs)}
    found = comparison(how, tolerance)(old, new)
    assert comparison(how, tolerance)(new, old) == found
    return found


def texts(*values):
    return np.array(values, dtype=object)


def shares(*rows):
    return np.array(rows, "f4")


# -- one measure for each kind of output --------------------------------------------------------------


def test_whole_numbers_booleans_and_text_must_be_equal():
    assert not differ(np.array([1, 2**63 - 1]), np.array([1, 2**63 - 1]))
    assert differ(np.array([2**63 - 1]), np.array([2**63 - 2]))
    assert differ(np.array([True]), np.array([False]))
    assert differ(texts(b"a", b"b"), texts(b"a", b"c"))
    assert not differ(texts(b"a", "b"), texts("a", b"b"))
    assert not differ(np.array(["a"]), texts(b"a"))


def test_probabilities_differ_where_another_class_is_best():
    assert not differ(shares([0.2, 0.5, 0.3]), shares([0.3, 0.4, 0.3]))
    assert differ(shares([0.2, 0.5, 0.3]), shares([0.5, 0.2, 0.3]))


def test_any_of_the_best_classes_is_right():
    assert not differ(shares([0.5, 0.5, 0]), shares([0.4, 0.6, 0]))
    assert not differ(shares([0.5, 0.5, 0]), shares([0.5000001, 0.4999999, 0]))


def test_scores_are_known_by_their_name():
    ours, theirs = shares([3.0, 1.0]), shares([30.0, 1.0])
    for name in ("logits", "class_scores", "output_probability"):
        assert not differ(ours, theirs, name=name)
    assert differ(ours, theirs, name="embedding")


def test_one_number_a_row_may_be_off_by_a_part_of_itself():
    for shape in ((-1,), (-1, 1)):
        ours = np.array([100.0, 1e-3]).reshape(shape)
        assert not differ(ours, ours * 1.009)
        assert differ(ours, ours * 1.02)


def test_what_is_left_of_a_number_near_zero_is_noise():
    assert not differ(np.array([0.0]), np.array([9e-6]))
    assert differ(np.array([0.0]), np.array([1e-4]))


def test_vectors_may_turn_a_little_and_not_grow():
    ours = np.random.default_rng(0).normal(size=(2, 384)).astype("f4")
    assert not differ(ours, ours * 1.01 + 1e-3)
    assert differ(ours, ours * 2)
    assert differ(ours, -ours)
    assert differ(ours, np.roll(ours, 1, axis=1))


def test_vectors_of_nothing_may_hold_noise():
    assert not differ(np.zeros((1, 4)), np.full((1, 4), 1e-7))
    assert differ(np.zeros((1, 4)), np.full((1, 4), 0.1))


def test_vectors_of_any_size_are_compared():
    huge = np.array([[1e300, -1e300, 1e299]])
    assert not differ(huge, huge * 1.001)
    assert differ(huge, -huge)
    assert not differ(np.array([[1e-310, 3e-310]]), np.array([[1e-310, 3.1e-310]]))


def test_one_row_that_differs_is_enough():
    ours = np.tile(shares([0.2, 0.8]), (50, 1))
    theirs = ours.copy()
    theirs[33] = [0.8, 0.2]
    assert differ(ours, theirs)


def test_all_outputs_must_agree():
    same = {"label": texts(b"cat"), "p": shares([0.2, 0.8])}
    compare = comparison("auto", TOLERANCE)
    assert not compare(same, {"label": texts(b"cat"), "p": shares([0.3, 0.7])})
    assert compare(same, {"label": texts(b"dog"), "p": shares([0.2, 0.8])})
    assert compare(same, {"label": texts(b"cat"), "p": shares([0.8, 0.2])})


def test_other_names_shapes_and_datatypes_differ():
    compare, ours = comparison("auto", 1.0), np.zeros((1, 2), "f4")
    assert compare({"a": ours}, {"b": ours})
    assert compare({"a": ours}, {})
    assert compare({"a": ours}, {"a": ours, "b": ours})
    assert differ(ours, ours[0])
    assert differ(ours, ours.astype("f8"))
    assert differ(np.zeros(1, "i4"), np.zeros(1, "i8"))
    assert differ(np.zeros(1, "i4"), np.zeros(1, bool))
    assert not differ(np.array([258.0, 1.0], ">f4"), np.array([258.0, 1.0], "<f4"))
    assert differ(np.array([1], ">i4"), np.array([1 << 24], "<i4"))


@pytest.mark.parametrize("how", COMPARISONS)
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1), (1, 2, 2)])
def test_what_is_no_number_is_the_same_in_the_same_place_alone(how, odd, shape):
    ours = np.array([0.1, 0.2, odd, 0.7]).reshape(shape)
    plain = np.array([0.1, 0.2, 0.5, 0.7]).reshape(shape)
    other = np.array([0.1, odd, 0.2, 0.7]).reshape(shape)
    assert not differ(ours, ours.copy(), how)
    assert differ(ours, plain, how)
    assert differ(ours, other, how)
    assert differ(np.full(shape, np.nan), np.full(shape, np.inf), how)


def test_what_is_masked_hides_no_difference():
    ours = shares([-np.inf, -3.0, -1.0])
    assert not differ(ours, shares([-np.inf, -3.1, -1.1]), name="logits")
    assert differ(ours, shares([-np.inf, -1.0, -3.0]), name="logits")
    assert differ(ours, shares([-np.inf, 3.0, -1.0]))
    assert differ(ours, shares([-np.inf, -3.0, -1.5]), "tolerance")


# -- as one asks for it -------------------------------------------------------------------------------


def test_exact_allows_nothing():
    assert not differ(np.array([0.0]), np.array([-0.0]), "exact")
    assert differ(shares([0.2, 0.8]), shares([0.2, 0.8000001]), "exact")


def test_tolerance_is_a_part_of_the_largest_value_of_the_row():
    ours = np.array([[100.0, 0.001]])
    assert not differ(ours, np.array([[100.5, 0.901]]), "tolerance")
    assert differ(ours, np.array([[100.0, 1.501]]), "tolerance")


def test_top1_is_of_the_last_axis():
    ours = np.array([[[3.0, 1.0], [1.0, 3.0]]])
    assert not differ(ours, ours * 5, "top1")
    assert differ(ours, ours[:, ::-1], "top1")
    assert differ(np.array([1.0]), np.array([2.0]), "top1")


def test_cosine_is_of_probabilities_too():
    assert differ(shares([0.1, 0.9]), shares([0.4, 0.6]), "cosine")
    assert not differ(shares([0.1, 0.9]), shares([0.11, 0.89]), "cosine")


def test_half_precision_is_compared_as_any_other():
    ours = np.array([[0.25, 0.75]])
    for kind in (np.float16, ml_dtypes.bfloat16):
        assert not differ(ours.astype(kind), (ours * [[1.5, 0.83]]).astype(kind))
        assert differ(ours.astype(kind), ours[:, ::-1].astype(kind))


def test_a_function_of_ones_own_is_called_with_both(monkeypatch):
    import tests.rollout.test_compare as here

    monkeypatch.setattr(here, "own", lambda old, new: int(old["y"][0] + new["y"][0]), raising=False)
    assert comparison("tests.rollout.test_compare:own", 0.0)({"y": [1]}, {"y": [2]}) is True
    assert comparison("tests.rollout.test_compare:own", 0.0)({"y": [1]}, {"y": [-1]}) is False


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("exat", "no comparison 'exat'; did you mean 'exact'"),
        ("zzz", "have auto, cosine, exact, tolerance, top1"),
        ("no_module:f", "cannot be imported"),
        ("tests.rollout.test_compare:TOLERANCE", "is no function; it must take"),
    ],
)
def test_a_comparison_that_is_none_is_named(how, says):
    with pytest.raises(BadSetting, match=says):
        comparison(how, TOLERANCE)


# -- whatever a server gives --------------------------------------------------------------------------

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
KINDS = st.sampled_from(["b1", "i1", "i8", "u8", "f2", "f4", "f8", ml_dtypes.bfloat16, object])
FLOATS = np.array([0.0, -0.0, 0.2, 0.5, 0.8, 1.0, -3.0, 1e-310, 1e300, -1.7e308, np.nan, np.inf, -np.inf])
WHOLE = np.array([0, 1, 2, -1, 127, 2**63 - 1, -(2**63)])
WORDS = texts(b"", b"a", b"\xff", "\u00e4")


def made(shape, kind, seed):
    rng = np.random.default_rng(seed)
    if kind is object:
        return rng.choice(WORDS, shape) if shape else texts(b"a").reshape(())
    with np.errstate(all="ignore"):
        return np.asarray(rng.choice(WHOLE if kind in ("b1", "i1", "i8", "u8") else FLOATS, shape)).astype(
            kind
        )


SEEDS = st.integers(0, 1 << 30)
ARRAYS = st.builds(made, SHAPES, KINDS, SEEDS)
LIKE = st.builds(lambda *given: (made(*given[:3]), made(*given[:2], given[3])), SHAPES, KINDS, SEEDS, SEEDS)
PAIRS = LIKE | st.tuples(ARRAYS, ARRAYS)
HOWS = st.sampled_from(sorted(COMPARISONS))
NAMES = st.sampled_from(["y", "logits"])


@settings(max_examples=200, deadline=None)
@given(pair=PAIRS, how=HOWS, name=NAMES, tolerance=st.sampled_from([0.0, 0.01, 1.0]))
def test_any_two_arrays_can_be_compared_either_way(pair, how, name, tolerance):
    assert differ(*pair, how, name, tolerance) in (True, False)


@settings(max_examples=100, deadline=None)
@given(array=ARRAYS, how=HOWS, name=NAMES)
def test_the_same_answer_never_differs(array, how, name):
    again = array.copy()
    assert not differ(array, again, how, name, tolerance=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.rollout.compare.SMALL", -1)
        assert not differ(array, again, how, name, tolerance=0.0)
