"""TensorRT engines: profiles, slots and what is said where there is none.

TensorRT and CUDA stand-ins keep "device" memory in the host's, so that the ways of the data are real.
"""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.spec import Batching, Instances, ModelSpec, Signature, TensorSpec
from penstock.engines.tensorrt import TensorRtEngine, TensorRtSession
from penstock.engines.tensorrt_profiles import fitting, most_rows

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
PROFILES = [{"x": ((1, 2), (4, 2))}, {"x": ((1, 2), (8, 2))}]


def zeros(rows: int) -> dict[str, Any]:
    return {"x": np.zeros((rows, 2), np.float32)}


# -- profiles -----------------------------------------------------------------------------------------


def test_the_first_profile_that_takes_the_inputs_is_used() -> None:
    assert [fitting(PROFILES, zeros(rows)) for rows in (1, 4, 5, 8)] == [0, 0, 1, 1]


@pytest.mark.parametrize("rows", [0, 9])
def test_inputs_outside_all_profiles_are_refused_with_the_limits(rows: int) -> None:
    limits = rf"'x' has shape \[{rows}, 2\]; the engine takes \[1, 2\] to \[4, 2\] or \[1, 2\] to \[8, 2\]"
    with pytest.raises(InvalidRequest, match=limits):
        fitting(PROFILES, zeros(rows))


def test_the_widest_profile_tells_the_most_rows() -> None:
    assert most_rows(SIGNATURE, PROFILES) == 8
    assert most_rows(Signature((TensorSpec("x", "FP32", (4, 2)),), ()), PROFILES) is None
    assert most_rows(SIGNATURE, []) is None


# -- the missing package ------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_what_to_install_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"'tensorrt' needs TensorRT: pip install 'penstock\[tensorrt\]'"):
        TensorRtEngine().open(ModelSpec(), tmp_path)


# -- the way of the data, with stand-ins --------------------------------------------------------------


class Cuda(ModuleType):
    """As cuda.bindings.runtime: each call gives (error, value)."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, devices: int = 1) -> None:
        super().__init__("cuda.bindings.runtime")
        self.memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.devices = devices
        self.lock = Lock()

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return (0, self.devices) if self.devices else (100, 0)

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:
        return 0, b"no CUDA-capable device is detected" if error == 100 else b"out of memory"

    def cudaSetDevice(self, index: int) -> tuple[int]:
        return (0,)

    def cudaStreamCreate(self) -> tuple[int, int]:
        stream = 1000 + len(self.streams)
        self.streams.add(stream)
        return 0, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        self.streams.remove(stream)
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        return (0,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        if size > 1 << 20:
            return 2, 0
        buffer = ctypes.create_string_buffer(size)
        with self.lock:
            self.memory[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def cudaFree(self, place: int) -> tuple[int]:
        with self.lock:
            del self.memory[place]
        return (0,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        ctypes.memmove(to, source, size)
        return (0,)


class Context:
    """Doubles ``x`` into ``y``."""

    def __init__(self, engine: "Engine") -> None:
        self.engine, self.profile, self.places = engine, 0, dict[str, int]()
        self.shape: tuple[int, ...] = ()

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        self.shape = shape
        return bool(least[0] <= shape[0] <= most[0])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, place: int) -> bool:
        self.places[name] = place
        return True

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        x, y = (
            np.ctypeslib.as_array(ctypes.cast(self.places[n], ctypes.POINTER(ctypes.c_float)), (count,))
            for n in "xy"
        )
        np.multiply(x, 2, out=y)
        return True


class Engine:
    num_io_tensors, num_optimization_profiles = 2, len(PROFILES)

    def __init__(self, kind: str = "FLOAT") -> None:
        self.kind = kind

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.kind)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 2)

    def is_shape_inference_io(self, name: str) -> bool:
        return self.kind == "INT64"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        least, most = PROFILES[index]["x"]
        return [least, most, most]

    def create_execution_context(self) -> Context:
        return Context(self)


class Logger:
    ERROR = 1


class Runtime:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        if data.startswith(b"engine"):
            return Engine(data.decode().partition(" ")[2] or "FLOAT")
        self.logger.log(2, "a warning")
        self.logger.log(1, "Serialization\nassertion failed")
        return None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    trt = ModuleType("tensorrt")
    trt.__dict__.update(
        __version__="10.9",
        ILogger=Logger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        init_libnvinfer_plugins=lambda logger, name: True,
    )
    runtime = Cuda()
    names = {"tensorrt": trt, "cuda": ModuleType("cuda"), "cuda.bindings": ModuleType("cuda.bindings")}
    for name, module in (names | {"cuda.bindings.runtime": runtime}).items():
        monkeypatch.setitem(sys.modules, name, module)
    return runtime


def opened(folder: Path, data: bytes = b"engine", rows: int = 8, **settings: Any) -> TensorRtSession:
    (folder / "model.plan").write_bytes(data)
    return TensorRtEngine().open(ModelSpec(batching=Batching(max_rows=rows), **settings), folder)


def test_answers_come_back_whatever_the_profile_and_memory_goes(cuda: Cuda, tmp_path: Path) -> None:
    session = opened(tmp_path)
    assert (session.signature, session.device, session.concurrency) == (SIGNATURE, "cuda:0", 2)
    for rows in (1, 8, 3, 5):
        x = np.arange(2 * rows, dtype=">f4").reshape(2, rows).T
        assert session.run({"x": x})["y"].tolist() == (2 * x).tolist()
    session.close()
    assert (cuda.memory, cuda.streams) == ({}, set())
    with pytest.raises(RuntimeError, match="closed"):
        session.run(zeros(1))


def test_as_many_runs_go_on_as_there_are_contexts_and_do_not_mix(cuda: Cuda, tmp_path: Path) -> None:
    session = opened(tmp_path, instances=Instances(count=3))
    assert session.concurrency == 3
    inputs = [{"x": np.full((1 + i % 8, 2), i, np.float32)} for i in range(200)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(session.run, inputs))
    assert [2 * each["x"][0, 0] for each in inputs] == [each["y"][-1, -1] for each in answers]


def test_batches_that_outgrow_the_profiles_are_refused_at_load_and_rows_at_run(
    cuda: Cuda, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=r"profiles end at 8 rows and batching.max_rows is 16; set it to 8"):
        opened(tmp_path, rows=16)
    with pytest.raises(BadSetting, match=r"is not set, which may come to 64"):
        opened(tmp_path, rows=0)
    with pytest.raises(InvalidRequest, match="the engine takes"):
        opened(tmp_path).run(zeros(9))


def test_a_foreign_engine_is_refused_with_the_reason(cuda: Cuda, tmp_path: Path) -> None:
    with pytest.raises(
        LoadFailed, match=r"^TensorRT 10.9 refuses model.plan: Serialization assertion failed$"
    ):
        opened(tmp_path, b"junk")
    with pytest.raises(LoadFailed, match=r"'x' of model.plan is FP8; have FLOAT"):
        opened(tmp_path, b"engine FP8")
    with pytest.raises(LoadFailed, match=r"'x' of model.plan holds a shape"):
        opened(tmp_path, b"engine INT64")


def test_a_gpu_that_is_not_there_is_said(cuda: Cuda, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"TensorRT sees no cuda:1 here; have cuda"):
        opened(tmp_path, device="cuda:1")
    with pytest.raises(BadSetting, match=r"no device 'cpu'; use 'auto', 'cuda'"):
        opened(tmp_path, device="cpu")
    cuda.devices = 0
    with pytest.raises(LoadFailed, match=r"needs an NVIDIA GPU, and CUDA says CUDA: no CUDA-capable device"):
        opened(tmp_path)


# -- with TensorRT itself -----------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("tensorrt") is None, reason="needs tensorrt and a GPU")
def test_a_real_engine_answers(tmp_path: Path) -> None:
    from tests.engines.models import tensorrt

    session = TensorRtEngine().open(ModelSpec(batching=Batching(max_rows=8)), tensorrt.write(tmp_path))
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(session.run({"x": x})["y"], np.maximum(x, 0))
    session.close()
