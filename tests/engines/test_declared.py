"""What settings declare must be what the file tells."""

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.engines.declared import check_declared

TOLD = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", (-1,)),))


@pytest.mark.parametrize("shape", [(-1, 3), (8, 3), (-1, -1)])
def test_what_fits_may_be_declared(shape: tuple[int, ...]) -> None:
    check_declared(ModelSpec(inputs=(TensorSpec("x", "FP32", shape),)), TOLD, "m")


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([("z", "FP32", (-1, 3))], [], "inputs: m has no input 'z'; have x"),
        ([("x", "FP16", (-1, 3))], [], r"'x' is declared as FP16 \[-1, 3\]; in m it is FP32 \[-1, 3\]"),
        ([("x", "FP32", (-1, 4))], [], r"declared as FP32 \[-1, 4\]"),
        ([("x", "FP32", (-1,))], [], r"declared as FP32 \[-1\]"),
        ([], [("y", "INT32", (-1,))], "outputs: 'y' is declared as INT32"),
    ],
)
def test_what_disagrees_is_refused(
    inputs: list[tuple[str, str, tuple[int, ...]]],
    outputs: list[tuple[str, str, tuple[int, ...]]],
    message: str,
) -> None:
    spec = ModelSpec(
        inputs=tuple(TensorSpec(*each) for each in inputs),
        outputs=tuple(TensorSpec(*each) for each in outputs),
    )
    with pytest.raises(BadSetting, match=message):
        check_declared(spec, TOLD, "m")
