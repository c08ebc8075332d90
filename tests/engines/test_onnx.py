"""ONNX Runtime sessions: datatypes, shapes, options, refusals and memory."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import fixtures
from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec, Onnx, TensorSpec
from penstock.core.tensors import dtype_of, to_bytes
from penstock.engines.onnx import OnnxEngine, OnnxSession, SerialSession, read_signature
from penstock.engines.onnx_start import start

DATATYPES = {
    "BOOL": (TensorProto.BOOL, [[True, False], [False, True]]),
    "UINT8": (TensorProto.UINT8, [[0, 255], [1, 2]]),
    "UINT16": (TensorProto.UINT16, [[0, 65535], [1, 2]]),
    "UINT32": (TensorProto.UINT32, [[0, 2**32 - 1], [1, 2]]),
    "UINT64": (TensorProto.UINT64, [[0, 2**64 - 1], [1, 2]]),
    "INT8": (TensorProto.INT8, [[-128, 127], [1, 2]]),
    "INT16": (TensorProto.INT16, [[-32768, 32767], [1, 2]]),
    "INT32": (TensorProto.INT32, [[-(2**31), 2**31 - 1], [1, 2]]),
    "INT64": (TensorProto.INT64, [[-(2**63), 2**63 - 1], [1, 2]]),
    "FP16": (TensorProto.FLOAT16, [[0.5, -2.0], [65504.0, np.inf]]),
    "BF16": (TensorProto.BFLOAT16, [[0.5, -2.0], [1e30, np.inf]]),
    "FP32": (TensorProto.FLOAT, [[0.5, -2.0], [3.4e38, np.inf]]),
    "FP64": (TensorProto.DOUBLE, [[0.5, -2.0], [1e300, np.inf]]),
    "BYTES": (TensorProto.STRING, [[b"", b"a\0b"], ["ü".encode(), b"x" * 1000]]),
}


def save(folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = ()) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def identity(folder: Path, kind: int = TensorProto.FLOAT, shape: tuple[Any, ...] = ("n", 2)) -> Path:
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, shape)
    return save(folder, [helper.make_node("Identity", ["x"], ["y"])], [x], [y])


def load(files: Path, threads: int = 1, **onnx_settings: Any) -> OnnxSession:
    spec = ModelSpec(name="m", instances=Instances(threads=threads), onnx=Onnx(**onnx_settings))
    return OnnxEngine().open(spec, files)


# -- datatypes and layouts ----------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_comes_through_unchanged(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    session = load(identity(tmp_path, kind))
    x = np.array(values, dtype_of(datatype))
    y = session.run({"x": x})["y"]
    assert session.signature.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    assert (y.shape, bytes(to_bytes(y))) == (x.shape, bytes(to_bytes(x)))
    assert dtype_of(datatype) == y.dtype


@pytest.mark.parametrize("datatype", DATATYPES)
def test_views_that_are_not_contiguous_are_read_as_they_look(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    x = np.array(values, dtype_of(datatype)).T
    y = load(identity(tmp_path, kind)).run({"x": x})["y"]
    assert bytes(to_bytes(x)) == bytes(to_bytes(y))


@pytest.mark.parametrize("datatype", ["INT16", "INT64", "FP16", "FP32", "FP64"])
def test_foreign_byte_order_is_turned(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    x = np.array(values, dtype_of(datatype))
    y = load(identity(tmp_path, kind)).run({"x": x.astype(x.dtype.newbyteorder(">"))})["y"]
    assert x.tolist() == y.tolist()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_no_rows_in_is_no_rows_out(datatype: str, tmp_path: Path) -> None:
    session = load(identity(tmp_path, DATATYPES[datatype][0]))
    assert session.run({"x": np.empty((0, 2), dtype_of(datatype))})["y"].shape == (0, 2)


def test_text_arrays_of_numpy_are_taken_as_bytes_are(tmp_path: Path) -> None:
    session = load(identity(tmp_path, TensorProto.STRING))
    for text in (np.array([["a", "ü"]]), np.array([[b"a", "ü".encode()]]), np.array([["a", "ü"]], object)):
        assert session.run({"x": text})["y"].tolist() == [["a", "ü"]]


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    session = load(identity(tmp_path, TensorProto.STRING))
    with pytest.raises(InvalidRequest, match=r"'x'.*UTF-8"):
        session.run({"x": np.array([[b"\xff", b""]], dtype=object)})


def casts(folder: Path, source: int, extra: list[str]) -> Path:
    """Gives those of ``wide`` (x in FP32), ``back`` (x in BF16) and ``same`` (the text) that are named."""
    x = helper.make_tensor_value_info("x", source, ["n", 2])
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["n"])
    outs = {
        "wide": helper.make_tensor_value_info("wide", TensorProto.FLOAT, ["n", 2]),
        "back": helper.make_tensor_value_info("back", TensorProto.BFLOAT16, ["n", 2]),
        "same": helper.make_tensor_value_info("same", TensorProto.STRING, ["n"]),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wide"], ["back"], to=TensorProto.BFLOAT16),
    ]
    if "same" in extra:
        nodes.append(helper.make_node("Identity", ["text"], ["same"]))
    return save(folder, nodes, [x, text][: 1 + ("same" in extra)], [outs[name] for name in extra])


def test_bfloat16_goes_in_and_comes_out_beside_other_datatypes(tmp_path: Path) -> None:
    session = load(casts(tmp_path, TensorProto.BFLOAT16, ["wide", "back"]))
    out = session.run({"x": np.array([[1.5, -3.0]], ml_dtypes.bfloat16)})
    assert (out["wide"].dtype.name, out["back"].dtype.name) == ("float32", "bfloat16")
    assert out["wide"].tolist() == out["back"].astype("f4").tolist() == [[1.5, -3.0]]


def test_bfloat16_goes_in_beside_text(tmp_path: Path) -> None:
    session = load(casts(tmp_path, TensorProto.BFLOAT16, ["wide", "same"]))
    x = np.array([[1.5, -3.0]], ml_dtypes.bfloat16)
    out = session.run({"x": x, "text": np.array([b"t"], dtype=object)})
    assert (out["wide"].tolist(), out["same"].tolist()) == ([[1.5, -3.0]], ["t"])


def test_bfloat16_out_and_text_in_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"BYTES inputs and BF16 outputs.*cast"):
        load(casts(tmp_path, TensorProto.FLOAT, ["back", "same"]))


def test_answers_are_those_of_a_direct_run(tmp_path: Path) -> None:
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    x = np.random.default_rng(3).standard_normal((7, 32), dtype=np.float32)
    (direct,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(direct, load(path).run({"x": x})["y"], rtol=1e-6)


# -- signatures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "shape"),
    [
        (("n", 2), (-1, 2)),
        ((None, 3, "h", "w"), (-1, 3, -1, -1)),
        ((1, 2), (1, 2)),
        (("n",), (-1,)),
        ((), ()),
    ],
)
def test_symbolic_and_unknown_sizes_are_variable(
    declared: tuple[Any, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    session = load(identity(tmp_path, TensorProto.FLOAT, declared))
    assert (shape, shape) == (session.signature.inputs[0].shape, session.signature.outputs[0].shape)


def test_fixed_shapes_are_held(tmp_path: Path) -> None:
    session = load(identity(tmp_path, TensorProto.FLOAT, (1, 2)))
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run({"x": np.zeros((2, 2), np.float32)})


def test_weights_that_are_also_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    x, w, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xwy")
    weight = numpy_helper.from_array(np.ones(1, np.float32), "w")
    session = load(save(tmp_path, [helper.make_node("Add", ["x", "w"], ["y"])], [x, w], [y], [weight]))
    assert [spec.name for spec in session.signature.inputs] == ["x"]


def test_maps_and_sequences_are_refused_with_the_way_to_export_them(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y = helper.make_value_info("y", helper.make_sequence_type_proto(helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))))  # fmt: skip
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    with pytest.raises(LoadFailed, match=r"output 'y' .*seq\(map.*zipmap"):
        load(save(tmp_path, [node], [x], [y]))


# -- files ------------------------------------------------------------------------------------------------


def test_a_folder_or_a_file_may_be_opened_and_the_file_may_have_another_name(tmp_path: Path) -> None:
    path = identity(tmp_path)
    for files in (path, tmp_path):
        assert load(files).signature.inputs[0].name == "x"
    path.rename(tmp_path / "net.onnx")
    assert OnnxEngine().open(ModelSpec(file="net.onnx"), tmp_path).signature.inputs[0].name == "x"


def test_a_missing_file_is_named_and_so_is_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    with pytest.raises(LoadFailed, match=r"no model.onnx .* has net.onnx"):
        load(tmp_path)
    with pytest.raises(LoadFailed, match="no folder nosuch"):
        load(tmp_path / "nosuch")


@pytest.mark.parametrize("keep", [0, 1, 200, 5000, -1])
def test_a_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(fixtures.tiny()[:keep])
    with pytest.raises(LoadFailed, match=r"ONNX Runtime refuses model.onnx: .") as caught:
        load(path)
    assert ("\n" in str(caught.value), str(tmp_path) in str(caught.value)) == (False, False)


@pytest.mark.parametrize("junk", [b"not a model", b"\0" * 4096, b"\xff" * 100, b"<html></html>"])
def test_a_file_of_something_else_is_refused(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(junk)
    with pytest.raises(LoadFailed, match=r"ONNX Runtime refuses model.onnx"):
        load(tmp_path)


def test_a_model_from_the_future_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = onnx.load_from_string(fixtures.tiny())
    model.opset_import[0].version = 999
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(LoadFailed, match=r"(?i)opset 999"):
        load(tmp_path)


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy")
    with pytest.raises(LoadFailed, match="Frobnicate"):
        load(save(tmp_path, [helper.make_node("Frobnicate", ["x"], ["y"])], [x], [y]))


def test_refusals_write_nothing_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = identity(tmp_path, TensorProto.FLOAT, (1, 2))
    with pytest.raises(Exception, match="dimensions"):
        load(path).run({"x": np.zeros((2, 2), np.float32)})
    path.write_bytes(fixtures.tiny()[:-100])
    with pytest.raises(LoadFailed):
        load(path)
    assert tuple(capfd.readouterr()) == ("", "")


def test_external_data_beside_the_file_is_found(tmp_path: Path) -> None:
    model = onnx.load_from_string(fixtures.tiny())
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    x = np.ones((1, 32), np.float32)
    inside = load(fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())).run({"x": x})["y"]
    assert (tmp_path / "w.bin").stat().st_size > 8000
    assert inside.tolist() == load(tmp_path).run({"x": x})["y"].tolist()
    (tmp_path / "w.bin").unlink()
    with pytest.raises(LoadFailed, match=r"w.bin"):
        load(tmp_path)


# -- settings ---------------------------------------------------------------------------------------------


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"'CUDAExecutionProvidr'; have .*CPUExecutionProvider"):
        load(identity(tmp_path), providers=("CUDAExecutionProvidr",))


def test_a_provider_that_takes_no_node_is_refused_unless_the_cpu_is_named_too(tmp_path: Path) -> None:
    """ONNX Runtime itself would go on with the CPU without a word; Azure's runs custom nodes only."""
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    with pytest.raises(LoadFailed, match=r"^AzureExecutionProvider took no node of the model$"):
        load(path, providers=("AzureExecutionProvider",))
    session = load(path, providers=("AzureExecutionProvider", "CPUExecutionProvider"))
    assert session.device == "cpu (AzureExecutionProvider took no node of the model)"
    assert (session.concurrency, load(path).device) == (0, "cpu")


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has CUDA")
def test_a_fall_back_to_the_cpu_is_only_for_who_asks_for_it(tmp_path: Path) -> None:
    path = identity(tmp_path)
    with pytest.raises(LoadFailed, match=r"device 'cuda'; have .*pip install onnxruntime-gpu"):
        OnnxEngine().open(ModelSpec(device="cuda"), path)
    fallen = OnnxEngine().open(ModelSpec(device=("cuda", "cpu")), path)
    assert fallen.device == "cpu (nothing in this build for cuda)"


def test_a_session_of_one_run_at_a_time_answers_as_any_other(tmp_path: Path) -> None:
    """DirectML's sessions are such; here ONNX Runtime's on the CPU stands in."""
    import onnxruntime as ort

    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    started = start(ort, ModelSpec(), path, lambda inner: read_signature(path.name, inner))
    serial = SerialSession(started, read_signature(path.name, started.inner))
    x = {"x": np.ones((3, 32), np.float32)}
    assert serial.run(x)["y"].tolist() == load(path).run(x)["y"].tolist()


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu"
)
def test_cuda_runs_what_the_cpu_runs(tmp_path: Path) -> None:
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    session = OnnxEngine().open(ModelSpec(device="cuda"), path)
    x = {"x": np.random.default_rng(3).standard_normal((7, 32), dtype=np.float32)}
    np.testing.assert_allclose(session.run(x)["y"], load(path).run(x)["y"], rtol=1e-3)
    assert session.device.startswith("cuda:0 (CUDAExecutionProvider ")
    assert session.concurrency == 2


def test_provider_options_are_passed_on_and_must_belong_to_a_provider(tmp_path: Path) -> None:
    path = identity(tmp_path)
    load(path, provider_options={"CPUExecutionProvider": {"anything": True}})
    with pytest.raises(BadSetting, match="did you mean 'CPUExecutionProvider'"):
        load(path, provider_options={"CPUExecutionProvder": {}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"intra_op_num_thread": 1}, "did you mean 'intra_op_num_threads'"),
        ({"add_initializer": 1}, "no option 'add_initializer'"),
        ({"intra_op_num_threads": "many"}, "intra_op_num_threads cannot be 'many'"),
        ({"graph_optimization_level": "ORT_ENABLE_MOST"}, "have .*ORT_ENABLE_BASIC"),
    ],
)
def test_a_wrong_session_option_is_refused_with_what_would_be_right(
    settings: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=message):
        load(identity(tmp_path), session=settings)


def test_session_options_take_effect(tmp_path: Path) -> None:
    session = load(
        fixtures.write(tmp_path, "tiny", "1", fixtures.tiny()),
        session={
            "graph_optimization_level": "ORT_DISABLE_ALL",
            "enable_cpu_mem_arena": False,
            "intra_op_num_threads": 2,
            "session.intra_op.allow_spinning": True,
            "optimized_model_filepath": str(tmp_path / "seen.onnx"),
        },
    )
    options = session._inner.get_session_options()
    assert (options.enable_cpu_mem_arena, options.intra_op_num_threads, session.threads) == (False, 2, 2)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    ops = [node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node]
    assert ops == ["MatMul", "Add", "Relu", "MatMul", "Add", "Softmax"]


def test_pools_do_not_spin_unless_told(tmp_path: Path) -> None:
    options = load(identity(tmp_path), threads=2)._inner.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_threads_default_to_the_cores_there_are(tmp_path: Path) -> None:
    import os

    assert len(os.sched_getaffinity(0)) == load(identity(tmp_path), threads=0).threads


# -- memory -----------------------------------------------------------------------------------------------

RSS = """
import sys
from pathlib import Path
import numpy as np
from penstock.core.spec import Instances, ModelSpec
from penstock.engines.onnx import OnnxEngine

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def once():
    session = OnnxEngine().open(ModelSpec(instances=Instances(threads=2)), Path(sys.argv[1]))
    for rows in (1, 7, 32):
        session.run({"x": np.zeros((rows, 256), np.float32)})
    loaded = rss()
    session.close()
    return loaded

for _ in range(10):
    loaded = once()
before = rss()
for _ in range(200):
    once()
print(loaded, before, rss())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_hundred_loads_and_unloads_give_the_memory_back(tmp_path: Path) -> None:
    """Eight MB of weights: one session kept would show, and so would 2 % of each."""
    path = fixtures.write(tmp_path, "sized", "1", fixtures.sized(8))
    done = subprocess.run([sys.executable, "-c", RSS, path], capture_output=True, text=True, check=True)
    loaded, before, after = map(float, done.stdout.split())
    assert (loaded - before > 6, after - before < 4) == (True, True), (loaded, before, after)


SILENT = """
import sys
from pathlib import Path
from penstock.core.spec import ModelSpec
from penstock.engines.onnx import OnnxEngine
OnnxEngine().open(ModelSpec(), Path(sys.argv[1])).close()
"""


def test_no_one_is_told_of_the_use_of_onnx_runtime(tmp_path: Path) -> None:
    """By itself it leaves a device's id and a database in the user's cache, for a report that it sends."""
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    home = tmp_path / "home"
    home.mkdir()
    variables = {"HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", SILENT, path], env=variables, check=True)
    assert list(home.rglob("*")) == []
