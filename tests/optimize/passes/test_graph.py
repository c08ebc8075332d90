import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import PASSES, graph
from tests.optimize.models import Graph, encoder, find, loaded, mlp, rows, source, tensor

MINE = ("trim", "clean", "fuse", "fp16", "offline", "int8-onnx", "int8-dynamic", "weights-onnx")


@pytest.mark.parametrize("name", MINE)
def test_files_of_other_kinds_are_offered_nothing(tmp_path, name):
    from msgspec.structs import replace

    told = source(mlp(tmp_path / "model.onnx"), device="cuda:0")
    other = replace(told, artefact=replace(told.artefact, file=str(tmp_path / "model.xml")))
    assert list(find(PASSES[name], {}, "pass")().variants(other)) == []


def test_large_weights_are_written_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "LARGEST", 1000)
    file = mlp(tmp_path / "model.onnx")
    out = tmp_path / "out"
    out.mkdir()
    made = graph.write(graph.read(file), out)
    assert sorted(each.name for each in out.iterdir()) == ["model.onnx", "model.onnx.data"]
    asked = rows("x", 2).groups[0]
    np.testing.assert_array_equal(loaded(made).run(asked)["logits"], loaded(file).run(asked)["logits"])
    assert graph.weight_bytes(onnx.load(made, load_external_data=False)) == graph.weight_bytes(
        onnx.load(file)
    )


def test_an_interface_that_would_change_is_refused(tmp_path):
    model = onnx.load(mlp(tmp_path / "model.onnx"))
    other = onnx.load(encoder(tmp_path / "other.onnx"))
    with pytest.raises(LoadFailed, match="'ids' would be lost"):
        graph.keep_interface(model, other)


def test_halves_are_not_rewritten_for_the_cpu(tmp_path):
    """ONNX Runtime would write the casts down that it needs there."""
    made = Graph()
    weight = made.constant(np.ones((4, 4), np.float16))
    made.op("MatMul", "x", weight, give="y")
    half = onnx.TensorProto.FLOAT16
    file = made.save(
        tmp_path / "model.onnx", [tensor("x", half, "batch", 4)], [tensor("y", half, "batch", 4)]
    )
    with pytest.raises(LoadFailed, match="half precision"):
        graph.rewritten(file, "ORT_ENABLE_BASIC")


def test_operators_are_counted_inside_branches_and_constants_are_not(tmp_path):
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["out"])], "branch", [], [tensor("out", 1, 4)]
    )
    flag = onnx.helper.make_node(
        "Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True), "flag")
    )
    choice = onnx.helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    body = onnx.helper.make_graph([flag, choice], "model", [tensor("x", 1, 4)], [tensor("y", 1, 4)])
    model = onnx.helper.make_model(body)
    assert graph.operators(model) == {"If": 1, "Neg": 2}
    assert list(graph.weights(model)) == ["flag"]
