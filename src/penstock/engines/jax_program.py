"""What an exported JAX program tells of itself: names, datatypes, shapes and its batch axis."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.errors import InvalidRequest, LoadFailed, one_line
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.core.tensors import datatype_of
from penstock.engines.declared import check_declared

_NAME = re.compile(r"[A-Za-z_]\w*")


class Program(NamedTuple):
    """A program of ``jax.export.Exported``, its signature, and whether axis 0 alone is its batch."""

    exported: Any
    signature: Signature
    batch: bool


def read(export: Any, spec: ModelSpec, path: Path) -> Program:
    """Raises LoadFailed for a file that is none, or what V2 or one device cannot carry, and BadSetting."""
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:
        raise LoadFailed(
            f"JAX cannot read {path.name}: {one_line(error)}; it must be what "
            "jax.export.export(jax.jit(f))(...).serialize() gives"
        ) from error
    if exported.nr_devices != 1:
        raise LoadFailed(f"{path.name} was exported for {exported.nr_devices} devices; a session runs on one")
    names = input_names(exported), output_names(exported)
    told = Signature(
        _tensors("input", exported.in_avals, names[0], spec.inputs),
        _tensors("output", exported.out_avals, names[1], spec.outputs),
    )
    check_declared(spec, told, path.name)
    return Program(exported, told, _batched(exported))


def _tensors(
    role: str, avals: Sequence[Any], names: Sequence[str], declared: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """Untold names are those declared, by position, or ``input_0`` …"""
    whole = len(declared) == len(avals)
    spare = [declared[i].name if whole else f"{role}_{i}" for i in range(len(avals))]
    full = [name or other for name, other in zip(names, spare, strict=True)]
    if len(set(full)) < len(full):
        raise LoadFailed(f"two {role}s of the program have the same name: {', '.join(full)}")
    return tuple(_tensor(role, name, aval) for name, aval in zip(full, avals, strict=True))


def _tensor(role: str, name: str, aval: Any) -> TensorSpec:
    try:
        datatype = datatype_of(aval.dtype)
    except (InvalidRequest, AttributeError, TypeError):
        raise LoadFailed(f"{role} {name!r} is {aval.dtype}, for which V2 has no datatype") from None
    return TensorSpec(name, datatype, tuple(n if isinstance(n, int) else -1 for n in aval.shape))


def _batched(exported: Any) -> bool:
    """Whether axis 0 of all inputs and outputs is one variable, and no other axis hangs on it."""
    shapes = [[str(n) for n in aval.shape] for aval in (*exported.in_avals, *exported.out_avals)]
    if not shapes or not all(shapes) or not exported.in_avals:
        return False
    rows = shapes[0][0]
    others = {name for shape in shapes for size in shape[1:] for name in _NAME.findall(size)}
    return bool(_NAME.fullmatch(rows)) and rows not in others and all(shape[0] == rows for shape in shapes)


# -- names ------------------------------------------------------------------------------------------


def input_names(exported: Any) -> list[str]:
    """The innermost keys of the arguments, or the arguments' own names; empty where there are none.

    Names that are not the only ones get their argument's before them.
    """
    args = _arguments(exported)
    paths = [path[1:] if _key(path[0]) == "1" else path[2:] for path in _paths(exported.in_tree)]
    short = [_join(path) or name for path, name in zip(paths, args, strict=True)]
    if len(set(short)) == len(short):
        return short
    return [name or other for name, other in zip(args, short, strict=True)]


def output_names(exported: Any) -> list[str]:
    """The keys of the result, with dots between; empty where it has none."""
    return [_join(path) for path in _paths(exported.out_tree)]


def _paths(tree: Any) -> list[Any]:
    import jax

    leaves = jax.tree_util.tree_unflatten(tree, range(tree.num_leaves))
    return [path for path, _ in jax.tree_util.tree_flatten_with_path(leaves)[0]]


def _join(path: Sequence[Any]) -> str:
    keys = [_key(step) for step in path]
    return ".".join(keys) if any(not key.isdecimal() for key in keys) else ""


def _key(step: Any) -> str:
    """Of a dict, an attribute, or a position."""
    for kind in ("key", "name", "idx"):
        if hasattr(step, kind):
            return str(getattr(step, kind))
    return str(step)


def _arguments(exported: Any) -> list[str]:
    """Argument names, which the program keeps as locations of its innermost function's arguments.

    Empty for arguments that it does not use, and wherever this JAX keeps its programs otherwise.
    """
    names = [""] * len(exported.in_avals)
    try:
        places = _locations(exported.mlir_module_serialized)
    except Exception:  # noqa: BLE001 - jaxlib.mlir is no public interface
        return names
    kept = exported.module_kept_var_idx
    for at, place in zip(kept, places[len(places) - len(kept) :], strict=False):
        found = re.fullmatch(r'loc\("(.+)"\)', place)
        words = re.findall(r"\w+", found[1]) if found else []
        names[at] = ".".join(words)
    return names


def _locations(module: bytes) -> list[str]:
    """Before the arguments may stand a program's sizes and its platform."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    with ir.Context() as context:
        stablehlo.register_dialect(context)
        parsed = stablehlo.deserialize_portable_artifact(context, module)
        functions = {
            str(each.attributes["sym_name"]).strip('"'): each.regions[0].blocks[0].arguments
            for each in parsed.body.operations
        }
        inner = functions.get("_wrapped_jax_export_main", functions["main"])
        return [str(argument.location) for argument in inner]
