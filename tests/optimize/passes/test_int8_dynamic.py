import numpy as np
import pytest

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
