"""A session's signature from the annotations of a model's own class."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed, one_line
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.core.tensors import datatype_of
from penstock.engines.python_types import Datatype

UNNAMED = "y"
"""The name of a single output that is given none."""
_SCALARS: Mapping[Any, str] = {bytes: "BYTES", str: "BYTES", bool: "BOOL", int: "INT64", float: "FP64"}
_HOW = "write it as Annotated[FP32, -1, 4], the shape behind the type"


def read_signature(model: type, spec: ModelSpec) -> Signature:
    """What ``decode`` or else ``predict`` takes, and what ``encode`` or else ``predict`` gives.

    Of ``decode`` and ``encode`` the annotations are of one row, without axis 0.
    Where there are none, ``spec`` must tell.
    Raises LoadFailed that names the odd annotation, and BadSetting where ``spec`` disagrees.
    """
    first = "decode" if hasattr(model, "decode") else "predict"
    last = "encode" if hasattr(model, "encode") else "predict"
    return Signature(_inputs(model, first, spec.inputs), _outputs(model, last, spec.outputs))


def row_kinds(model: Any) -> dict[str, type]:
    """Of ``decode`` the inputs that it takes as Python's own ``str``, ``int``, ``float`` or ``bool``."""
    if not hasattr(model, "decode"):
        return {}
    bases = {name: _base(hint) for name, hint in _hints(model.decode, "decode").items() if name != "return"}
    return {name: base for name, base in bases.items() if base in (str, int, float, bool)}


def _inputs(model: type, method: str, declared: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    call = getattr(model, method)
    where = f"{model.__name__}.{method}"
    hints = _hints(call, where)
    found: list[TensorSpec] = []
    free = False
    for name, parameter in list(signature(call).parameters.items())[1:]:
        if parameter.kind is Parameter.VAR_KEYWORD:
            free = True
        elif parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL):
            raise LoadFailed(f"{where}: inputs are given by name; {name!r} cannot be")
        elif name in hints:
            found.append(_tensor(hints[name], f"input {name!r} of {where}", name, row=method == "decode"))
        else:
            found.append(TensorSpec(name, "", ()))
    return _agreed(found, declared, free, where, "input")


def _outputs(model: type, method: str, declared: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    where = f"{model.__name__}.{method}"
    hint = _hints(getattr(model, method), where).get("return")
    if hint is None or hint in (dict, Any) or get_origin(hint) in (dict, Mapping):
        return _agreed([], declared, True, where, "output")
    found = [
        _tensor(each, f"output {name!r} of {where}", name, row=method == "encode")
        for name, each in _fields(hint, where)
    ]
    return _agreed(found, declared, False, where, "output")


def _hints(call: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(call, include_extras=True)
    except Exception as error:
        raise LoadFailed(f"the annotations of {where} cannot be read: {one_line(error)}") from error


def _agreed(
    found: list[TensorSpec], declared: Sequence[TensorSpec], free: bool, where: str, role: str
) -> tuple[TensorSpec, ...]:
    """What the annotations tell, and ``declared`` where they do not; ``free``: it takes any names."""
    known = {spec.name: spec for spec in declared}
    if free and not found:
        if not declared:
            raise LoadFailed(f"{where} does not tell its {role}s; {_HOW}, or declare [[{role}s]]")
        return tuple(declared)
    for name in known:
        if name not in [spec.name for spec in found]:
            raise BadSetting(f"{role} {name!r} is declared; {where} has {', '.join(s.name for s in found)}")
    out = [spec if spec.datatype else known.get(spec.name, spec) for spec in found]
    for spec in out:
        if not spec.datatype:
            raise LoadFailed(f"{role} {spec.name!r} of {where} has no type; {_HOW}, or declare [[{role}s]]")
        if known.get(spec.name, spec) != spec:
            told = known[spec.name]
            raise BadSetting(
                f"{role} {spec.name!r} is declared {told.datatype} {list(told.shape)}; "
                f"{where} says {spec.datatype} {list(spec.shape)}"
            )
    return tuple(out)


def _fields(hint: Any, where: str) -> list[tuple[str, Any]]:
    """Outputs by name: of a TypedDict or NamedTuple, of a tuple of named ones, or a single one."""
    if is_typeddict(hint) or hasattr(hint, "_fields"):
        return list(_hints(hint, where).items())
    parts = get_args(hint) if get_origin(hint) is tuple else (hint,)
    fields = [(_name(part) or (UNNAMED if len(parts) == 1 else ""), part) for part in parts]
    for name, part in fields:
        if not name:
            raise LoadFailed(
                f"{where} returns several outputs of which one has no name; write Annotated[FP32, 'name', -1]"
                f" in place of {part}, or return a TypedDict"
            )
    return fields


def _name(hint: Any) -> str:
    return next((each for each in _extras(hint) if isinstance(each, str)), "")


def _extras(hint: Any) -> tuple[Any, ...]:
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def _base(hint: Any) -> Any:
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def _tensor(hint: Any, what: str, name: str, *, row: bool) -> TensorSpec:
    extras, base = _extras(hint), _base(hint)
    datatype = next((each.name for each in extras if isinstance(each, Datatype)), "")
    shape = tuple(each for each in extras if type(each) is int)
    scalar = row and not shape
    try:
        datatype = datatype or _datatype(base, scalar=scalar)
    except InvalidRequest as error:
        raise LoadFailed(f"{what}: {error}") from None
    if not datatype or not (shape or scalar):
        raise LoadFailed(f"{what} is {hint}, which {'is no tensor' if shape else 'has no shape'}; {_HOW}")
    return TensorSpec(name, datatype, (-1, *shape) if row else shape)


def _datatype(base: Any, *, scalar: bool) -> str:
    """Of ``NDArray[…]``, or where it is a row's single value of ``float``, ``np.float32``, ``str`` …"""
    if get_origin(base) is np.ndarray:
        kinds = get_args(get_args(base)[1])
        return "" if scalar or not isinstance(kinds[0], type) else datatype_of(np.dtype(kinds[0]))
    if scalar and base in _SCALARS:
        return _SCALARS[base]
    if scalar and isinstance(base, type) and issubclass(base, np.generic):
        return datatype_of(np.dtype(base))
    return ""
