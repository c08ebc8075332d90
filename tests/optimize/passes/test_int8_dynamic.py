import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from penstock.core import machine
from tests.optimize.models import applied, cnn, encoder, kinds, loaded, mlp, offers, rows


@pytest.mark.parametrize(("inputs", "model", "output"), [("x", mlp, "logits"), ("ids", encoder, "pooled")])
def test_weights_become_int8_and_answers_stay_alike(tmp_path, inputs, model, output):
    file = model(tmp_path / "model.onnx")
    made = applied("int8-dynamic", file, rows(inputs))
    assert made.engines == ("onnx",)
    assert kinds(made.file)["MatMulInteger"] == (3 if model is mlp else 12)
    asked = rows(inputs, 1, seed=7).groups[0]
    np.testing.assert_allclose(
        loaded(made.file).run(asked)[output], loaded(file).run(asked)[output], atol=0.1
    )


def test_rows_change_each_others_answers_so_that_they_may_not_be_batched(tmp_path):
    """One large row takes the scale, and what was fine in a small one is rounded away."""
    file = mlp(tmp_path / "model.onnx")
    made = applied("int8-dynamic", file, rows("x"))
    session, original = loaded(made.file), loaded(file)
    small = rows("x", 1).groups[0]["x"]
    together = np.concatenate([small, 100 * small])
    alone = session.run({"x": small})["logits"][0]
    np.testing.assert_allclose(original.run({"x": together})["logits"][0], alone, atol=0.1)
    assert np.abs(session.run({"x": together})["logits"][0] - alone).max() > 0.1
    assert made.alone


def test_models_with_convolutions_are_offered_nothing(tmp_path):
    assert offers("int8-dynamic", cnn(tmp_path / "cnn.onnx")) == []
    assert offers("int8-dynamic", mlp(tmp_path / "mlp.onnx")) == [{}]
    made = applied("int8-dynamic", tmp_path / "mlp.onnx", rows("x"))
    assert offers("int8-dynamic", made.file) == []


def test_weights_have_seven_bits_where_products_of_eight_would_overflow(tmp_path):
    made = applied("int8-dynamic", mlp(tmp_path / "model.onnx"), rows("x"))
    weights = [numpy_helper.to_array(each) for each in onnx.load(made.file).graph.initializer]
    most = max(np.abs(each.astype(int)).max() for each in weights if each.dtype == np.int8)
    assert most == (64 if machine.overflows_int8() else 127)
