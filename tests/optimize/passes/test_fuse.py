import numpy as np
import pytest

from penstock.core.errors import LoadFailed
from tests.optimize.models import Graph, applied, cnn, encoder, kinds, loaded, mlp, offers, rows, tensor


@pytest.mark.parametrize("opset", [14, 17])
def test_an_encoder_is_fused_and_answers_as_before_on_both_engines(tmp_path, opset):
    file = encoder(tmp_path / "model.onnx", tokens_out=True, opset=opset)
    made = applied("fuse", file, rows("ids"))
    assert kinds(made.file)["com.microsoft:Attention"] == 2
    assert kinds(made.file)["com.microsoft:SkipLayerNormalization"] == 4
    assert made.engines == ("onnx", "openvino")
    asked = rows("ids", 5).groups[0]
    expected = loaded(file).run(asked)
    for engine in made.engines:
        answer = loaded(made.file, engine).run(asked)
        np.testing.assert_allclose(answer["pooled"], expected["pooled"], atol=1e-5)
        np.testing.assert_allclose(answer["tokens"], expected["tokens"], atol=1e-5)


def test_what_has_nothing_to_be_fused_is_refused(tmp_path):
    """A softmax between products of tensors, which is no attention that ONNX Runtime knows."""
    graph = Graph()
    turned = graph.op("Transpose", "x", perm=[0, 2, 1])
    graph.op("MatMul", graph.op("Softmax", graph.op("MatMul", "x", turned)), "x", give="y")
    one, other = tensor("x", 1, "batch", 4, 8), tensor("y", 1, "batch", 4, 8)
    file = graph.save(tmp_path / "model.onnx", [one], [other])
    assert offers("fuse", file) == [{}]
    with pytest.raises(LoadFailed, match="no transformer patterns found"):
        applied("fuse", file, rows("x"))


def test_it_is_offered_for_models_with_attention_alone(tmp_path):
    assert offers("fuse", encoder(tmp_path / "encoder.onnx")) == [{}]
    assert offers("fuse", mlp(tmp_path / "mlp.onnx")) == []
    assert offers("fuse", cnn(tmp_path / "cnn.onnx")) == []
