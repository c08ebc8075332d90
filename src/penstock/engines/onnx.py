"""ONNX Runtime: sessions from .onnx and .ort files, with its providers and options per model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.schema import nearest
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import ModelSpec, Onnx, Scalar, Signature, Tensors, TensorSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

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
CONFIG = {"session.intra_op.allow_spinning": "0"}
"""Idle pool threads sleep: by default they spin, and eat the event loop's share of the cores."""
_FATAL = 4
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class OnnxEngine:
    """Opens a version's ``model.onnx`` (or ``spec.file``) by path, external data beside it included."""

    def open(self, spec: ModelSpec, files: Path, /) -> "OnnxSession":
        """Raises LoadFailed with ONNX Runtime's reason, and BadSetting for an option there is not."""
        import onnxruntime as ort

        path = _find(spec, files)
        providers = _providers(spec.onnx, ort.get_available_providers())
        # Whatever goes wrong is raised, and answered by whoever called; stderr is not ours to fill.
        ort.set_default_logger_severity(_FATAL)
        options = _options(ort, spec)
        try:
            inner = ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
        except Exception as error:
            raise LoadFailed(f"ONNX Runtime refuses {path.name}: {_reason(error)}") from error
        _check_provider(providers[0][0], inner)
        return OnnxSession(inner, _signature(path.name, inner), options.intra_op_num_threads)


class OnnxSession:
    """One loaded model; ``run`` lets go of the GIL and may be called by several threads at once."""

    platform = "onnxruntime_onnx"

    def __init__(self, inner: "InferenceSession", signature: Signature, threads: int) -> None:
        self.signature = signature
        self.threads = threads
        self._inner: InferenceSession | None = inner
        self._all = [spec.name for spec in signature.outputs]
        every = (*signature.inputs, *signature.outputs)
        self._texts = any(spec.datatype == "BYTES" for spec in signature.inputs)
        self._bfloat16 = any(spec.datatype == "BF16" for spec in every)

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name, only those asked for being computed; text comes back as ``str`` objects.

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
        if self._bfloat16:
            return _run_bfloat16(self._inner, feed, names)
        return dict(zip(names, self._inner.run(names, feed), strict=True))

    def close(self) -> None:
        """Gives weights, arena and threads back, as far as the C library lets go of them."""
        self._inner = None
        _trim()


def _find(spec: ModelSpec, files: Path) -> Path:
    path = files if files.is_file() else files / (spec.file or USUAL_FILE)
    if path.is_file():
        return path
    there = sorted(file.name for file in files.iterdir()) if files.is_dir() else []
    have = (
        f"it has {', '.join(there[:8])}"
        if there
        else "it is empty"
        if files.is_dir()
        else "there is no such folder"
    )
    raise LoadFailed(f'no file {path.name} in {files.name}: {have}; name another with file = "…"')


def _providers(onnx: Onnx, available: list[str]) -> list[tuple[str, dict[str, Any]]]:
    wanted = list(dict.fromkeys(onnx.providers))
    if not wanted:
        raise BadSetting("onnx.providers is empty; the default is CPUExecutionProvider")
    for name in wanted:
        if name not in available:
            raise LoadFailed(
                f"this build of ONNX Runtime has no execution provider {name!r}; have {', '.join(available)}"
            )
    for name in onnx.provider_options:
        if name not in wanted:
            raise BadSetting(f"onnx.provider_options: {name!r} is not in providers; {nearest(name, wanted)}")
    return [(name, dict(onnx.provider_options.get(name, {}))) for name in wanted]


def _check_provider(wanted: str, inner: "InferenceSession") -> None:
    """ONNX Runtime falls back to the CPU without a word when a provider cannot start."""
    got = inner.get_providers()
    if wanted not in got:
        raise LoadFailed(
            f"execution provider {wanted} could not start (are its libraries and its device there?); "
            f"ONNX Runtime fell back to {', '.join(got)}"
        )


def _options(ort: Any, spec: ModelSpec) -> "SessionOptions":
    options = ort.SessionOptions()
    options.intra_op_num_threads = spec.instances.threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    for name, value in (CONFIG | dict(spec.onnx.session)).items():
        if "." in name:
            options.add_session_config_entry(name, _text(value))
        else:
            _set(ort, options, name, value)
    return options


def _set(ort: Any, options: "SessionOptions", name: str, value: Scalar) -> None:
    kind = type(options)
    known = [key for key in dir(kind) if isinstance(getattr(kind, key), property)]
    if name not in known:
        raise BadSetting(f"onnx.session: no option {name!r}; {nearest(name, known)}")
    try:
        setattr(options, name, _value(ort, getattr(options, name), value))
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise BadSetting(f"onnx.session.{name} cannot be {value!r}: {_reason(error)}") from error


def _value(ort: Any, now: Any, value: Scalar) -> Any:
    """Options that are enumerations may be named, e.g. ``ORT_ENABLE_BASIC``."""
    members = getattr(type(now), "__members__", None)
    if members is None:
        return value
    if value not in members:
        raise ValueError(f"have {', '.join(members)}")
    return members[value]


def _text(value: Scalar) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _signature(file: str, inner: "InferenceSession") -> Signature:
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


def _advice(kind: str) -> str:
    if kind.startswith(("seq", "map")):
        return "export it as a tensor (for scikit-learn models: skl2onnx with options={'zipmap': False})"
    return f"only tensors can be served, of {', '.join(DATATYPES.values())}"


def _plain(name: str, array: Array) -> Array:
    """ONNX Runtime reads foreign byte order as its own, and makes text of bytes with ``str()``."""
    if array.dtype.kind == "O":
        return _decode(name, array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _decode(name: str, array: Array) -> Array:
    import numpy as np

    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"input {name!r} has bytes that are not UTF-8; ONNX string tensors hold UTF-8 text"
        ) from None
    return np.array(texts, dtype=object).reshape(array.shape)


def _run_bfloat16(inner: "InferenceSession", feed: dict[str, Array], names: list[str]) -> Tensors:
    """By OrtValue: ONNX Runtime neither takes nor gives numpy arrays of bfloat16."""
    import numpy as np
    from onnxruntime import OrtValue

    # The values share the arrays' memory: these must live until the run is over.
    arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
    values = {
        name: OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
        if array.dtype.name == "bfloat16"
        else OrtValue.ortvalue_from_numpy(array)
        for name, array in arrays.items()
    }
    given = inner.run_with_ort_values(names, values)
    return {name: _array(value) for name, value in zip(names, given, strict=True)}


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    import ctypes

    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    import numpy as np

    return np.frombuffer(raw, dtype_of("BF16")).reshape(value.shape())


def _reason(error: BaseException) -> str:
    """ONNX Runtime's message in one line, without its code: ``[ONNXRuntimeError] : 7 : NAME : …``."""
    text = " ".join(str(error).split())
    return text.split(" : ", 3)[-1] if text.startswith("[ONNXRuntimeError]") else text


def _trim() -> None:
    """Asks glibc for the freed pages that it keeps; nothing on other C libraries."""
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
