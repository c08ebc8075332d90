"""OpenVINO sessions: files, datatypes, devices, properties, requests, cache and memory."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import fixtures
from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec, OpenVino, TensorSpec
from penstock.core.tensors import dtype_of, to_bytes
from penstock.engines.openvino import OpenVinoEngine, OpenVinoSession
from penstock.engines.openvino_options import devices
from tests.engines.models.openvino import write

ov = pytest.importorskip("openvino")

DATATYPES = {
    "BOOL": ("boolean", [[True, False], [False, True]]),
    "UINT8": ("u8", [[0, 255], [1, 2]]),
    "UINT16": ("u16", [[0, 65535], [1, 2]]),
    "UINT32": ("u32", [[0, 2**31 - 1], [1, 2]]),
    "UINT64": ("u64", [[0, 2**31 - 1], [1, 2]]),
    "INT8": ("i8", [[-128, 127], [1, 2]]),
    "INT16": ("i16", [[-32768, 32767], [1, 2]]),
    "INT32": ("i32", [[-(2**31), 2**31 - 1], [1, 2]]),
    "INT64": ("i64", [[-(2**31), 2**31 - 1], [1, 2]]),
    "FP16": ("f16", [[0.5, -2.0], [65504.0, np.inf]]),
    "BF16": ("bf16", [[0.5, -2.0], [1e30, np.inf]]),
    "FP32": ("f32", [[0.5, -2.0], [3.4e38, np.inf]]),
    "FP64": ("f64", [[0.5, -2.0], [2.0**100, 1.5]]),
    "BYTES": ("string", [[b"", b"a\0b"], ["ü".encode(), b"\xff" * 1000]]),
}


def save(folder: Path, model: Any) -> Path:
    path = folder / "model.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def through(kind: str = "f32", shape: Any = (-1, 2), name: str = "x") -> Any:
    """``y`` is ``x``, by way of a node."""
    from openvino import opset13 as op

    rank = 2 if shape is None else len(shape)
    x = op.parameter(ov.PartialShape.dynamic() if shape is None else list(shape), getattr(ov.Type, kind))
    y = op.reshape(x, np.zeros(rank, np.int64), True)
    if name:
        x.output(0).set_names({name})
        y.output(0).set_names({"y"})
    return ov.Model([y.output(0)], [x], "through")


def load(files: Path, threads: int = 1, **settings: Any) -> OpenVinoSession:
    own = {key: settings.pop(key) for key in ("hint", "precision", "properties") if key in settings}
    settings = {"instances": Instances(threads=threads), "openvino": OpenVino(**own), **settings}
    return OpenVinoEngine().open(ModelSpec(name="m", **settings), files)


def asked(session: OpenVinoSession, name: str) -> Any:
    assert session._compiled
    return session._compiled.get_property(name)


# -- datatypes and layouts ----------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_comes_through_unchanged(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    session = load(save(tmp_path, through(kind)))
    x = np.array(values, dtype_of(datatype))
    y = session.run({"x": x})["y"]
    assert session.signature.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    assert (y.shape, bytes(to_bytes(y))) == (x.shape, bytes(to_bytes(x)))
    assert dtype_of(datatype) == y.dtype


@pytest.mark.parametrize("datatype", DATATYPES)
def test_views_that_are_not_contiguous_are_read_as_they_look(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    x = np.array(values, dtype_of(datatype)).T
    y = load(save(tmp_path, through(kind))).run({"x": x})["y"]
    assert bytes(to_bytes(x)) == bytes(to_bytes(y))


@pytest.mark.parametrize("datatype", ["INT16", "INT64", "FP16", "FP32", "FP64"])
def test_foreign_byte_order_is_turned(datatype: str, tmp_path: Path) -> None:
    kind, values = DATATYPES[datatype]
    x = np.array(values, dtype_of(datatype))
    y = load(save(tmp_path, through(kind))).run({"x": x.astype(x.dtype.newbyteorder(">"))})["y"]
    assert (x.tolist(), True) == (y.tolist(), y.dtype.isnative)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_no_rows_in_is_no_rows_out(datatype: str, tmp_path: Path) -> None:
    session = load(save(tmp_path, through(DATATYPES[datatype][0])))
    assert session.run({"x": np.empty((0, 2), dtype_of(datatype))})["y"].shape == (0, 2)


def test_text_arrays_of_numpy_are_taken_as_bytes_are(tmp_path: Path) -> None:
    session = load(save(tmp_path, through("string")))
    for text in (np.array([["a", "ü"]]), np.array([[b"a", "ü".encode()]]), np.array([["a", "ü"]], object)):
        assert session.run({"x": text})["y"].tolist() == [[b"a", "ü".encode()]]


@pytest.mark.parametrize("kind", ["u4", "f8e4m3", "nf4"])
def test_datatypes_that_v2_does_not_have_are_refused(kind: str, tmp_path: Path) -> None:
    from openvino import opset13 as op

    x = op.parameter([-1, 2], getattr(ov.Type, kind), name="x")
    y = op.convert(x, ov.Type.f32)
    with pytest.raises(LoadFailed, match=rf"input '\w+' of model.xml is {kind}; only BOOL, .*BYTES"):
        load(save(tmp_path, ov.Model([y.output(0)], [x], "m")))


def test_inputs_are_read_in_place_and_never_written(tmp_path: Path) -> None:
    """Relu may run in place, and the array's memory is OpenVINO's while it runs."""
    from openvino import opset13 as op

    x = op.parameter([-1, 4096], ov.Type.f32)
    x.output(0).set_names({"x"})
    y = op.relu(op.relu(x))
    session = load(save(tmp_path, ov.Model([y.output(0)], [x], "m")))
    array = np.random.default_rng(0).standard_normal((64, 4096), dtype=np.float32)
    before = array.copy()
    (out,) = session.run({"x": array}).values()
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(out, np.maximum(before, 0))


def test_an_answer_outlives_the_requests_next_run(tmp_path: Path) -> None:
    session = load(save(tmp_path, through()))
    first = session.run({"x": np.full((2, 2), 1, np.float32)})["y"]
    session.run({"x": np.full((2, 2), 2, np.float32)})
    assert first.tolist() == [[1, 1], [1, 1]]


# -- wrong questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({}, (), "input 'x' is missing; the model takes x"),
        ({"x": np.zeros((1, 2), "f4"), "z": np.zeros(1)}, (), "no input 'z'; have x"),
        ({"x": np.zeros((1, 2))}, (), "input 'x' is FP64; it must be FP32"),
        ({"x": np.array([["a", "b"]])}, (), "input 'x' is BYTES; it must be FP32"),
        ({"x": np.zeros((1, 2), "f4")}, ("y", "z"), "no output 'z'; have y"),
    ],
)
def test_wrong_names_and_datatypes_are_refused(
    inputs: Any, outputs: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        load(save(tmp_path, through())).run(inputs, outputs)


def test_numbers_for_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="input 'x' is FP32; it must be BYTES"):
        load(save(tmp_path, through("string"))).run({"x": np.zeros((1, 2), "f4")})


@pytest.mark.parametrize(("kind", "value"), [("i64", 2**31), ("i64", -(2**31) - 1), ("u64", 2**31)])
def test_integers_that_openvino_would_cut_off_are_refused(kind: str, value: int, tmp_path: Path) -> None:
    """It computes with 32 bits: 2**40 would come out of a model that does nothing as 0."""
    session = load(save(tmp_path, through(kind)))
    x = np.array([[0, value]], getattr(ov.Type, kind).to_dtype())
    with pytest.raises(InvalidRequest, match=rf"input 'x' has .*{value}.*32 bits"):
        session.run({"x": x})


def test_a_wrong_shape_is_said_in_one_line_and_the_request_serves_on(tmp_path: Path) -> None:
    session = load(save(tmp_path, through()))
    with pytest.raises(RuntimeError, match=r"^Can't set .*shape=\[\?,2\].*incompatible$"):
        session.run({"x": np.zeros((2, 3), np.float32)})
    assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]
    assert len(session._idle) == 1


# -- signatures -------------------------------------------------------------------------------------------


def test_sizes_that_vary_are_minus_one_bounded_or_not(tmp_path: Path) -> None:
    session = load(save(tmp_path, through(shape=(ov.Dimension(1, 8), 3, -1))))
    assert [session.signature.inputs[0].shape, session.signature.outputs[0].shape] == [(-1, 3, -1)] * 2


def test_tensors_without_a_name_go_by_their_place(tmp_path: Path) -> None:
    path = save(tmp_path, through())
    path.write_text(re.sub(r' (output_)?names="[^"]*"', "", path.read_text()))
    session = load(path)
    names = [
        [tensor.name for tensor in side] for side in (session.signature.inputs, session.signature.outputs)
    ]
    assert names == [["input_0"], ["output_0"]]
    assert session.run({"input_0": np.ones((1, 2), np.float32)})["output_0"].tolist() == [[1, 1]]


def test_two_outputs_of_one_tensor_keep_apart(tmp_path: Path) -> None:
    from openvino import opset13 as op

    x = op.parameter([-1, 2], ov.Type.f32)
    x.output(0).set_names({"x"})
    y = op.relu(x)
    y.output(0).set_names({"y"})
    session = load(save(tmp_path, ov.Model([y.output(0), y.output(0)], [x], "m")))
    assert list(session.run({"x": np.ones((1, 2), np.float32)})) == ["y", "output_1"]


def test_an_unknown_rank_needs_a_declaration_which_then_holds(tmp_path: Path) -> None:
    path = save(tmp_path, through(shape=None))
    with pytest.raises(LoadFailed, match=r"refuses model.xml.*declare its inputs"):
        load(path)
    declared = (TensorSpec("x", "FP32", (-1, 2)),)
    session = load(path, inputs=declared)
    assert (declared, (-1, 2)) == (session.signature.inputs, session.signature.outputs[0].shape)
    assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (TensorSpec("z", "FP32", (-1, 2)), "inputs are declared as z, but model.xml has x"),
        (TensorSpec("x", "FP16", (-1, 2)), r"'x' is declared as FP16 \[-1, 2\], but model.xml has FP32"),
        (TensorSpec("x", "FP32", (-1, 3)), r"declared as FP32 \[-1, 3\], but model.xml has FP32 \[-1, 2\]"),
        (TensorSpec("x", "FP32", (-1,)), r"declared as FP32 \[-1\], but"),
    ],
)
def test_a_declaration_that_disagrees_is_refused(declared: TensorSpec, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=message):
        load(save(tmp_path, through()), inputs=(declared,))


def test_a_declaration_may_narrow_what_the_file_leaves_open(tmp_path: Path) -> None:
    """Which NPUs need, as they take fixed sizes alone."""
    narrow = TensorSpec("x", "FP32", (4, 2))
    signature = load(save(tmp_path, through()), inputs=(narrow,)).signature
    assert ((narrow,), (4, 2)) == (signature.inputs, signature.outputs[0].shape)


# -- files --------------------------------------------------------------------------------------------------


def test_ir_and_onnx_give_the_same_answers(tmp_path: Path) -> None:
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    x = np.random.default_rng(3).standard_normal((7, 32), dtype=np.float32)
    by_onnx = load(path.parent).run({"x": x})["y"]
    by_ir = load(save(tmp_path, ov.Core().read_model(path))).run({"x": x})["y"]
    assert by_onnx.tolist() == by_ir.tolist()


def test_answers_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    import onnxruntime

    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    x = np.random.default_rng(3).standard_normal((7, 32), dtype=np.float32)
    (direct,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(direct, load(path).run({"x": x})["y"], rtol=1e-5)


def test_ir_comes_before_onnx_and_a_name_before_both(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path.parent / "model.onnx").write_bytes(fixtures.tiny())
    (path.parent / "net.onnx").write_bytes(fixtures.tiny())
    widths = [load(path.parent, file=file).signature.inputs[0].shape[1] for file in ("", "net.onnx")]
    assert widths == [4, 32]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.pb").touch()
    with pytest.raises(LoadFailed, match=r"no model.xml or model.onnx .* has net.pb"):
        load(tmp_path)
    with pytest.raises(LoadFailed, match=r"reads \.xml and \.onnx files, not net.pb"):
        load(tmp_path / "net.pb")


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda xml: cut(xml, 0), "it is no OpenVINO IR file, or cut off"),
        (lambda xml: xml.write_text("<html></html>"), "it is no OpenVINO IR file"),
        (lambda xml: cut(xml, 1000), "at offset"),
        (lambda xml: cut(xml.with_suffix(".bin"), 10), "Incorrect weights in bin file"),
        (lambda xml: xml.with_suffix(".bin").unlink(), "bin file cannot be found"),
    ],
)
def test_a_broken_ir_file_is_refused_quietly(
    break_it: Callable[[Path], None], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    break_it(path)
    with pytest.raises(LoadFailed, match=f"OpenVINO refuses model.xml.*{message}") as caught:
        load(path)
    assert ("\n" in str(caught.value), str(tmp_path) in str(caught.value)) == (False, False)
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\0" * 4096, b"\xff" * 100, fixtures.tiny()[:5000]])
def test_a_broken_onnx_file_is_refused_quietly(
    data: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(LoadFailed, match=r"OpenVINO refuses model.onnx.*: .") as caught:
        load(tmp_path)
    assert ("\n" in str(caught.value), str(tmp_path) in str(caught.value)) == (False, False)
    assert tuple(capfd.readouterr()) == ("", "")


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    with pytest.raises(LoadFailed, match="Frobnicate"):
        load(tmp_path)


# -- devices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "available", "tried"),
    [
        ("auto", ["CPU"], ["CPU"]),
        ("auto", ["CPU", "GPU"], ["AUTO"]),
        ("cpu", ["CPU", "GPU"], ["CPU"]),
        ("gpu", ["CPU", "GPU"], ["GPU.0"]),
        ("gpu:1", ["CPU", "GPU.0", "GPU.1"], ["GPU.1"]),
        ("npu", ["CPU", "NPU"], ["NPU"]),
        (("npu", "gpu:3", "gpu", "cpu"), ["CPU", "GPU.0", "GPU.1"], ["GPU.0", "CPU"]),
    ],
)
def test_devices_are_tried_in_the_order_asked_for(asked: Any, available: list[str], tried: list[str]) -> None:
    assert tried == devices(ModelSpec(device=asked), available)


def test_a_device_that_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="OpenVINO sees no gpu:7 nor npu here; have cpu"):
        devices(ModelSpec(device=("gpu:7", "npu")), ["CPU"])
    with pytest.raises(BadSetting, match="no device 'cuda'; use 'auto', 'cpu', 'gpu', 'npu'"):
        load(write(tmp_path), device="cuda")


@pytest.mark.skipif(ov.Core().available_devices != ["CPU"], reason="what runs is known on a CPU alone")
def test_what_really_runs_it_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert [load(path).device, load(path, precision="f32").device] == ["cpu", "cpu (f32)"]


def test_each_other_device_of_this_machine_gives_the_same_answers(tmp_path: Path) -> None:
    others = [name for name in ov.Core().available_devices if name != "CPU"]
    if not others:
        pytest.skip("OpenVINO sees a CPU alone here")
    path = write(tmp_path)
    x = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)
    for name in others:
        session = load(path, device=name.lower().replace(".", ":").split(":")[0])
        np.testing.assert_allclose(session.run({"x": x})["y"], load(path).run({"x": x})["y"], atol=1e-2)
        assert session.concurrency > 0


# -- settings -----------------------------------------------------------------------------------------------


def bfloat16_here() -> bool:
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_answers_have_the_files_own_precision_unless_asked_otherwise(tmp_path: Path) -> None:
    """OpenVINO by itself would take bf16 on a CPU that has it."""
    path = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    x = np.random.default_rng(3).standard_normal((64, 32), dtype=np.float32)
    exact = load(path, precision="f32").run({"x": x})["y"]
    np.testing.assert_allclose(load(path).run({"x": x})["y"], exact, rtol=1e-6)
    if not bfloat16_here():
        pytest.skip("this CPU has no bf16")
    session = load(path, precision="bf16")
    assert (session.device, np.abs(session.run({"x": x})["y"] - exact).max() > 1e-4) == ("cpu (bf16)", True)


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (2, 1), (1, 2)])
def test_streams_and_threads_follow_the_instances(count: int, threads: int, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("OpenVINO takes no more streams than there are cores")
    session = load(write(tmp_path), instances=Instances(count=count, threads=threads))
    assert (count, threads) == (asked(session, "NUM_STREAMS"), session.threads)
    assert (session.concurrency, asked(session, "ENABLE_CPU_PINNING")) == (0, False)


def test_instances_default_to_as_many_as_there_are_cores(tmp_path: Path) -> None:
    assert len(os.sched_getaffinity(0)) == asked(load(write(tmp_path)), "NUM_STREAMS")
    assert asked(load(write(tmp_path), isolation="inline"), "NUM_STREAMS") == 1


def test_a_hint_leaves_streams_and_concurrency_to_openvino(tmp_path: Path) -> None:
    session = load(write(tmp_path), hint="latency")
    assert (asked(session, "NUM_STREAMS"), session.concurrency) == (1, 1)
    many = load(write(tmp_path / "2"), hint="throughput")
    assert (asked(many, "OPTIMAL_NUMBER_OF_INFER_REQUESTS"), "THROUGHPUT") == (
        many.concurrency,
        str(asked(many, "PERFORMANCE_HINT")).split(".")[-1],
    )


def test_properties_by_name_win(tmp_path: Path) -> None:
    session = load(
        write(tmp_path), properties={"NUM_STREAMS": 1, "PERF_COUNT": True, "CACHE_MODE": "OPTIMIZE_SIZE"}
    )
    assert (asked(session, "NUM_STREAMS"), str(asked(session, "PERF_COUNT"))) == (1, "YES")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"NUM_STREAM": 1}, "CPU has no 'NUM_STREAM'; did you mean 'NUM_STREAMS'"),
        ({"EXECUTION_DEVICES": "CPU"}, "CPU has no 'EXECUTION_DEVICES'"),
        ({"NUM_STREAMS": "many"}, "properties: .*many"),
        ({"PERF_COUNT": "maybe"}, "properties: .*PERF_COUNT. Expected only true/false"),
    ],
)
def test_a_wrong_property_is_refused_with_what_would_be_right(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=message) as caught:
        load(write(tmp_path), properties=settings)
    assert "\n" not in str(caught.value)


# -- requests --------------------------------------------------------------------------------------------


def test_requests_grow_to_what_is_used_at_once_and_no_further(tmp_path: Path) -> None:
    session = load(
        fixtures.write(tmp_path, "sized", "1", fixtures.sized(4)), instances=Instances(count=2, threads=1)
    )
    x = np.ones((16, 256), np.float32)
    for _ in range(5):
        session.run({"x": x})
    alone = len(session._idle)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(session.run, [{"x": x}] * 200))
    assert (
        alone,
        1 < len(session._idle) <= max(2, asked(session, "OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
    ) == (1, True)


def test_a_closed_session_says_so_and_keeps_no_request(tmp_path: Path) -> None:
    session = load(write(tmp_path))
    session.run({"x": np.ones((1, 4), np.float32)})
    session.close()
    assert not session._idle
    with pytest.raises(RuntimeError, match="closed"):
        session.run({"x": np.ones((1, 4), np.float32)})


def test_an_idle_session_uses_no_cpu(tmp_path: Path) -> None:
    path = fixtures.write(tmp_path, "sized", "1", fixtures.sized(4))
    session = load(path, instances=Instances(count=1, threads=2))
    for _ in range(3):
        session.run({"x": np.ones((64, 256), np.float32)})
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03


# -- cache -----------------------------------------------------------------------------------------------


def test_the_second_load_comes_from_the_cache(tmp_path: Path) -> None:
    path = write(tmp_path / "models")
    x = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)
    seen, answers = [], []
    for _ in range(2):
        session = load(path, cache=str(tmp_path / "cache"))
        seen.append(asked(session, "LOADED_FROM_CACHE"))
        answers.append(session.run({"x": x})["y"].tolist())
        session.close()
    assert ([False, True], answers[0]) == (seen, answers[1])


def test_on_the_cpu_nothing_is_kept_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load(write(tmp_path / "models"), device="cpu")
    load(write(tmp_path / "others"), device="cpu", cache="off")
    assert not (tmp_path / "cache").exists()


def test_other_weights_beside_the_same_file_are_not_served_from_the_cache(tmp_path: Path) -> None:
    """OpenVINO itself looks at the .xml file alone."""
    path = write(tmp_path / "models")
    x = {"x": np.ones((1, 4), np.float32)}
    first = load(path, cache=str(tmp_path / "cache")).run(x)["y"]
    weights = path.with_suffix(".bin")
    weights.write_bytes(
        (np.frombuffer(weights.read_bytes()[:224], "f4") * 2).tobytes() + weights.read_bytes()[224:]
    )
    session = load(path, cache=str(tmp_path / "cache"))
    assert (asked(session, "LOADED_FROM_CACHE"), np.allclose(first, session.run(x)["y"])) == (False, False)


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_cut_off_cache_entry_is_compiled_anew(keep: int, tmp_path: Path) -> None:
    path = write(tmp_path / "models")
    x = {"x": np.ones((1, 4), np.float32)}
    first = load(path, cache=str(tmp_path / "cache")).run(x)["y"]
    (entry,) = (tmp_path / "cache").rglob("*.blob")
    cut(entry, keep)
    assert first.tolist() == load(path, cache=str(tmp_path / "cache")).run(x)["y"].tolist()


# -- its import ------------------------------------------------------------------------------------------

QUIET = """
import os, sys, threading
from pathlib import Path
from penstock.core.spec import ModelSpec
from penstock.engines.openvino import OpenVinoEngine
os.register_at_fork(before=lambda: print("forks"))
OpenVinoEngine().open(ModelSpec(), Path(sys.argv[1])).close()
for thread in threading.enumerate()[1:]:
    thread.join(1)
print(*[name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def test_it_neither_forks_nor_sends_word_of_its_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET, write(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


# -- memory ----------------------------------------------------------------------------------------------

RSS = """
import sys
from pathlib import Path
import numpy as np
from penstock.core.spec import Instances, ModelSpec
from penstock.engines.openvino import OpenVinoEngine

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def once():
    session = OpenVinoEngine().open(ModelSpec(instances=Instances(threads=2)), Path(sys.argv[1]))
    for rows in (1, 7, 32):
        session.run({"x": np.zeros((rows, 256), np.float32)})
    loaded = rss()
    session.close()
    return loaded

for _ in range(10):
    loaded = once()
before = rss()
for _ in range(40):
    once()
print(loaded, before, rss())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_forty_loads_and_unloads_give_the_memory_back(tmp_path: Path) -> None:
    """Eight MB of weights: one session kept would show."""
    path = fixtures.write(tmp_path, "sized", "1", fixtures.sized(8))
    done = subprocess.run([sys.executable, "-c", RSS, path], capture_output=True, text=True, check=True)
    loaded, before, after = map(float, done.stdout.split())
    assert (loaded - before > 6, after - before < 4) == (True, True), (loaded, before, after)


def test_names_are_the_files_own_where_compiling_drops_nodes(tmp_path: Path) -> None:
    """OpenVINO gives the names inside to the ports as well, and some come first in the alphabet."""
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in "xy")
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(helper.make_graph(nodes, "m", [x], [y]), opset_imports=[opset], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    session = load(tmp_path)
    assert [
        tuple(each.name for each in side) for side in (session.signature.inputs, session.signature.outputs)
    ] == [("x",), ("y",)]
