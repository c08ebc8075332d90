"""OpenVINO's devices and properties, from a model's settings."""

from typing import Any

from penstock.core.errors import BadSetting, one_line
from penstock.core.machine import cores
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec
from penstock.engines.device import choose, wanted

KINDS = ("cpu", "gpu", "npu")
CORE = ("ALLOW_AUTO_BATCHING", "AUTO_BATCH_TIMEOUT", "CACHE_MODE", "ENABLE_MMAP")
"""Properties that any device takes, though none lists them."""
AUTO = "AUTO"
_NOISE = ("Exception from ", "Check '")


def devices(spec: ModelSpec, available: list[str]) -> list[str]:
    """OpenVINO's names of the devices to try, in order; ``available`` as OpenVINO lists them.

    ``auto`` is OpenVINO's own choice where there is one to make.
    Raises BadSetting for what is no device, and LoadFailed where none of those asked for is there.
    """
    counts = {kind: sum(name.lower().split(".")[0] == kind for name in available) for kind in KINDS}
    there = {kind: count for kind, count in counts.items() if count} | {"auto": 1}
    auto = "auto" if len(available) > 1 else "cpu"
    wishes = wanted(spec.device, (auto,), known=KINDS)
    found = [wish for wish in wishes if (wish.number or 0) < there.get(wish.kind, 0)]
    if not found:
        choose(wishes, counts, "OpenVINO")
    return [f"GPU.{wish.number or 0}" if wish.kind == "gpu" else wish.kind.upper() for wish in found]


def properties(core: Any, spec: ModelSpec, device: str) -> dict[str, Any]:
    """What to compile with; the settings' own properties come last and win.

    Raises BadSetting that names the nearest known property.
    """
    known = _writable(core, device)
    own = dict(spec.openvino.properties)
    for name in own:
        if name not in known:
            raise BadSetting(f"openvino.properties: {device} has no {name!r}; {nearest(name, sorted(known))}")
    chosen = _layout(spec, device) | _precision(spec) | _fixed(device)
    return {name: value for name, value in chosen.items() if name in known} | own


def _writable(core: Any, device: str) -> set[str]:
    """AUTO hands on what it does not know, and swallows what nobody knows."""
    names = [AUTO, *core.available_devices] if device == AUTO else [device]
    found = [core.get_property(name, "SUPPORTED_PROPERTIES") for name in names]
    return set(CORE) | {key for properties in found for key, access in properties.items() if access != "RO"}


def _layout(spec: ModelSpec, device: str) -> dict[str, Any]:
    """On the CPU a stream is what runs one batch at a time; elsewhere OpenVINO knows what fits."""
    if spec.openvino.hint:
        return {"PERFORMANCE_HINT": spec.openvino.hint.upper()}
    if device != "CPU":
        return {"PERFORMANCE_HINT": "THROUGHPUT"}
    threads = spec.instances.threads or len(cores())
    count = 1 if spec.isolation == "inline" else spec.instances.count or max(1, len(cores()) // threads)
    return {"NUM_STREAMS": count, "INFERENCE_NUM_THREADS": count * threads}


def _precision(spec: ModelSpec) -> dict[str, Any]:
    """OpenVINO by itself takes bf16 or f16 where the device is faster with it, and so other answers."""
    if spec.openvino.precision:
        return {"INFERENCE_PRECISION_HINT": spec.openvino.precision}
    return {"EXECUTION_MODE_HINT": "ACCURACY"}


def _fixed(device: str) -> dict[str, Any]:
    """What a server needs: its own batching, threads that the system may move, and a device that stays."""
    pinning = {"ENABLE_CPU_PINNING": False} if device == "CPU" else {}
    stays = {"ENABLE_STARTUP_FALLBACK": False, "ENABLE_RUNTIME_FALLBACK": False} if device == AUTO else {}
    return {"ALLOW_AUTO_BATCHING": False} | pinning | stays


def said(error: BaseException) -> str:
    """OpenVINO's message in one line, without the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = " ".join(line for line in lines if line and not line.startswith(_NOISE))
    return kept[:500] or one_line(error)
