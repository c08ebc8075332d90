import numpy as np
import onnx
import pytest

from penstock.core.errors import LoadFailed
from tests.optimize.models import applied, cnn, encoder, kinds, loaded, mlp, offers, rows


def test_what_can_be_folded_is_and_both_engines_answer_as_before(tmp_path):
    file = cnn(tmp_path / "model.onnx")
    made = applied("clean", file, rows("image"))
    assert "BatchNormalization" in kinds(file)
    assert "BatchNormalization" not in kinds(made.file)
    assert made.engines == ("onnx", "openvino")
    asked = rows("image", 5).groups[0]
    for engine in made.engines:
        answer = loaded(made.file, engine).run(asked)["logits"]
        np.testing.assert_allclose(answer, loaded(file).run(asked)["logits"], atol=1e-5)


def test_only_operators_of_the_standard_are_left(tmp_path):
    made = applied("clean", encoder(tmp_path / "model.onnx", opset=14), rows("ids"))
    assert [kind for kind in kinds(made.file) if ":" in kind] == []
    assert [(each.domain, each.version) for each in onnx.load(made.file).opset_import] == [("", 14)]


def test_a_graph_that_is_clean_is_refused(tmp_path):
    with pytest.raises(LoadFailed, match="nothing to clean"):
        applied("clean", mlp(tmp_path / "model.onnx"), rows("x"))


def test_weights_beside_the_source_are_taken_along(tmp_path):
    model = onnx.load(cnn(tmp_path / "model.onnx"))
    onnx.save_model(
        model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    made = applied("clean", tmp_path / "model.onnx", rows("image"))
    asked = rows("image", 3).groups[0]
    expected = loaded(tmp_path / "model.onnx").run(asked)["logits"]
    (tmp_path / "weights.bin").unlink()
    np.testing.assert_allclose(loaded(made.file).run(asked)["logits"], expected, atol=1e-5)


def test_it_is_offered_once_and_for_onnx_files_alone(tmp_path):
    assert offers("clean", cnn(tmp_path / "model.onnx")) == [{}]
