import numpy as np

from tests.optimize.models import applied, cnn, encoder, kinds, loaded, offers, rows


def test_the_saved_graph_is_fused_and_answers_as_before(tmp_path):
    file = encoder(tmp_path / "model.onnx", opset=14)
    made = applied("offline", file, rows("ids"))
    assert made.engines == ("onnx",)
    assert kinds(made.file)["com.microsoft:BiasGelu"] == 2
    assert (
        kinds(made.file)["LayerNormalization"] + kinds(made.file)["com.microsoft:SkipLayerNormalization"] == 5
    )
    assert made.settings == {"onnx": {"session": {"graph_optimization_level": "ORT_DISABLE_ALL"}}}
    asked = rows("ids", 4).groups[0]
    answer = loaded(made.file).run(asked)["pooled"]
    np.testing.assert_allclose(answer, loaded(file).run(asked)["pooled"], atol=1e-5)


def test_no_layout_of_this_machines_is_saved(tmp_path):
    made = applied("offline", cnn(tmp_path / "model.onnx"), rows("image"))
    assert [kind for kind in kinds(made.file) if "nchwc" in kind] == []
    assert made.settings == {}


def test_it_is_offered_for_onnx_files(tmp_path):
    assert offers("offline", cnn(tmp_path / "model.onnx")) == [{}]


def test_nothing_is_offered_beyond_the_cpu_as_kernels_there_are_others(tmp_path):
    assert offers("offline", cnn(tmp_path / "model.onnx"), device="cuda:0") == []
