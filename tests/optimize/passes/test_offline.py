import numpy as np

from tests.optimize.models import applied, cnn, encoder, kinds, loaded, offers, rows


def test_the_saved_graph_is_fused_and_answers_as_before(tmp_path):
    file = encoder(tmp_path / "model.onnx", opset=14)
    made = applied("offline", file, rows("ids"))
    assert made.engines == ("onnx",)
    assert kinds(made.file)["com.microsoft:BiasGelu"] + 2 * kinds(made.file)["LayerNormalization"] // 5 == 4
    asked = rows("ids", 4).groups[0]
    answer = loaded(made.file).run(asked)["pooled"]
    np.testing.assert_allclose(answer, loaded(file).run(asked)["pooled"], atol=1e-5)


def test_no_layout_of_this_machines_is_saved(tmp_path):
    made = applied("offline", cnn(tmp_path / "model.onnx"), rows("image"))
    assert [kind for kind in kinds(made.file) if "nchwc" in kind] == []


def test_it_is_offered_for_onnx_files(tmp_path):
    assert offers("offline", cnn(tmp_path / "model.onnx")) == [{}]
