"""Requests against a signature: what is taken, and the sentence for what is not."""

import ml_dtypes
import numpy as np
import pytest

from penstock.core.errors import InvalidRequest
from penstock.core.spec import Signature, TensorSpec
from penstock.core.types import Request
from penstock.serving.check import Check

TWO = Signature(
    (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("words", "BYTES", (-1, -1))),
    (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("z", "FP32", (-1,))),
)
FIXED = Signature((TensorSpec("x", "FP32", (2, 3)),), (TensorSpec("y", "FP32", (2, 3)),))
SCALAR = Signature((TensorSpec("x", "FP32", ()),), ())


def x(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def words(*shape):
    return np.full(shape, b"a", object)


def ask(check, outputs=(), **inputs):
    check(Request(model="m", inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [
        ((), {"x": x(1, 3), "words": words(1, 0)}),
        ((), {"words": words(4, 7), "x": x(4, 3)}),
        (("y",), {"x": x(2, 3), "words": words(2, 1)}),
        (("z", "y"), {"x": x(2, 3), "words": words(2, 1)}),
    ],
)
def test_what_fits_is_taken(outputs, inputs):
    ask(Check("m", TWO, batched=True), outputs, **inputs)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "the request lacks input 'x'; model 'm' takes 'x', 'words'"),
        ({"x": x(1, 3)}, "the request lacks input 'words'; model 'm' takes 'x', 'words'"),
        ({"x": x(1, 3), "word": words(1, 1)}, "the request lacks input 'words'"),
        (
            {"x": x(1, 3), "words": words(1, 1), "w": x(1)},
            "model 'm' has no input 'w'; model 'm' takes 'x', 'words'",
        ),
        ({"x": x(1, 3, dtype=np.float64), "words": words(1, 1)}, "input 'x' is FP64; it must be FP32"),
        ({"x": x(1, 3, dtype=ml_dtypes.bfloat16), "words": words(1, 1)}, "'x' is BF16; it must be FP32"),
        ({"x": x(1, 3), "words": x(1, 1)}, "input 'words' is FP32; it must be BYTES"),
        (
            {"x": x(1, 4), "words": words(1, 1)},
            "has shape [1, 4]; it must be [-1, 3] (-1 is any size, axis 0 being the batch and at least 1)",
        ),
        ({"x": x(1, 3, 1), "words": words(1, 1)}, "input 'x' has shape [1, 3, 1]"),
        ({"x": x(3), "words": words(1, 1)}, "input 'x' has shape [3]"),
        ({"x": x(), "words": words(1, 1)}, "input 'x' has shape []"),
        ({"x": x(0, 3), "words": words(0, 1)}, "input 'x' has shape [0, 3]"),
        ({"x": x(1, 3), "words": words(1)}, "input 'words' has shape [1]"),
        (
            {"x": x(1, 3), "words": words(2, 1)},
            "axis 0 must be the same in all inputs; got {'x': 1, 'words': 2}",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(inputs, says):
    with pytest.raises(InvalidRequest) as caught:
        ask(Check("m", TWO, batched=True), **inputs)
    assert says in str(caught.value)


def test_an_output_that_the_model_does_not_give_is_refused():
    with pytest.raises(InvalidRequest, match="model 'm' has no output 'w'; it gives 'y', 'z'"):
        ask(Check("m", TWO, batched=True), ("y", "w"), x=x(1, 3), words=words(1, 1))


def test_rows_are_bounded_where_the_model_bounds_them():
    check = Check("m", TWO, batched=True, max_rows=4)
    ask(check, x=x(4, 3), words=words(4, 1))
    with pytest.raises(InvalidRequest, match="model 'm' takes at most 4 rows a request, got 5"):
        ask(check, x=x(5, 3), words=words(5, 1))


def test_without_batching_axis_0_is_like_the_others():
    check = Check("m", FIXED, batched=False, max_rows=1)
    ask(check, x=x(2, 3))
    with pytest.raises(InvalidRequest, match=r"has shape \[1, 3\]; it must be \[2, 3\] \(-1 is any size\)"):
        ask(check, x=x(1, 3))
    ask(Check("m", TWO, batched=False), x=x(0, 3), words=words(5, 0))


def test_a_scalar_input_needs_no_axes():
    ask(Check("m", SCALAR, batched=False), x=x())
    with pytest.raises(InvalidRequest, match=r"has shape \[1\]"):
        ask(Check("m", SCALAR, batched=False), x=x(1))
