"""pipeline.toml: a model that is made of other models, and its settings."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.schema import convert
from penstock.core.spec import ModelSpec, Step
from penstock.repository.spec import PIPELINE, check_values, overlay, read_toml

_ELSEWHERE = {
    "engine": "a pipeline has none; its models have",
    "file": "a pipeline's models have their own",
    "versions": "it belongs in model.toml",
    "steps": "write [[step]] for each",
}


def complete(spec: ModelSpec, path: Path) -> ModelSpec:
    """``spec`` with what a version's pipeline.toml says; any other ``path`` changes nothing. Blocks.

    Raises BadSetting naming the file, and the step or line.
    """
    if path.name != PIPELINE:
        return spec
    values = read_toml(path)
    steps = _steps(values.pop("step", None), path)
    for key, why in _ELSEWHERE.items():
        if key in values:
            raise BadSetting(f"{path}: {key} cannot be set here; {why}")
    convert(values, ModelSpec, str(path))
    if values.get("name", spec.name) != spec.name:
        raise BadSetting(
            f"{path}: name is {values['name']!r}, but the folder is {spec.name!r}; they must be the same"
        )
    whole = overlay(spec, values)
    check_values(whole, path)
    return replace(whole, steps=steps)


def _steps(tables: Any, path: Path) -> tuple[Step, ...]:
    if not tables or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadSetting(f"{path}: it has no step; begin one by [[step]], and name its 'model'")
    return tuple(convert(table, Step, f"{path}, step {at}") for at, table in enumerate(tables, 1))
