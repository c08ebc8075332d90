import numpy as np
import onnx
import pytest

from tests.optimize.models import applied, cnn, encoder, kinds, loaded, mlp, offers, rows

CASES = {"x": (mlp, "logits"), "image": (cnn, "logits"), "ids": (encoder, "pooled")}


def cosine(one, other):
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("inputs", CASES)
def test_answers_stay_alike_on_every_engine_and_weights_are_int8(tmp_path, inputs):
    model, output = CASES[inputs]
    file = model(tmp_path / "model.onnx")
    made = applied("int8-onnx", file, rows(inputs), calibrate="minmax")
    assert made.engines == ("onnx", "openvino")
    types = {each.data_type for each in onnx.load(made.file).graph.initializer if len(each.dims) > 1}
    assert onnx.TensorProto.INT8 in types
    asked = rows(inputs, 16, seed=7).groups[0]
    expected = loaded(file).run(asked)[output]
    for engine in made.engines:
        assert cosine(loaded(made.file, engine).run(asked)[output], expected).min() > 0.98


@pytest.mark.parametrize("calibrate", ["percentile", "entropy"])
def test_each_calibrator_takes_batches_of_several_shapes(tmp_path, calibrate):
    from penstock.optimize.samples import Samples

    file = encoder(tmp_path / "model.onnx")
    wide = rows("ids", 40).groups[0]
    samples = Samples((wide, {name: array[:20, :7] for name, array in wide.items()}))
    made = applied("int8-onnx", file, samples, calibrate=calibrate)
    expected = loaded(file).run(wide)["pooled"]
    assert cosine(loaded(made.file).run(wide)["pooled"], expected).min() > 0.95


def test_norms_softmax_and_products_of_two_activations_stay_float(tmp_path):
    made = applied("int8-onnx", encoder(tmp_path / "model.onnx"), rows("ids"), calibrate="minmax")
    model = onnx.load(made.file)
    given = {name: node.op_type for node in model.graph.node for name in node.output}
    readers = [node for node in model.graph.node if "DequantizeLinear" in map(given.get, node.input)]
    assert {node.op_type for node in readers} == {"MatMul"}
    assert len(readers) == 12
    assert kinds(made.file)["MatMul"] == 16


def test_convolutions_hand_int8_on(tmp_path):
    """Between them there is no float: what one gives is quantized, and read by the next."""
    made = applied("int8-onnx", cnn(tmp_path / "model.onnx"), rows("image"), calibrate="minmax")
    model = onnx.load(made.file)
    takers = [node.op_type for node in model.graph.node for name in node.input if "Conv" in name]
    assert set(takers) <= {"QuantizeLinear", "DequantizeLinear", "Conv", "MaxPool", "Relu"}


def test_what_is_quantized_or_has_nothing_to_be_is_offered_nothing(tmp_path):
    file = mlp(tmp_path / "model.onnx")
    assert [each["calibrate"] for each in offers("int8-onnx", file)] == ["minmax", "percentile", "entropy"]
    made = applied("int8-onnx", file, rows("x"), calibrate="minmax")
    assert offers("int8-onnx", made.file) == []


def test_a_gemm_whose_bias_has_two_axes_is_quantized(tmp_path):
    """As scikit-learn's converter writes them."""
    file = mlp(tmp_path / "model.onnx")
    model = onnx.load(file)
    biases = [weight for weight in model.graph.initializer if len(weight.dims) == 1 and weight.dims[0] > 1]
    for bias in biases:
        bias.dims.insert(0, 1)
    assert biases
    onnx.save(model, file)
    made = applied("int8-onnx", file, rows("x"), calibrate="minmax")
    asked = rows("x", 16, seed=7).groups[0]
    expected = loaded(file).run(asked)["logits"]
    assert cosine(loaded(made.file).run(asked)["logits"], expected).min() > 0.98
