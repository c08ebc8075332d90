"""From settings to execution providers, and what is said of where a model runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.spec import ModelSpec, Onnx, Signature, TensorSpec
from penstock.engines.onnx_devices import (
    CPU,
    CUDA,
    TENSORRT,
    Candidate,
    candidates,
    count,
    describe,
    shortfall,
)
from penstock.engines.onnx_profiles import batch_profiles, profile_options

DML, OPENVINO, QNN, COREML, ROCM, MIGRAPHX = (
    f"{name}ExecutionProvider" for name in ("Dml", "OpenVINO", "QNN", "CoreML", "ROCM", "MIGraphX")
)
PLAIN = ["AzureExecutionProvider", CPU]
GPU = [TENSORRT, CUDA, CPU]
ALL = [TENSORRT, CUDA, MIGRAPHX, ROCM, OPENVINO, QNN, COREML, DML, CPU]


def tried(device: Any, available: list[str], cache: Path | None = None, **onnx: Any) -> list[Any]:
    """The providers of each candidate."""
    spec = ModelSpec(device=device, onnx=Onnx(**onnx))
    return [list(each.providers) for each in candidates(spec, available, ALL, cache)]


# -- by device ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", PLAIN, [[(CPU, {})]]),
        ("auto", GPU, [[(CUDA, {})], [(CPU, {})]]),
        ("auto", [COREML, CPU], [[(COREML, {})], [(CPU, {})]]),
        ("auto", [MIGRAPHX, CPU], [[(MIGRAPHX, {})], [(CPU, {})]]),
        ("cpu", GPU, [[(CPU, {})]]),
        ("cpu:0", PLAIN, [[(CPU, {})]]),
        ("cuda", GPU, [[(CUDA, {})]]),
        ("CUDA:1", GPU, [[(CUDA, {"device_id": 1})]]),
        ("tensorrt", GPU, [[(TENSORRT, {}), (CUDA, {})]]),
        ("tensorrt:1", GPU, [[(TENSORRT, {"device_id": 1}), (CUDA, {"device_id": 1})]]),
        ("dml:1", [DML, CPU], [[(DML, {"device_id": 1})]]),
        ("rocm", [MIGRAPHX, CPU], [[(MIGRAPHX, {})]]),
        ("coreml", [COREML, CPU], [[(COREML, {})]]),
        ("ane", [COREML, CPU], [[(COREML, {"MLComputeUnits": "CPUAndNeuralEngine"})]]),
        ("npu", [OPENVINO, CPU], [[(OPENVINO, {"device_type": "NPU"})]]),
        ("gpu:1", [OPENVINO, CPU], [[(OPENVINO, {"device_type": "GPU.1"})]]),
        ("qnn", [QNN, CPU], [[(QNN, {"backend_type": "htp"})]]),
        (("tensorrt", "cpu"), PLAIN, [[(CPU, {})]]),
        (("cuda:1", "cuda:0", "cpu"), GPU, [[(CUDA, {"device_id": i})] for i in (1, 0)] + [[(CPU, {})]]),
    ],
)
def test_a_device_is_the_providers_that_can_be_it(device: Any, available: list[str], expected: Any) -> None:
    assert expected == tried(device, available)


def test_tensorrt_itself_must_take_nodes_and_not_just_cuda_beside_it() -> None:
    (candidate,) = candidates(ModelSpec(device="tensorrt"), GPU)
    assert candidate.needs == (TENSORRT,)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"no execution provider for device 'cuda'; have .*CPU.*pip install onnxruntime-gpu"),
        (("dml", "openvino"), r"'dml nor openvino'.*onnxruntime-directml or onnxruntime-openvino"),
    ],
)
def test_a_build_without_the_device_is_refused_with_the_package_that_has_it(
    device: Any, message: str
) -> None:
    with pytest.raises(LoadFailed, match=message):
        tried(device, PLAIN)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", "no device 'tpu'; use 'auto', 'cpu', 'cuda'"),
        ("coreml:1", "CoreMLExecutionProvider takes no number; use 'coreml'"),
        ("cpu:1", "CPUExecutionProvider takes no number"),
    ],
)
def test_an_odd_device_is_refused(device: str, message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        tried(device, ALL)


# -- by provider name ---------------------------------------------------------------------------------


def test_providers_by_name_win_over_the_device_and_are_one_session() -> None:
    assert tried("cpu", GPU, providers=(CUDA, CPU, CUDA)) == [[(CUDA, {}), (CPU, {})]]


def test_a_provider_that_this_build_lacks_is_passed_over_in_a_list_and_said() -> None:
    (candidate,) = candidates(ModelSpec(onnx=Onnx(providers=(CUDA, CPU))), PLAIN, ALL)
    assert (
        candidate.providers,
        candidate.notes,
    ) == (((CPU, {}),), ("CUDAExecutionProvider is not in this build",))
    assert describe(candidate, {CPU: {}}, None) == "cpu (CUDAExecutionProvider is not in this build)"


@pytest.mark.parametrize("providers", [(CUDA,), (CUDA, TENSORRT), ("CUDAExecutionProvidr", CPU)])
def test_a_provider_that_nothing_may_replace_or_nobody_knows_is_refused(providers: tuple[str, ...]) -> None:
    with pytest.raises(LoadFailed, match=r"CUDAExecutionProvid.*have Azure.*CPU"):
        tried("auto", PLAIN, providers=providers)


# -- options ------------------------------------------------------------------------------------------


def test_options_by_provider_win_over_those_of_the_device() -> None:
    found = tried("cuda:1", GPU, provider_options={CUDA: {"device_id": 3, "gpu_mem_limit": 9}})
    assert found == [[(CUDA, {"device_id": 3, "gpu_mem_limit": 9})]]


def test_options_for_what_another_machine_has_are_no_mistake() -> None:
    assert tried("auto", PLAIN, provider_options={CUDA: {"device_id": 3}}) == [[(CPU, {})]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"provider_options": {"CUDAExecutionProvder": {}}}, "did you mean 'CUDAExecutionProvider'"),
        ({"provider_options": {TENSORRT: {}}}, "TensorrtExecutionProvider' is not in what the device"),
        ({"providers": (CUDA,), "provider_options": {CPU: {}}}, "is not in providers"),
        ({"fp16": True}, r"onnx.fp16 is for TensorRT.*device = 'tensorrt'"),
        ({"profiles": {"x": {"min": (1,)}}}, "onnx.profiles is for TensorRT"),
    ],
)
def test_settings_for_what_is_not_asked_for_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        tried("cuda", GPU, **settings)


def test_compiled_forms_go_to_the_cache(tmp_path: Path) -> None:
    (((_, tensorrt), (_, cuda)),) = tried("tensorrt", GPU, tmp_path, fp16=True)
    assert {
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(tmp_path),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(tmp_path),
    } == tensorrt
    assert cuda == {}
    assert [[(OPENVINO, {"cache_dir": str(tmp_path)})]] == tried("openvino", ALL, tmp_path)
    assert [[(COREML, {"ModelCacheDirectory": str(tmp_path)})]] == tried("coreml", ALL, tmp_path)


# -- TensorRT's shapes --------------------------------------------------------------------------------


def test_profiles_are_written_as_tensorrt_takes_them() -> None:
    profiles = {
        "x": {"min": (1, 3, 8, 8), "opt": (8, 3, 8, 8), "max": (32, 3, 8, 8)},
        "y": {"min": (1, 4), "max": (32, 4)},
        "z": {"opt": (8, 2)},
    }
    assert profile_options(profiles) == {
        "trt_profile_min_shapes": "x:1x3x8x8,y:1x4,z:8x2",
        "trt_profile_opt_shapes": "x:8x3x8x8,y:32x4,z:8x2",
        "trt_profile_max_shapes": "x:32x3x8x8,y:32x4,z:8x2",
    }
    assert profile_options({}) == {}


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({}, "onnx.profiles.x is empty; give min, opt and max"),
        ({"min": (2, 3), "max": (1, 3)}, "must have as many sizes and grow"),
        ({"min": (1, 3), "max": (8,)}, "must have as many sizes and grow"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(profile: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        profile_options({"x": profile})


def test_profiles_are_made_for_the_rows_where_only_they_vary() -> None:
    x, fixed, text = (
        TensorSpec("x", "FP32", (-1, 3)),
        TensorSpec("fixed", "FP32", (2, 3)),
        TensorSpec("ids", "INT64", (-1, -1)),
    )
    assert batch_profiles(Signature((x, fixed), ()), 16) == {
        "x": {"min": (1, 3), "opt": (16, 3), "max": (16, 3)}
    }
    assert batch_profiles(Signature((x, text), ()), 16) == {}


# -- what it came to ----------------------------------------------------------------------------------


def part(provider: str, nodes: int) -> SimpleNamespace:
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: [object()] * nodes)


def test_nodes_are_counted_over_all_parts() -> None:
    assert count([part(CUDA, 3), part(CPU, 1), part(CUDA, 2)]) == {CUDA: 5, CPU: 1}


def test_what_runs_is_said_with_nodes() -> None:
    cuda = Candidate(((CUDA, {}),), (CUDA,))
    started = {CUDA: {"device_id": "1"}, CPU: {}}
    both = "cuda:1 (CUDAExecutionProvider 120 nodes, CPUExecutionProvider 4)"
    assert both == describe(cuda, started, {CUDA: 120, CPU: 4})
    assert describe(cuda, started, None) == "cuda:1"
    assert describe(Candidate(((CPU, {}),), (CPU,)), {CPU: {}}, None) == "cpu"


def test_a_fall_back_is_said() -> None:
    either = Candidate(((CUDA, {}), (CPU, {})), (CUDA, CPU))
    assert describe(either, {CPU: {}}, {CPU: 7}) == "cpu (CUDAExecutionProvider did not start)"
    assert (
        describe(either, {CUDA: {}, CPU: {}}, {CPU: 7})
        == "cpu (CUDAExecutionProvider took no node of the model)"
    )
    cpu = Candidate(((CPU, {}),), (CPU,))
    assert describe(cpu, {CPU: {}}, None, ["X did not start"]) == "cpu (X did not start)"


@pytest.mark.parametrize(
    ("provider", "options", "expected"),
    [
        (OPENVINO, {"device_type": "GPU.1"}, "gpu:1"),
        (OPENVINO, {"device_type": "CPU"}, "cpu"),
        (OPENVINO, {}, "openvino"),
        (TENSORRT, {"device_id": "0"}, "cuda:0"),
        (QNN, {}, "npu"),
        (COREML, {}, "coreml"),
        (DML, {"device_id": "1"}, "dml:1"),
        ("XnnpackExecutionProvider", {}, "xnnpack"),
    ],
)
def test_devices_are_named_as_the_setting_names_them(
    provider: str, options: dict[str, str], expected: str
) -> None:
    candidate = Candidate(((provider, {}),), (provider,))
    assert f"{expected} ({provider} 3 nodes)" == describe(
        candidate, {provider: options, CPU: {}}, {provider: 3}
    )


def test_a_session_that_is_not_what_was_wanted_is_found_out() -> None:
    cuda = Candidate(((CUDA, {}),), (CUDA,))
    either = Candidate(((CUDA, {}), (CPU, {})), (CUDA, CPU))
    assert shortfall(cuda, [CPU], {CPU: 3}) == "CUDAExecutionProvider did not start"
    assert shortfall(cuda, [CUDA, CPU], {CPU: 3}) == "CUDAExecutionProvider took no node of the model"
    assert shortfall(cuda, [CUDA, CPU], {CUDA: 1, CPU: 3}) == ""
    assert shortfall(cuda, [CUDA, CPU], None) == ""
    assert shortfall(cuda, [CUDA, CPU], {}) == "", "a model without nodes has none to give"
    assert shortfall(either, [CPU], {CPU: 3}) == ""
