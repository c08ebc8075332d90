"""Conditions: what they say of each row, and what is refused with the place and what is allowed."""

from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.serving.pipeline.condition import Kind, check, holds, parse, tensors

P = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.0, 1.0, 0.0]], np.float32)
ROWS = {
    "p": P,
    "score": np.array([[0.5], [2.0], [-1.0]], np.float32),
    "count": np.array([[1], [2], [3]], np.int64),
    "flag": np.array([[True], [False], [True]]),
    "language": np.array([[b"de"], [b"en"], [b"de"]], object),
    "half": P.astype(ml_dtypes.bfloat16),
    "output:0": P,
}
KINDS = {
    "p": Kind("FP32", 3),
    "score": Kind("FP32", 1),
    "count": Kind("INT64", 1),
    "flag": Kind("BOOL", 1),
    "language": Kind("BYTES", 1),
    "any": Kind("FP32", -1),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max(p) < 0.8", [True, True, False]),
        ("max(p) >= 0.7", [True, False, True]),
        ("min(p) == 0", [False, False, True]),
        ("mean(p) > 0.3", [True, True, True]),
        ("argmax(p) != 0", [False, False, True]),
        ("margin(p) < 0.1", [False, True, False]),
        ("entropy(p) > 1", [False, True, False]),
        ("score > -1.5", [True, True, True]),
        ("0 < score <= 0.5", [True, False, False]),
        ("0.8 > max(p)", [True, True, False]),
        ("max(p) > score", [True, False, True]),
        ("count == 2", [False, True, False]),
        ("flag == True", [True, False, True]),
        ("language == 'de'", [True, False, True]),
        ('language != "de" and count < 3', [False, True, False]),
        ("language == 'en' or count == 3", [False, True, True]),
        ("not max(p) < 0.8", [False, False, True]),
        ("not (language == 'de' or score > 5)", [False, True, False]),
        ("max(half) < 0.8", [True, True, False]),
        ("margin(half) < 0.1", [False, True, False]),
        ("max('output:0') < 0.8", [True, True, False]),
        ("  max(p) < 0.8", [True, True, False]),
    ],
)
def test_a_condition_says_of_each_row_what_its_words_say(text, expected):
    assert holds(parse(text), ROWS).tolist() == expected


def test_entropy_and_margin_are_by_the_book():
    one = {"p": np.array([[0.5, 0.5]]), "q": np.array([[1.0, 0.0]])}
    assert holds(parse("0.693147 < entropy(p) < 0.693148"), one).all()
    assert holds(parse("entropy(q) == 0"), one).all()
    assert holds(parse("margin(p) == 0"), one).all()
    assert holds(parse("margin(q) == 1"), one).all()


def test_nan_compares_as_false():
    nan = {"p": np.array([[np.nan, 0.1]])}
    assert holds(parse("max(p) < 0.8"), nan).tolist() == [False]
    assert holds(parse("not max(p) >= 0.8"), nan).tolist() == [True]


def test_a_condition_names_its_tensors_once():
    assert tensors(parse("max(p) < 1 and min(p) > 0 or score == 1")) == ("p", "score")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a condition compares"),
        ("max(p) <", "column"),
        ("p.shape == 3", "column 1: 'p.shape' is not offered; a condition compares"),
        ("__import__('os').system('x') == 0", "is not offered"),
        ("max(p) + 1 < 2", "column 1: 'max(p) + 1' is not offered"),
        ("p[0] < 2", "is not offered"),
        ("open('x') == 1", "no function 'open'; have argmax"),
        ("maximum(p) < 1", "no function 'maximum'"),
        ("max(p, axis=1) < 1", "is not offered"),
        ("max(max(p)) < 1", "is not offered"),
        ("max(p)", "column 1: 'max(p)' is no comparison"),
        ("p in q", "is not offered"),
        ("p is 1", "is not offered"),
        ("(lambda: 1)() == p", "is not offered"),
        ("[x for x in p] == 1", "is not offered"),
        ("p == 1j", "is not offered"),
        ("1 < 2", "names no tensor"),
        ("p < 1\x00", "null bytes"),
        ("(" * 300 + "p < 1" + ")" * 300, "column"),
        ("p < " + "1" * 2000, "at most 1000"),
        ("p < " + "1" * 900, "is too large a number"),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_what_is_no_condition_is_refused_with_what_is_allowed(text, said):
    with pytest.raises(BadSetting) as error:
        parse(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max(q) < 1", "no tensor 'q' here; have any, count"),
        ("p < 1", "tensor 'p' has 3 values a row; say which is meant, e.g. max(p)"),
        ("max(language) == 1", "holds texts, which have no max"),
        ("language < 'de'", "texts are compared by == and != alone"),
        ("language == 1", "compares a number with a text"),
        ("score == 'de'", "compares a number with a text"),
        ("margin(score) < 1", "margin needs two"),
    ],
)
def test_what_a_tensor_cannot_be_compared_with_is_refused_at_load(text, said):
    with pytest.raises(BadSetting) as error:
        check(parse(text), KINDS)
    assert said in str(error.value)


def test_what_may_be_so_is_let_through():
    for text in ("any < 1", "margin(any) < 1", "max(p) < 1 and language == 'x'", "flag == False"):
        check(parse(text), KINDS)


@pytest.mark.parametrize("text", ["p < 1", "margin(score) < 1", "language == 'de' and p == 0"])
def test_sizes_that_only_a_request_shows_are_an_error_then(text):
    with pytest.raises(ValueError, match="values a row"):
        holds(parse(text), ROWS)


@given(st.text(max_size=60))
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_any_text_is_a_condition_or_a_sentence(text):
    with suppress(BadSetting):
        assert tensors(parse(text))
