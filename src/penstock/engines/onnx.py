"""ONNX Runtime: sessions from model files, with its providers and options per model."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.core.errors import InvalidRequest, LoadFailed
from penstock.core.spec import Isolation, ModelSpec, Signature, TensorSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors
from penstock.engines.declared import check_declared
from penstock.engines.files import find
from penstock.engines.memory import trim
from penstock.engines.onnx_devices import CUDA, DML
from penstock.engines.onnx_options import FATAL
from penstock.engines.onnx_start import Started, start
from penstock.engines.require import onnxruntime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

USUAL_FILE = "model.onnx"
DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
"""V2 datatypes by ONNX Runtime's names."""
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class OnnxEngine:
    """Opens a version's ``model.onnx`` (or ``spec.file``) by path, external data beside it included."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> "OnnxSession":
        """Raises LoadFailed with ONNX Runtime's reason, and BadSetting for an option there is not."""
        ort = onnxruntime()
        path = find(spec, files, USUAL_FILE)
        # Whatever goes wrong is raised, and answered by whoever called; stderr is not ours to fill.
        ort.set_default_logger_severity(FATAL)
        started = start(ort, spec, path, lambda inner: read_signature(path.name, inner))
        signature = read_signature(path.name, started.inner)
        check_declared(spec, signature, path.name)
        _check_mix(path.name, signature)
        return (SerialSession if DML in started.running else OnnxSession)(started, signature)


class OnnxSession:
    """One loaded model; ``run`` lets go of the GIL and may be called by several threads at once."""

    platform = "onnxruntime_onnx"

    def __init__(self, started: Started, signature: Signature) -> None:
        self.signature = signature
        self.device = started.device
        self.threads = started.threads
        self.concurrency = _concurrency(started)
        self._inner: InferenceSession | None = started.inner
        self._all = [spec.name for spec in signature.outputs]
        self._texts = _has(signature.inputs, "BYTES")
        self._takes_bfloat16 = _has(signature.inputs, "BF16")
        self._gives_bfloat16 = _has(signature.outputs, "BF16")

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name; text comes back as ``str`` objects.

        The whole graph runs whatever is asked for: ONNX Runtime stops at the outputs wanted only in its
        training builds (microsoft/onnxruntime#16013).
        Raises InvalidRequest where BYTES are not UTF-8, and what ONNX Runtime raises.
        """
        if self._inner is None:
            raise RuntimeError("the session is closed")
        feed = inputs if type(inputs) is dict else dict(inputs)
        for array in feed.values():
            if self._texts or not array.dtype.isnative:
                feed = {name: _plain(name, array) for name, array in feed.items()}
                break
        names = list(outputs) if outputs else self._all
        if self._gives_bfloat16:
            return _run_by_values(self._inner, feed, names)
        if self._takes_bfloat16:
            feed = {
                name: _value(array) if array.dtype.name == "bfloat16" else array
                for name, array in feed.items()
            }
        return dict(zip(names, self._inner.run(names, feed), strict=True))

    def close(self) -> None:
        """Gives weights, arena and threads back, as far as the C library lets go of them."""
        self._inner = None
        trim()


class SerialSession(OnnxSession):
    """For providers whose sessions take one run at a time (onnxruntime.ai, "DirectML Execution Provider")."""

    def __init__(self, started: Started, signature: Signature) -> None:
        super().__init__(started, signature)
        self._turn = Lock()

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        with self._turn:
            return super().run(inputs, outputs)


def _concurrency(started: Started) -> int:
    """Two runs at once keep a CUDA device busy while one of them copies."""
    if started.device.startswith("cpu"):
        return 0
    return 2 if CUDA in started.running else 1


def read_signature(file: str, inner: "InferenceSession") -> Signature:
    """Raises LoadFailed for what is no tensor, or of a datatype that V2 has no name for."""
    return Signature(
        tuple(_tensor(file, "input", arg) for arg in inner.get_inputs()),
        tuple(_tensor(file, "output", arg) for arg in inner.get_outputs()),
    )


def _tensor(file: str, role: str, arg: Any) -> TensorSpec:
    datatype = DATATYPES.get(arg.type)
    if datatype is None:
        raise LoadFailed(f"{role} {arg.name!r} of {file} is {arg.type}; {_advice(arg.type)}")
    shape = (size if isinstance(size, int) and size >= 0 else -1 for size in arg.shape)
    return TensorSpec(arg.name, datatype, tuple(shape))


def _check_mix(file: str, signature: Signature) -> None:
    """Text cannot be handed over as values, and BF16 cannot be got back in another way."""
    if _has(signature.inputs, "BYTES") and _has(signature.outputs, "BF16"):
        raise LoadFailed(
            f"{file} has BYTES inputs and BF16 outputs, which ONNX Runtime's Python interface cannot "
            "carry at once; cast the outputs to FP32"
        )


def _has(specs: Sequence[TensorSpec], datatype: str) -> bool:
    return any(spec.datatype == datatype for spec in specs)


def _advice(kind: str) -> str:
    if kind.startswith(("seq", "map")):
        return "export it as a tensor (for scikit-learn models: skl2onnx with options={'zipmap': False})"
    return f"only tensors can be served, of {', '.join(DATATYPES.values())}"


def _plain(name: str, array: Array) -> Array:
    """ONNX Runtime reads foreign byte order as its own, and makes text of bytes with ``str()``."""
    if array.dtype.kind in "OSU":
        return _decode(name, array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _decode(name: str, array: Array) -> Array:
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"input {name!r} has bytes that are not UTF-8; ONNX string tensors hold UTF-8 text"
        ) from None
    return np.array(texts, dtype=object).reshape(array.shape)


def _run_by_values(inner: "InferenceSession", feed: dict[str, Array], names: list[str]) -> Tensors:
    """ONNX Runtime neither takes nor gives numpy arrays of bfloat16, but values that share their memory."""
    values = {name: _value(array) for name, array in feed.items()}
    given = inner.run_with_ort_values(names, values)
    return {name: _array(value) for name, value in zip(names, given, strict=True)}


def _value(array: Array) -> Any:
    """An OrtValue over the array's memory, which it keeps alive."""
    from onnxruntime import OrtValue

    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
    return OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(raw, dtype_of("BF16")).reshape(value.shape())
