"""An ONNX Runtime session on the first provider that really takes the model."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from msgspec.structs import replace

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec, Signature
from penstock.engines.cache import folder
from penstock.engines.onnx_devices import (
    CACHING,
    CPU,
    CUDA,
    DML,
    TENSORRT,
    Candidate,
    candidates,
    count,
    describe,
    shortfall,
)
from penstock.engines.onnx_options import said, session_options
from penstock.engines.onnx_profiles import Profiles, batch_profiles

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

Reader: TypeAlias = Callable[["InferenceSession"], Signature]

STARTING = " (are its libraries and its device there?); for the CPU say device = 'cpu', or put it in the list"
ASSIGNMENT = "session.record_ep_graph_assignment_info"
MAX_ROWS = 64
"""Rows that TensorRT's engines are built for where the settings name no number."""


class Started(NamedTuple):
    """A session, and what it came to."""

    inner: "InferenceSession"
    running: tuple[str, ...]
    """Providers that have nodes."""
    device: str
    threads: int


def start(ort: Any, spec: ModelSpec, path: Path, read: Reader) -> Started:
    """Tries what the settings ask for in order; ``read`` gives a session's signature.

    Raises LoadFailed with what each came to where none will do, and BadSetting.
    """
    tried = _candidates(ort, spec, path, read)
    failures: list[str] = []
    for candidate in tried:
        try:
            return _start(ort, spec, path, candidate, failures)
        except LoadFailed as error:
            failures.append(str(error))
    why = "; ".join(dict.fromkeys(failures))
    raise LoadFailed(f"{why}{STARTING}" if "did not start" in why else why)


def _candidates(ort: Any, spec: ModelSpec, path: Path, read: Reader) -> list[Candidate]:
    available, known = ort.get_available_providers(), ort.get_all_providers()
    found = candidates(spec, available, known)
    if not any(candidate.has(name) for candidate in found for name in CACHING):
        return found
    if any(candidate.has(TENSORRT) for candidate in found) and not spec.onnx.profiles:
        spec = replace(spec, onnx=replace(spec.onnx, profiles=_profiles(ort, spec, path, read)))
    return candidates(spec, available, known, _cache(ort, spec, path))


def _profiles(ort: Any, spec: ModelSpec, path: Path, read: Reader) -> Profiles:
    """TensorRT builds for the shapes that it is told; untold, anew for each larger one that it meets."""
    glance = session_options(ort, spec)
    glance.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    signature = read(_open(ort, path, glance, [(CPU, {})]))
    return batch_profiles(signature, spec.batching.max_rows or MAX_ROWS)


def _cache(ort: Any, spec: ModelSpec, path: Path) -> Path | None:
    """By all files of the version, as the weights may be in those beside the model's."""
    weights = path.parent if path.parent.name.isdigit() else path
    return folder(spec, "onnx", ort.__version__, weights)


def _start(ort: Any, spec: ModelSpec, path: Path, candidate: Candidate, failures: Sequence[str]) -> Started:
    options = session_options(ort, spec)
    accelerated = any(name != CPU for name, _ in candidate.providers)
    if accelerated:
        _prepare(ort, options, candidate)
    inner = _open(ort, path, options, list(candidate.providers))
    nodes = _count(inner) if accelerated else None
    trouble = shortfall(candidate, inner.get_providers(), nodes)
    if trouble:
        raise LoadFailed(trouble)
    started = inner.get_provider_options()
    running = tuple(name for name in started if nodes is None or nodes.get(name))
    device = describe(candidate, started, nodes, failures)
    return Started(inner, running, device, options.intra_op_num_threads)


def _prepare(ort: Any, options: "SessionOptions", candidate: Candidate) -> None:
    options.add_session_config_entry(ASSIGNMENT, "1")
    if candidate.has(DML):  # onnxruntime.ai, "DirectML Execution Provider"
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if (candidate.has(CUDA) or candidate.has(TENSORRT)) and hasattr(ort, "preload_dlls"):
        # CUDA's libraries where pip has put them; it prints which it does not find.
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _open(
    ort: Any, path: Path, options: "SessionOptions", providers: list[tuple[str, dict[str, Any]]]
) -> "InferenceSession":
    try:
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise LoadFailed(f"ONNX Runtime refuses {path.name}: {said(error, path)}") from error


def _count(inner: "InferenceSession") -> dict[str, int] | None:
    """Nodes by provider; None before ONNX Runtime could tell."""
    if not hasattr(inner, "get_provider_graph_assignment_info"):
        return None
    return count(inner.get_provider_graph_assignment_info())
