"""How a model is to be served: model.toml, else config.pbtxt, over the user's own defaults."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.core import cron, resources
from penstock.core.errors import BadSetting
from penstock.core.schema import convert
from penstock.core.sizes import size
from penstock.core.spec import ModelSpec
from penstock.repository.versions import check

SPEC, TRITON, PIPELINE = "model.toml", "config.pbtxt", "pipeline.toml"


def read_spec(folder: Path, defaults: ModelSpec) -> tuple[ModelSpec, tuple[str, ...]]:
    """The spec of the model in ``folder``, and warnings. Blocks.

    Raises BadSetting naming the file and, where it is a matter of syntax, the line.
    """
    toml, triton = folder / SPEC, folder / TRITON
    if toml.is_file():
        both = f"{triton} is not read because there is a {SPEC}; remove one of them"
        spec = overlay(defaults, read_settings(toml))
        return _checked(spec, folder, toml), (both,) if triton.is_file() else ()
    if triton.is_file():
        from penstock.repository.triton import parse

        parsed, warnings = parse(_text(triton), str(triton))
        spec = overlay(defaults, changed(msgspec.to_builtins(parsed), _PLAIN))
        return _checked(spec, folder, triton), tuple(warnings)
    return _checked(defaults, folder, folder), ()


_PLAIN: dict[str, Any] = msgspec.to_builtins(ModelSpec())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadSetting(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_settings(file: Path) -> dict[str, Any]:
    """What a model.toml says, checked. Raises BadSetting naming the file, and the key or line. Blocks."""
    values = read_toml(file)
    for key in ("step", "steps", "give"):
        if key in values:
            raise BadSetting(f"{file}: {key} belongs in {PIPELINE}, beside it or in a version's folder")
    convert(values, ModelSpec, str(file))
    return values


def read_toml(file: Path) -> dict[str, Any]:
    """Raises BadSetting with the line for what is no TOML. Blocks."""
    try:
        return tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{file}: {error}") from None


def changed(values: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Only what differs from the plain defaults, so that the user's own defaults show through."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(plain.get(key), dict):
            out[key] = changed(value, plain[key])
        elif key not in plain or value != plain[key]:
            out[key] = value
    return out


def overlay(defaults: ModelSpec, values: Mapping[str, Any]) -> ModelSpec:
    """``values``, which have been checked, over what is there without them."""
    return msgspec.convert(merged(msgspec.to_builtins(defaults), values), ModelSpec)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, section by section."""
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if both else value
    return out


def _checked(spec: ModelSpec, folder: Path, where: Path) -> ModelSpec:
    if spec.name and spec.name != folder.name:
        raise BadSetting(
            f"{where}: name is {spec.name!r}, but the folder is {folder.name!r}; they must be the same"
        )
    check_file(spec, where)
    check_values(spec, where)
    try:
        check(spec.versions)
    except BadSetting as error:
        raise BadSetting(f"{where}: {error}") from None
    return msgspec.structs.replace(spec, name=folder.name)


def check_file(spec: ModelSpec, where: Path) -> None:
    """Raises BadSetting where the file lies outside the version's folder."""
    if Path(spec.file).is_absolute() or ".." in Path(spec.file).parts:
        raise BadSetting(f"{where}: file is {spec.file!r}; it must be a path inside the version's folder")


def check_values(spec: ModelSpec, where: Path) -> None:
    """Raises BadSetting for what fits its type, and not what else is set or what there is."""
    size(spec.record.max_bytes, f"{where}: record.max_bytes")
    resources.check(spec.instances.resources, f"{where}: instances.resources")
    queue = spec.queue
    if queue.default_priority > queue.max_priority:
        raise BadSetting(
            f"{where}: queue.default_priority is {queue.default_priority}; "
            f"it must be at most queue.max_priority, {queue.max_priority}"
        )
    _check_instances(spec, where)


def _check_instances(spec: ModelSpec, where: Path) -> None:
    instances = spec.instances
    if instances.moves and instances.count:
        raise BadSetting(
            f"{where}: instances.count is for a number that stays, min and max for one that follows the "
            "traffic; leave out count, or both of them"
        )
    least, most = instances.min or 0, instances.max
    if most is not None and least > most:
        raise BadSetting(f"{where}: instances.min is {least} and max {most}; min must be at most max")
    for each in spec.scaling.schedule:
        if fault := cron.fault(each.cron):
            raise BadSetting(f"{where}: scaling.schedule.cron: {fault}")
        if not instances.moves:
            raise BadSetting(
                f"{where}: scaling.schedule needs a number of instances that moves: set instances.max"
            )
        if most is not None and each.min > most:
            raise BadSetting(f"{where}: scaling.schedule.min is {each.min}, and instances.max {most}")
