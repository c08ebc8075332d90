"""Fields of a Triton configuration that do nothing here: names nobody knows, and those without a meaning."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.text_format import Tokenizer

from penstock.core.schema import nearest

TAKEN = frozenset(
    {
        "name",
        "platform",
        "backend",
        "version_policy",
        "max_batch_size",
        "default_model_filename",
        "parameters",
        "input.name",
        "input.data_type",
        "input.format",
        "input.dims",
        "output.name",
        "output.data_type",
        "output.dims",
        "output.label_filename",
        "instance_group.name",
        "instance_group.count",
        "instance_group.kind",
        "dynamic_batching.preferred_batch_size",
        "dynamic_batching.max_queue_delay_microseconds",
        "dynamic_batching.priority_levels",
        "dynamic_batching.default_priority_level",
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        "dynamic_batching.default_queue_policy.max_queue_size",
        "optimization.graph.level",
        "optimization.execution_accelerators.gpu_execution_accelerator",
        "optimization.execution_accelerators.cpu_execution_accelerator",
    }
)
"""What takes effect, or is checked against the model, or says what is so here anyway."""

_PARTLY = frozenset(path[:at] for path in TAKEN for at, letter in enumerate(path) if letter == ".")

_WHY = {
    "dynamic_batching.default_queue_policy.timeout_action": "a request that is too late is refused",
    "dynamic_batching.preserve_ordering": "each request is answered as soon as it can be",
    "dynamic_batching.priority_queue_policy": "default_queue_policy holds for every priority",
    "ensemble_scheduling": "models are not chained",
    "input.allow_ragged_batch": "requests of different shapes are never merged",
    "input.reshape": "send tensors in the shape that the model itself takes",
    "instance_group.gpus": "optimization.execution_accelerators chooses the device",
    "instance_group.rate_limiter": "instance_group.count bounds what runs at once",
    "model_transaction_policy": "every request has exactly one answer",
    "model_warmup": "every model is warmed up when it is loaded",
    "output.reshape": "tensors come in the shape that the model itself gives",
    "response_cache": "answers are not cached",
    "runtime": "backend alone chooses the engine",
    "sequence_batching": "requests are answered one by one, without a state between them",
}


def idle(config: Any) -> list[str]:
    """One clause for each field that is set and has no meaning here."""
    found: list[str] = []
    _walk(config, "", found)
    return list(dict.fromkeys(found))


def _walk(message: Any, prefix: str, found: list[str]) -> None:
    for field, value in message.ListFields():
        path = prefix + field.name
        if path in _PARTLY:
            for one in [value] if hasattr(value, "ListFields") else value:
                _walk(one, path + ".", found)
        elif path not in TAKEN:
            found.append(f"{path} has no effect here; {_WHY[path]}" if path in _WHY else _plainly(path))


def _plainly(path: str) -> str:
    return f"{path} has no effect here"


def unknown_in_text(text: str, descriptor: Any) -> list[str]:
    """One clause for each field of a well-formed pbtxt that its message does not have."""
    found: list[str] = []
    _fields(Tokenizer(text.splitlines()), descriptor, "", found)
    return found


def _fields(tokens: Tokenizer, descriptor: Any, path: str, found: list[str]) -> None:
    while tokens.token not in ("}", ">", ""):
        name = tokens.token
        tokens.NextToken()
        field = descriptor.fields_by_name.get(name) if descriptor else None
        if descriptor and field is None:
            found.append(_no_field(path, name, descriptor))
        tokens.TryConsume(":")
        inner = field.message_type if field else None
        if tokens.TryConsume("["):
            while not tokens.TryConsume("]") and not tokens.AtEnd():
                _value(tokens, inner, f"{path}{name}.", found)
                tokens.TryConsume(",")
        else:
            _value(tokens, inner, f"{path}{name}.", found)
        tokens.TryConsume(",") or tokens.TryConsume(";")


def _value(tokens: Tokenizer, descriptor: Any, path: str, found: list[str]) -> None:
    if tokens.TryConsume("{") or tokens.TryConsume("<"):
        _fields(tokens, descriptor, path, found)
        tokens.NextToken()
        return
    tokens.TryConsume("-")
    text = tokens.token.startswith(('"', "'"))
    tokens.NextToken()
    while text and tokens.token.startswith(('"', "'")):  # adjacent strings are one value
        tokens.NextToken()


def known_in_json(values: Mapping[str, Any], descriptor: Any, path: str, found: list[str]) -> dict[str, Any]:
    """``values`` without the fields that the message does not have; adds a clause for each of those."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None:
            found.append(_no_field(path, name, descriptor))
        else:
            out[name] = _known(value, field.message_type, f"{path}{name}.", found)
    return out


def _known(value: Any, descriptor: Any, path: str, found: list[str]) -> Any:
    if descriptor is None:
        return value
    if isinstance(value, list):
        return [_known(one, descriptor, path, found) for one in value]
    if not isinstance(value, dict):
        return value
    if descriptor.GetOptions().map_entry:
        inner = descriptor.fields_by_name["value"].message_type
        return {key: _known(one, inner, f"{path}{key}.", found) for key, one in value.items()}
    return known_in_json(value, descriptor, path, found)


def _no_field(path: str, name: str, descriptor: Any) -> str:
    return f"no field {path + name!r}, so it has no effect; {nearest(name, list(descriptor.fields_by_name))}"
