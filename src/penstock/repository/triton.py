"""Triton's model configuration (config.pbtxt, or its JSON form) as a ModelSpec, and back.

Fields and their meaning: Triton's model_config.proto; ONNX options: the ONNX Runtime backend's own.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import json_format, text_format

from penstock.core.errors import BadSetting
from penstock.core.spec import Batching, Instances, ModelSpec, Onnx, Queue, Scalar
from penstock.proto.model_config_pb2 import ModelConfig, ModelInstanceGroup
from penstock.repository import triton_ensemble
from penstock.repository.triton_fields import idle, known_in_json, known_in_text
from penstock.repository.triton_message import to_config, to_json

__all__ = ["from_json", "parse", "to_config", "to_json"]

_ENGINES = {"onnxruntime": "onnx", "onnxruntime_onnx": "onnx"}
_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_GRAPH_LEVELS = {-1: "ORT_ENABLE_BASIC", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}
_EXECUTION_MODES = {"0": "ORT_SEQUENTIAL", "1": "ORT_PARALLEL"}
_SESSION_KEYS = ("session.", "optimization.", "ep.", "mlas.")


def parse(text: str, where: str) -> tuple[ModelSpec, list[str]]:
    """A config.pbtxt as a spec, and a sentence for each field that has no effect here.

    ``where`` is the file's name, for messages. Raises BadSetting, with line and column for bad syntax.
    """
    unknown: list[str] = []
    config = ModelConfig()
    try:
        text_format.Parse(known_in_text(text, ModelConfig.DESCRIPTOR, unknown), config)
    except RecursionError:
        raise BadSetting(f"{where}: messages are nested too deep to be a configuration") from None
    except text_format.ParseError as error:
        place = f", line {error.GetLine()}, column {error.GetColumn()}" if error.GetLine() else ""
        raise BadSetting(f"{where}{place}: {str(error).rpartition(' : ')[2]}") from None
    return _read(config, where, unknown)


def from_json(text: str | bytes, where: str = "config") -> tuple[ModelSpec, list[str]]:
    """A ModelConfig in JSON (the ``config`` parameter of a load) as ``parse`` does for text."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadSetting(f"{where}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    if not isinstance(values, dict):
        raise BadSetting(f"{where}: it must be a JSON object, as Triton's ModelConfig")
    unknown: list[str] = []
    config = ModelConfig()
    try:
        json_format.ParseDict(known_in_json(values, ModelConfig.DESCRIPTOR, "", unknown), config)
    except json_format.ParseError as error:
        raise BadSetting(f"{where}: {error}") from None
    return _read(config, where, unknown)


def _read(config: Any, where: str, notes: list[str]) -> tuple[ModelSpec, list[str]]:
    notes = notes + idle(config)
    try:
        spec = _spec(config, notes)
    except BadSetting as error:
        raise BadSetting(f"{where}: {error}") from None
    return spec, [f"{where}: {note}" for note in notes]


def _spec(config: Any, notes: list[str]) -> ModelSpec:
    parameters = {key: config.parameters[key].string_value for key in config.parameters}
    framework = config.backend or config.platform
    ensemble = triton_ensemble.read(config)
    return ModelSpec(
        name=config.name,
        engine="" if ensemble.steps else _ENGINES.get(framework, framework),
        file=config.default_model_filename,
        versions=_versions(config.version_policy),
        inputs=ensemble.inputs,
        outputs=ensemble.outputs,
        steps=ensemble.steps,
        give=ensemble.give,
        batching=_batching(config),
        queue=_queue(config.dynamic_batching),
        instances=_instances(config.instance_group, parameters, notes),
        onnx=_onnx(config.optimization, parameters, notes),
        labels={output.name: output.label_filename for output in config.output if output.label_filename},
        parameters=parameters,
    )


def _versions(policy: Any) -> str | tuple[str, ...]:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return "all"
        case "specific":
            return tuple(str(version) for version in policy.specific.versions)
        case "latest" if policy.latest.num_versions > 1:
            return f"latest {policy.latest.num_versions}"
    return "latest"


def _batching(config: Any) -> Batching:
    """Triton's own fixed rule where it is given numbers; else ours; 0 rows is no batching at all."""
    dynamic = config.dynamic_batching
    most = _natural("max_batch_size", config.max_batch_size)
    if most == 0:
        return Batching(policy="none")
    preferred = tuple(_natural("preferred_batch_size", rows) for rows in dynamic.preferred_batch_size)
    if any(not 0 < rows <= most for rows in preferred):
        raise BadSetting(
            f"preferred_batch_size is {list(preferred)}; each must be 1 to max_batch_size, {most}"
        )
    delay = dynamic.max_queue_delay_microseconds / 1e3
    if not preferred and not delay:
        return Batching(policy="slo", max_rows=most)
    return Batching(policy="fixed", max_rows=most, preferred=preferred, max_delay_ms=delay)


def _queue(dynamic: Any) -> Queue:
    plain = Queue()
    policy = dynamic.default_queue_policy
    levels = dynamic.priority_levels or plain.max_priority
    default = dynamic.default_priority_level or plain.default_priority
    if default > levels:
        raise BadSetting(f"default_priority_level is {default}; it must be 1 to priority_levels, {levels}")
    return Queue(
        max_rows=policy.max_queue_size or plain.max_rows,
        timeout_ms=policy.default_timeout_microseconds / 1e3 or plain.timeout_ms,
        default_priority=default,
        max_priority=levels,
    )


def _instances(groups: Any, parameters: dict[str, str], notes: list[str]) -> Instances:
    for group in groups:
        if group.kind not in (ModelInstanceGroup.KIND_AUTO, ModelInstanceGroup.KIND_CPU):
            kind = ModelInstanceGroup.Kind.Name(group.kind)
            notes.append(
                f"instance_group.kind {kind} has no effect here; "
                "name cuda or tensorrt as optimization.execution_accelerators.gpu_execution_accelerator"
            )
            break
    return Instances(
        count=sum(_natural("instance_group.count", group.count) or 1 for group in groups),
        threads=_number(parameters, "intra_op_thread_count"),
    )


def _onnx(optimization: Any, parameters: dict[str, str], notes: list[str]) -> Onnx:
    accelerators = optimization.execution_accelerators
    options: dict[str, Mapping[str, Scalar]] = {}
    for one in (*accelerators.gpu_execution_accelerator, *accelerators.cpu_execution_accelerator):
        if one.name in _PROVIDERS:
            options[_PROVIDERS[one.name]] = _provider_options(one, notes)
        else:
            have = ", ".join(_PROVIDERS)
            notes.append(f"execution accelerator {one.name!r} has no effect here; have {have}")
    session = _session(optimization.graph.level, parameters)
    if not options:
        return Onnx(session=session)
    given = {name: values for name, values in options.items() if values}
    return Onnx(providers=(*options, "CPUExecutionProvider"), provider_options=given, session=session)


def _provider_options(accelerator: Any, notes: list[str]) -> dict[str, Scalar]:
    """CUDA's are ONNX Runtime's own names; TensorRT's have Triton's spelling for a few."""
    options: dict[str, Scalar] = {}
    for key, value in sorted(accelerator.parameters.items()):
        if accelerator.name == "cuda" or key.startswith("trt_"):
            options[key] = value
        elif accelerator.name == "tensorrt" and key.startswith("int8_"):
            options["trt_" + key] = value
        elif accelerator.name == "tensorrt" and key == "max_workspace_size_bytes":
            options["trt_max_workspace_size"] = value
        elif accelerator.name == "tensorrt" and key == "precision_mode" and value in ("FP16", "INT8"):
            options[f"trt_{value.lower()}_enable"] = "1"
        elif (key, value) != ("precision_mode", "FP32"):
            notes.append(
                f"parameter {key!r} of execution accelerator {accelerator.name!r} has no effect here"
            )
    return options


def _session(level: int, parameters: dict[str, str]) -> dict[str, Scalar]:
    """Attributes and entries of onnxruntime.SessionOptions; what is taken leaves ``parameters``."""
    session: dict[str, Scalar] = {}
    if level:
        if level not in _GRAPH_LEVELS:
            raise BadSetting(
                f"optimization.graph.level is {level}; have 0, {', '.join(map(str, _GRAPH_LEVELS))}"
            )
        session["graph_optimization_level"] = _GRAPH_LEVELS[level]
    if (threads := _number(parameters, "inter_op_thread_count")) > 0:
        session["inter_op_num_threads"] = threads
    if (mode := parameters.pop("execution_mode", "")) != "":
        if mode not in _EXECUTION_MODES:
            raise BadSetting(f"parameter 'execution_mode' is {mode!r}; have 0 (in turn) and 1 (in parallel)")
        session["execution_mode"] = _EXECUTION_MODES[mode]
    for key in [key for key in parameters if key.startswith(_SESSION_KEYS)]:
        session[key] = parameters.pop(key)
    return session


def _natural(name: str, value: int) -> int:
    if value < 0:
        raise BadSetting(f"{name} is {value}; it must be 0 or more")
    return value


def _number(parameters: dict[str, str], name: str) -> int:
    text = parameters.pop(name, "0").strip()
    if not text.isdecimal():
        raise BadSetting(f"parameter {name!r} is {text!r}; it must be a whole number, 0 or more")
    return int(text)
