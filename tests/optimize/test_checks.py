import numpy as np
import pytest

from penstock.core.spec import ModelSpec
from penstock.engines.onnx import OnnxEngine
from penstock.optimize.checks import reference_precision, same
from penstock.optimize.samples import Samples


def one(array, name="y"):
    return Samples(({name: array},))


@pytest.fixture
def answers():
    return np.random.default_rng(0).normal(size=(32, 10)).astype("f4")


def test_equal_answers_agree(answers):
    assert same(one(answers), one(answers.copy())) == ""


def test_the_order_of_additions_does_not_matter(answers):
    noise = np.random.default_rng(1).normal(size=answers.shape).astype("f4")
    assert same(one(answers), one(answers * (1 + 4e-7 * noise))) == ""


def test_what_hangs_on_batch_mates_is_told_by_how_much(answers):
    moved = answers + 5e-3 * answers.max()
    assert same(one(answers), one(moved.astype("f4"))).startswith("output 'y' differs by up to 0.00")


def test_one_wrong_row_is_found(answers):
    moved = answers.copy()
    moved[31] = 0
    assert "differs by up to" in same(one(answers), one(moved))


def test_labels_are_equal_or_not():
    said = same(one(np.array([1, 2, 3])), one(np.array([1, 2, 4])))
    assert said == "output 'y' differs in 1 of 3 rows"
    text = np.array([b"a", b"b"], object)
    assert same(one(text), one(text[::-1])) == "output 'y' differs in 2 of 2 rows"


def test_no_number_in_both_is_the_same_and_in_one_is_not(answers):
    holed = answers.copy()
    holed[0, 0] = np.nan
    assert same(one(holed), one(holed.copy())) == ""
    assert same(one(answers), one(holed)) == "output 'y' is no number in one run where it is in the other"


def test_zeros_and_something_differ():
    assert same(one(np.zeros(3, "f4")), one(np.ones(3, "f4"))).endswith(
        "differs by up to 1, where one run has zeros"
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (one(np.zeros((3, 2))), "one run answered 4 rows, the other 3"),
        (one(np.zeros((4, 3))), "output 'y' has shape [4, 2] in one run, [4, 3] in the other"),
        (one(np.zeros((4, 2)), "z"), "one run gave y, the other z"),
    ],
)
def test_other_rows_shapes_or_names_are_said(other, said):
    assert same(one(np.zeros((4, 2))), other) == said


@pytest.mark.parametrize(
    "device", ["cpu", "cpu (f32)", "cuda:0 (CUDAExecutionProvider 120 nodes)", "gpu:0 (f32)"]
)
def test_full_precision_may_judge(device):
    assert reference_precision(device) == ""


@pytest.mark.parametrize(
    ("device", "word"),
    [("cpu (bf16)", "bf16"), ("gpu:0 (f16)", "f16"), ("npu (i8)", "i8"), ("cuda:0 (TF32)", "tf32")],
)
def test_an_original_that_was_rounded_may_not_judge(device, word):
    assert reference_precision(device) == (
        f"it ran in {word} on {device}, not in f32; answers can be judged only by an exact run"
    )


# -- a real one ---------------------------------------------------------------------------------------


def dynamic(file):
    """Two layers whose activations are quantized by what is in the batch, as dynamic int8 does."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for at in range(2):
        kernel = rng.integers(-127, 128, (32, 32)).astype("i1")
        weights += [
            numpy_helper.from_array(kernel, f"w{at}"),
            numpy_helper.from_array(np.float32(0.002), f"k{at}"),
        ]
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [last], [f"q{at}", f"s{at}", f"z{at}"]),
            helper.make_node("MatMulInteger", [f"q{at}", f"w{at}", f"z{at}"], [f"i{at}"]),
            helper.make_node("Cast", [f"i{at}"], [f"f{at}"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"s{at}", f"k{at}"], [f"m{at}"]),
            helper.make_node("Mul", [f"f{at}", f"m{at}"], [f"y{at}"]),
        ]
        last = f"y{at}"
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 32]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "g", tensor[:1], tensor[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, file)


def test_dynamic_int8_is_caught_and_repeats(tmp_path):
    dynamic(tmp_path / "model.onnx")
    session = OnnxEngine().open(ModelSpec(name="m"), tmp_path)
    rows = np.random.default_rng(1).normal(size=(16, 32)).astype("f4")
    alone = np.concatenate([session.run({"x": rows[at : at + 1]})["y1"] for at in range(16)])
    together = [
        np.concatenate([session.run({"x": rows[at : at + 8]})["y1"] for at in (0, 8)]) for _ in range(2)
    ]
    session.close()
    assert "differs by up to" in same(one(alone), one(together[0]))
    assert same(one(together[0]), one(together[1])) == ""
