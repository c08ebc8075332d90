"""TensorRT: serialized engines through TensorRT's own runtime, within their optimization profiles."""

from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from penstock.core.errors import BadSetting, LoadFailed, one_line
from penstock.core.spec import Isolation, ModelSpec, Signature, TensorSpec
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen
from penstock.engines.declared import check_declared
from penstock.engines.device import choose, wanted
from penstock.engines.files import find
from penstock.engines.memory import trim
from penstock.engines.require import require
from penstock.engines.tensorrt_profiles import Profile, fitting, most_rows
from penstock.engines.tensorrt_slot import Slot, checked

USUAL_FILES = ("model.plan", "model.engine")
DATATYPES = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "BF16": "BF16",
    "INT8": "INT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "UINT8": "UINT8",
    "BOOL": "BOOL",
}
"""V2 datatypes by TensorRT's names."""
RUNS = 2
"""Runs at once where the settings name no number: one computes while the other copies."""
MAX_ROWS = 64
"""Rows of a batch that policies may come to where the settings name no number."""


class TensorRtEngine:
    """Opens ``model.plan`` or ``model.engine``, built for this GPU by this version of TensorRT."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> "TensorRtSession":
        """Raises LoadFailed with TensorRT's reason, and BadSetting where batches outgrow its profiles."""
        trt = require("tensorrt", "TensorRT", "tensorrt")
        cuda = require("cuda.bindings.runtime", "CUDA's Python bindings", "tensorrt")
        path = find(spec, files, *USUAL_FILES)
        device = _device(cuda, spec)
        checked(cuda, cuda.cudaSetDevice(device))
        engine, logger = _load(trt, path)
        signature = _signature(trt, engine, path.name)
        check_declared(spec, signature, path.name)
        profiles = _profiles(engine, signature)
        _check_rows(spec, signature, profiles)
        try:
            slots = [Slot(cuda, engine, device, logger) for _ in range(spec.instances.count or RUNS)]
        except RuntimeError as error:
            raise LoadFailed(f"TensorRT cannot run {path.name}: {one_line(error)}") from error
        return TensorRtSession(signature, profiles, slots, f"cuda:{device}")


class TensorRtSession:
    """One engine, with an execution context for each run that may go on at once."""

    platform = "tensorrt_plan"
    threads = 1

    def __init__(
        self, signature: Signature, profiles: Sequence[Profile], slots: Sequence[Slot], device: str
    ) -> None:
        self.signature = signature
        self.device = device
        self.concurrency = len(slots)
        self._profiles = profiles
        self._slots = list(slots)
        self._idle: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            self._idle.put(slot)

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name; waits where as many runs go on as there are contexts.

        Raises InvalidRequest for inputs that are not the signature's or that no profile takes.
        """
        if not self._slots:
            raise RuntimeError("the session is closed")
        check_inputs(self.signature, inputs)
        names = chosen(self.signature, outputs)
        profile = fitting(self._profiles, inputs)
        slot = self._idle.get()
        try:
            given = slot.run(inputs, self.signature.outputs, profile)
        finally:
            self._idle.put(slot)
        return {name: given[name] for name in names}

    def close(self) -> None:
        """Gives contexts, buffers and the engine back."""
        slots, self._slots = self._slots, []
        while not self._idle.empty():
            self._idle.get()
        for slot in slots:
            slot.close()
        trim()


def _device(cuda: Any, spec: ModelSpec) -> int:
    wishes = wanted(spec.device, auto=("cuda",), known=("cuda", "gpu"))
    try:
        count = int(checked(cuda, cuda.cudaGetDeviceCount()))
    except RuntimeError as error:
        raise LoadFailed(f"TensorRT needs an NVIDIA GPU, and CUDA says {error}") from error
    return choose(wishes, {"cuda": count, "gpu": count}, "TensorRT").number or 0


def _load(trt: Any, path: Path) -> tuple[Any, Any]:
    """The engine, and what hears TensorRT's errors, which raises none itself."""

    class Errors(trt.ILogger):  # type: ignore[misc]
        last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.last = message

    errors = Errors()
    trt.init_libnvinfer_plugins(errors, "")
    engine = trt.Runtime(errors).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        said = one_line(RuntimeError(errors.last or "no reason")).replace(str(path), path.name)
        raise LoadFailed(f"TensorRT {trt.__version__} refuses {path.name}: {said}")
    return engine, errors


def _signature(trt: Any, engine: Any, file: str) -> Signature:
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    ins = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    for name in ins:
        if engine.is_shape_inference_io(name):
            raise LoadFailed(f"input {name!r} of {file} holds a shape; only inputs that hold data are served")
    return Signature(
        tuple(_tensor(engine, name, file) for name in ins),
        tuple(_tensor(engine, name, file) for name in names if name not in ins),
    )


def _tensor(engine: Any, name: str, file: str) -> TensorSpec:
    kind = engine.get_tensor_dtype(name).name
    if kind not in DATATYPES:
        raise LoadFailed(f"{name!r} of {file} is {kind}; have {', '.join(DATATYPES)}")
    return TensorSpec(name, DATATYPES[kind], tuple(engine.get_tensor_shape(name)))


def _profiles(engine: Any, signature: Signature) -> list[Profile]:
    """The smallest and the largest shape of each input, by profile."""
    return [
        {spec.name: _limits(engine, spec.name, index) for spec in signature.inputs}
        for index in range(engine.num_optimization_profiles)
    ]


def _limits(engine: Any, name: str, index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    least, _, most = engine.get_tensor_profile_shape(name, index)
    return tuple(least), tuple(most)


def _check_rows(spec: ModelSpec, signature: Signature, profiles: Sequence[Profile]) -> None:
    """Batches are formed up to ``batching.max_rows``, which must be rows that the engine takes."""
    most = most_rows(signature, profiles)
    if most is None or spec.batching.policy == "none":
        return
    if (spec.batching.max_rows or MAX_ROWS) > most:
        now = spec.batching.max_rows or f"not set, which may come to {MAX_ROWS}"
        raise BadSetting(
            f"the engine's profiles end at {most} rows and batching.max_rows is {now}; "
            f"set it to {most} or less, or build the engine for more"
        )
