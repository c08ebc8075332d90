"""Inputs and outputs that are not the signature's."""

import numpy as np
import pytest

from penstock.core.errors import InvalidRequest
from penstock.core.spec import Signature, TensorSpec
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1,))),
    (TensorSpec("y", "FP32", (-1,)), TensorSpec("z", "FP32", (-1,))),
)
RIGHT = {"x": np.zeros((2, 2), np.float32), "t": np.array([b"a", b"b"], object)}


def test_what_is_right_passes() -> None:
    check_inputs(SIGNATURE, RIGHT)
    check_inputs(SIGNATURE, RIGHT | {"x": np.zeros((2, 2), ">f4"), "t": np.array(["a", "b"])})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"x": RIGHT["x"]}, "input 't' is missing; the model takes 'x', 't'"),
        (RIGHT | {"u": RIGHT["t"]}, "no input 'u'; the model takes 'x', 't'"),
        (RIGHT | {"x": np.zeros((2, 2))}, "input 'x' is FP64; it must be FP32"),
        (RIGHT | {"x": np.zeros((2, 3), "f4")}, "input 'x' has shape [2, 3]; it must be [-1, 2]"),
        (RIGHT | {"x": np.float32(1)}, "input 'x' has shape []; it must be [-1, 2]"),
        (
            RIGHT | {"x": np.zeros((3, 2), "f4")},
            "axis 0 must be the same in all inputs; got {'x': 3, 't': 2}",
        ),
    ],
)
def test_what_is_wrong_is_named(wrong: Tensors, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_inputs(SIGNATURE, wrong)
    assert sentence == str(caught.value)


def test_outputs_are_those_asked_for_in_that_order_or_all() -> None:
    assert [chosen(SIGNATURE, names) for names in (("z", "y"), ("y",), ())] == [["z", "y"], ["y"], ["y", "z"]]
    with pytest.raises(InvalidRequest, match="no output 'w'; have 'y', 'z'"):
        chosen(SIGNATURE, ("y", "w"))


def test_inputs_with_a_fixed_first_axis_have_rows_of_their_own() -> None:
    table = Signature((TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "FP32", (10, 2))), ())
    check_inputs(table, {"x": np.zeros((3, 2), np.float32), "t": np.zeros((10, 2), np.float32)})
