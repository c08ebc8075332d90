"""Fields of a Triton configuration that do nothing here: names nobody knows, and those without a meaning."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf.text_format import ParseError, Tokenizer

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
        "ensemble_scheduling.step.model_name",
        "ensemble_scheduling.step.model_version",
        "ensemble_scheduling.step.input_map",
        "ensemble_scheduling.step.output_map",
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
    "ensemble_scheduling.step.model_namespace": "all models are in one repository",
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


def known_in_text(text: str, descriptor: Any, found: list[str]) -> str:
    """``text`` with blanks for the fields that the message does not have; adds a clause for each of those.

    Protobuf's own leave to skip such fields does not hold for lists of messages.
    Raises ParseError where a bracket stays open.
    """
    lines = text.split("\n")
    reader = _Reader(lines, found)
    reader.fields(descriptor, "")
    for start, end in reader.unknown:
        _blank(lines, start, end)
    return "\n".join(lines)


_Place: TypeAlias = tuple[int, int]


def _blank(lines: list[str], start: _Place, end: _Place) -> None:
    for at in range(start[0], min(end[0] + 1, len(lines))):
        line = lines[at]
        first = start[1] if at == start[0] else 0
        last = min(end[1], len(line)) if at == end[0] else len(line)
        lines[at] = line[:first] + " " * (last - first) + line[last:]


class _Reader:
    """Walks over a pbtxt, well-formed or not, and notes where unknown fields begin and end."""

    def __init__(self, lines: list[str], found: list[str]) -> None:
        self._tokens = Tokenizer(lines)
        self._end = (len(lines), len(lines[-1]))
        self._found = found
        self.unknown: list[tuple[_Place, _Place]] = []

    def fields(self, descriptor: Any, path: str) -> None:
        tokens = self._tokens
        while tokens.token not in ("}", ">", ""):
            name, start = tokens.token, self._place()
            tokens.NextToken()
            field = descriptor.fields_by_name.get(name) if descriptor else None
            tokens.TryConsume(":")
            self._values(field.message_type if field else None, f"{path}{name}.")
            tokens.TryConsume(",") or tokens.TryConsume(";")
            if descriptor and field is None:
                self._found.append(_no_field(path, name, descriptor))
                self.unknown.append((start, self._place()))

    def _place(self) -> _Place:
        """Of the token that comes next, counted from 0."""
        if self._tokens.AtEnd():
            return self._end
        here = self._tokens.ParseError("")  # type: ignore[arg-type]  # it takes text
        return (here.GetLine() or 1) - 1, (here.GetColumn() or 1) - 1

    def _missing(self, closing: str) -> ParseError:
        return ParseError(f'the text ends before a "{closing}".', *self._end)

    def _values(self, descriptor: Any, path: str) -> None:
        tokens = self._tokens
        if not tokens.TryConsume("["):
            self._value(descriptor, path)
            return
        while not tokens.TryConsume("]"):
            if tokens.AtEnd():
                raise self._missing("]")
            self._value(descriptor, path)
            tokens.TryConsume(",")

    def _value(self, descriptor: Any, path: str) -> None:
        tokens = self._tokens
        if tokens.TryConsume("{") or tokens.TryConsume("<"):
            self.fields(descriptor, path)
            if not tokens.TryConsume("}") and not tokens.TryConsume(">"):
                raise self._missing("}")
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
