"""From ``device`` and ``[onnx]`` to ONNX Runtime's execution providers: what to try, with which options."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec, Onnx
from penstock.engines.device import Wish, wanted
from penstock.engines.onnx_profiles import profile_options

Options: TypeAlias = dict[str, Any]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
MIGRAPHX = "MIGraphXExecutionProvider"
ROCM = "ROCMExecutionProvider"
DML = "DmlExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
QNN = "QNNExecutionProvider"
COREML = "CoreMLExecutionProvider"

_ANE = {"MLComputeUnits": "CPUAndNeuralEngine"}
WAYS: dict[str, tuple[tuple[str, Options], ...]] = {
    "cpu": ((CPU, {}),),
    "cuda": ((CUDA, {}),),
    "tensorrt": ((TENSORRT, {}),),
    "migraphx": ((MIGRAPHX, {}),),
    "rocm": ((ROCM, {}), (MIGRAPHX, {})),
    "dml": ((DML, {}),),
    "openvino": ((OPENVINO, {}),),
    "qnn": ((QNN, {"backend_type": "htp"}),),
    "coreml": ((COREML, {}),),
    "ane": ((COREML, _ANE),),
    "gpu": ((CUDA, {}), (ROCM, {}), (MIGRAPHX, {}), (DML, {}), (OPENVINO, {"device_type": "GPU"})),
    "npu": ((QNN, {"backend_type": "htp"}), (OPENVINO, {"device_type": "NPU"}), (COREML, _ANE)),
}
"""What each kind of device may be run by, the best first."""
AUTO = ("cuda", "rocm", "dml", "qnn", "openvino", "coreml", "cpu")
"""TensorRT is not among them, as it builds for minutes."""
NUMBERED = (CUDA, TENSORRT, MIGRAPHX, ROCM, DML)
"""Providers that take ``device_id``."""
CACHING = (TENSORRT, OPENVINO, COREML)
"""Providers that keep what they compile."""
PACKAGES = {
    CUDA: "onnxruntime-gpu",
    TENSORRT: "onnxruntime-gpu",
    OPENVINO: "onnxruntime-openvino",
    DML: "onnxruntime-directml",
    QNN: "onnxruntime-qnn",
    MIGRAPHX: "onnxruntime-migraphx",
}
_NAMES = {CUDA: "cuda", TENSORRT: "cuda", QNN: "npu"} | {
    ways[0][0]: kind for kind, ways in WAYS.items() if kind in ("cpu", "migraphx", "rocm", "dml", "coreml")
}


class Candidate(NamedTuple):
    """A session to try: good if any of ``needs`` starts and gets a node to run."""

    providers: tuple[tuple[str, Options], ...]
    needs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What people should know who see where the model runs."""

    def has(self, name: str) -> bool:
        return any(name == provider for provider, _ in self.providers)


# -- what is to be tried ------------------------------------------------------------------------------


def candidates(
    spec: ModelSpec, available: Sequence[str], known: Collection[str] = (), cache: Path | None = None
) -> list[Candidate]:
    """In order, at least one; ``known`` are providers that other builds have.

    Raises LoadFailed where this build has nothing of what is wanted, and BadSetting.
    """
    onnx = spec.onnx
    tried = _named(onnx, available, known) if onnx.providers else _wished(spec, available)
    _check(onnx, onnx.providers or _askable(spec))
    return [_filled(candidate, onnx, cache) for candidate in tried]


def _named(onnx: Onnx, available: Sequence[str], known: Collection[str]) -> list[Candidate]:
    """Just the providers in the settings; where there are several, one that is missing is passed over."""
    names = list(dict.fromkeys(onnx.providers))
    for name in names:
        if name not in available and (name not in known or names == [name]):
            raise LoadFailed(_missing(f"no execution provider {name!r}", available, [name]))
    there = [name for name in names if name in available]
    if not there:
        raise LoadFailed(_missing(f"none of {', '.join(names)}", available, names))
    notes = tuple(f"{name} is not in this build" for name in names if name not in there)
    return [Candidate(tuple((name, {}) for name in there), tuple(there), notes)]


def _wished(spec: ModelSpec, available: Sequence[str]) -> list[Candidate]:
    wishes = wanted(spec.device, auto=AUTO, known=tuple(WAYS))
    ways = [(wish, [way for way in _ways(wish) if way.needs[0] in available]) for wish in wishes]
    missing = [str(wish) for wish, there in ways if not there]
    if len(missing) == len(ways):
        asked = [provider for wish in wishes for provider, _ in WAYS[wish.kind]]
        device = f"no execution provider for device {' nor '.join(missing)!r}"
        raise LoadFailed(_missing(device, available, asked))
    told = bool(missing) and "auto" not in spec.device
    notes = (f"nothing in this build for {', '.join(missing)}",) if told else ()
    return [way._replace(notes=notes) for _, there in ways for way in there]


def _ways(wish: Wish) -> Iterator[Candidate]:
    for provider, options in WAYS[wish.kind]:
        chosen = options | _number(wish, provider, options)
        # What TensorRT cannot run, CUDA can: onnxruntime.ai, "TensorRT Execution Provider".
        beside = ((CUDA, _number(wish, CUDA, {})),) if provider == TENSORRT else ()
        yield Candidate(((provider, chosen), *beside), (provider,))


def _number(wish: Wish, provider: str, options: Options) -> Options:
    if wish.number is None or (provider == CPU and not wish.number):
        return {}
    if provider in NUMBERED:
        return {"device_id": wish.number}
    if "device_type" in options:
        return {"device_type": f"{options['device_type']}.{wish.number}"}
    raise BadSetting(f"device {str(wish)!r}: {provider} takes no number; use {wish.kind!r}")


def _missing(what: str, available: Sequence[str], asked: Sequence[str]) -> str:
    packages = dict.fromkeys(PACKAGES[name] for name in asked if name in PACKAGES)
    hint = f"; pip install {' or '.join(packages)} (instead of onnxruntime)" if packages else ""
    return f"this build of ONNX Runtime has {what}; have {', '.join(available)}{hint}"


# -- with which options -------------------------------------------------------------------------------


def _askable(spec: ModelSpec) -> list[str]:
    """What the device may lead to here or elsewhere; with more than one way all that there is."""
    kinds = [wish.kind for wish in wanted(spec.device, auto=tuple(WAYS))]
    names = [provider for kind in kinds for provider, _ in WAYS[kind]]
    return list(dict.fromkeys([*names, CUDA] if TENSORRT in names else names))


def _check(onnx: Onnx, asked: Sequence[str]) -> None:
    for name in onnx.provider_options:
        if name not in asked:
            where = "providers" if onnx.providers else "what the device asks for"
            raise BadSetting(
                f"onnx.provider_options: {name!r} is not in {where}; {nearest(name, list(asked))}"
            )
    for setting in ("fp16", "profiles"):
        if getattr(onnx, setting) and TENSORRT not in asked:
            raise BadSetting(f"onnx.{setting} is for TensorRT; ask for that with device = 'tensorrt'")


def _filled(candidate: Candidate, onnx: Onnx, cache: Path | None) -> Candidate:
    """With the options that follow from the settings; those by provider name win."""
    filled = (
        (name, options | _settings(name, onnx, cache) | dict(onnx.provider_options.get(name, {})))
        for name, options in candidate.providers
    )
    return candidate._replace(providers=tuple(filled))


def _settings(name: str, onnx: Onnx, cache: Path | None) -> Options:
    if name == TENSORRT:
        fp16 = {"trt_fp16_enable": True} if onnx.fp16 else {}
        return fp16 | _cached(cache) | profile_options(onnx.profiles)
    if cache is None:
        return {}
    return {OPENVINO: {"cache_dir": str(cache)}, COREML: {"ModelCacheDirectory": str(cache)}}.get(name, {})


def _cached(cache: Path | None) -> Options:
    if cache is None:
        return {}
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
    }


# -- what it came to ----------------------------------------------------------------------------------


def count(assignment: Sequence[Any]) -> dict[str, int]:
    """Nodes by provider, from ONNX Runtime's list of assigned subgraphs."""
    nodes: dict[str, int] = {}
    for part in assignment:
        nodes[part.ep_name] = nodes.get(part.ep_name, 0) + len(part.get_nodes())
    return nodes


def shortfall(candidate: Candidate, started: Collection[str], nodes: Mapping[str, int] | None) -> str:
    """Why the session is not what was wanted; empty where it is, or nobody can tell (``nodes`` is None)."""
    running = [name for name in candidate.needs if name in started]
    if not running:
        return f"{' nor '.join(candidate.needs)} did not start"
    if nodes and not any(map(nodes.get, running)):
        return f"{' nor '.join(running)} took no node of the model"
    return ""


def describe(
    candidate: Candidate,
    options: Mapping[str, Mapping[str, str]],
    nodes: Mapping[str, int] | None,
    failures: Sequence[str] = (),
) -> str:
    """``cpu``, or e.g. ``cuda:0 (CUDAExecutionProvider 120 nodes, CPUExecutionProvider 4)``.

    ``options`` are by provider, those that started, in order; ``failures`` of what was tried before.
    """
    taken = [name for name in options if nodes and nodes.get(name)] or list(options)[:1]
    counts = [f"{name} {nodes[name]}" for name in taken if nodes and name in nodes and taken != [CPU]]
    counts[:1] = [f"{first} nodes" for first in counts[:1]]
    alone = (shortfall(candidate._replace(needs=(name,)), options, nodes) for name in candidate.needs)
    said = "; ".join(filter(None, [", ".join(counts), *failures, *candidate.notes, *alone]))
    where = _where(taken[0], options[taken[0]])
    return f"{where} ({said})" if said else where


def _where(provider: str, options: Mapping[str, str]) -> str:
    if provider == OPENVINO:
        return options.get("device_type", "").lower().replace(".", ":") or "openvino"
    name = _NAMES.get(provider, provider.removesuffix("ExecutionProvider").lower())
    return f"{name}:{options.get('device_id', 0)}" if provider in NUMBERED else name
