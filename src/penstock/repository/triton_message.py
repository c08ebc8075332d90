"""A model's state as Triton's ModelConfig message, and that message as Triton's JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from penstock.core.spec import ModelSpec, TensorSpec
from penstock.core.types import ModelState
from penstock.proto import model_config_pb2 as pb
from penstock.repository import triton_ensemble

_BACKENDS = {"onnx": "onnxruntime"}
_POLICY_MOST = 64
"""Rows that a policy without ``max_rows`` may put into one batch."""


def to_config(state: ModelState) -> Any:
    """An ``inference.ModelConfig`` of what runs; dims are without the batch axis where rows are merged."""
    spec = state.spec
    config = pb.ModelConfig(
        name=state.name,
        platform=state.platform,
        backend=_BACKENDS.get(spec.engine, spec.engine),
        max_batch_size=(spec.batching.max_rows or _POLICY_MOST) if state.batched else 0,
        default_model_filename=spec.file,
        parameters={key: pb.ModelParameter(string_value=value) for key, value in spec.parameters.items()},
    )
    _add_versions(config.version_policy, spec.versions)
    _add_tensors(config.input, state.signature.inputs, batched=state.batched)
    _add_tensors(config.output, state.signature.outputs, batched=state.batched)
    for output in config.output:
        output.label_filename = spec.labels.get(output.name, "")
    if spec.steps:
        triton_ensemble.write(config, spec)
    elif state.batched:
        _add_batching(config.dynamic_batching, spec)
    if state.instances:
        config.instance_group.add(name=f"{state.name}_0", count=state.instances, kind=_kind(spec))
    if state.threads:
        config.parameters["intra_op_thread_count"].string_value = str(state.threads)
    return config


def _add_versions(policy: Any, versions: str | tuple[str, ...]) -> None:
    """Versions that are no numbers cannot be said in Triton's words, and are left out."""
    if not isinstance(versions, str):
        policy.specific.versions.extend(int(version) for version in versions if version.isdecimal())
    elif versions == "all":
        policy.all.SetInParent()
    else:
        policy.latest.num_versions = int(versions.partition(" ")[2] or 1)


def _add_tensors(fields: Any, specs: Iterable[TensorSpec], *, batched: bool) -> None:
    for spec in specs:
        kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
        dims = spec.shape[1:] if batched else spec.shape
        fields.add(name=spec.name, data_type=pb.DataType.Value(f"TYPE_{kind}"), dims=dims)


def _add_batching(dynamic: Any, spec: ModelSpec) -> None:
    dynamic.preferred_batch_size.extend(spec.batching.preferred)
    dynamic.max_queue_delay_microseconds = round(spec.batching.max_delay_ms * 1e3)
    dynamic.priority_levels = spec.queue.max_priority
    dynamic.default_priority_level = spec.queue.default_priority
    policy = dynamic.default_queue_policy
    policy.default_timeout_microseconds = round((spec.target.p99_ms or spec.queue.timeout_ms) * 1e3)
    policy.allow_timeout_override = True
    policy.max_queue_size = spec.queue.max_rows


def _kind(spec: ModelSpec) -> int:
    gpu = any(name.startswith(("CUDA", "Tensorrt")) for name in spec.onnx.providers)
    return int(pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU)


def to_json(message: Message) -> dict[str, Any]:
    """As Triton writes it: the proto's own names, defaults too, enums by name, 64-bit numbers as numbers."""
    return {
        field.name: _plain(getattr(message, field.name), field)
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _plain(value: Any, field: Any) -> Any:
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, Mapping):
        inner = field.message_type.fields_by_name["value"]
        return {str(key): _plain(value[key], inner) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one, field) for one in value]
    return field.enum_type.values_by_number[value].name if field.enum_type else value
