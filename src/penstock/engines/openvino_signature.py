"""What an OpenVINO model takes and gives, from its ports and from what the settings declare."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.spec import ModelSpec, Signature, TensorSpec

DATATYPES = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "bf16": "BF16",
    "f32": "FP32",
    "f64": "FP64",
    "string": "BYTES",
}
"""V2 datatypes by OpenVINO's names."""


def signature(file: str, model: Any, spec: ModelSpec) -> Signature:
    """Of a model, compiled or not; declared sizes narrow what the file leaves open.

    An output whose axes the file does not tell has none here.
    Raises LoadFailed for what cannot be served, and BadSetting where a declaration disagrees.
    """
    return Signature(
        _tensors(file, "input", model.inputs, spec.inputs),
        _tensors(file, "output", model.outputs, spec.outputs),
    )


def _tensors(
    file: str, role: str, ports: Sequence[Any], declared: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    by_name = {tensor.name: tensor for tensor in declared}
    names = _names(role, ports)
    if by_name and sorted(by_name) != sorted(names):
        raise BadSetting(f"{role}s are declared as {', '.join(by_name)}, but {file} has {', '.join(names)}")
    return tuple(_tensor(file, role, name, port, by_name) for name, port in zip(names, ports, strict=True))


def _names(role: str, ports: Sequence[Any]) -> list[str]:
    """A port may have no name, or share its names with another: then it goes by its place."""
    names: list[str] = []
    for place, port in enumerate(ports):
        name = _name(port)
        names.append(f"{role}_{place}" if not name or name in names else name)
    return names


def _name(port: Any) -> str:
    """The file's own: where compiling drops a cast or copy, a port takes the names inside to its own."""
    told: str = port.get_node().get_friendly_name().partition("/sink_port_")[0]
    return told if told in port.names else min(port.names, default="")


def _tensor(file: str, role: str, name: str, port: Any, declared: Mapping[str, TensorSpec]) -> TensorSpec:
    kind = port.element_type.get_type_name()
    datatype = DATATYPES.get(kind)
    if datatype is None:
        raise LoadFailed(
            f"{role} {name!r} of {file} is {kind}; only {', '.join(DATATYPES.values())} can be served"
        )
    shape = port.partial_shape
    sizes = None if shape.rank.is_dynamic else [-1 if d.is_dynamic else d.get_length() for d in shape]
    return _agreed(
        file, role, TensorSpec(name, datatype, tuple(sizes or ())), declared.get(name), sizes is None
    )


def _agreed(file: str, role: str, told: TensorSpec, declared: TensorSpec | None, unknown: bool) -> TensorSpec:
    if declared is None:
        if unknown and role == "input":
            raise LoadFailed(f"{file} does not tell the axes of {role} {told.name!r}; declare its {role}s")
        return told
    sizes = declared.shape if unknown else told.shape
    fits = len(sizes) == len(declared.shape) and all(
        size in (-1, wanted) for size, wanted in zip(sizes, declared.shape, strict=True)
    )
    if fits and told.datatype == declared.datatype:
        return declared
    raise BadSetting(
        f"{role} {told.name!r} is declared as {declared.datatype} {list(declared.shape)}, "
        f"but {file} has {told.datatype} {'of any shape' if unknown else list(sizes)}"
    )
