"""The settings that one version has for itself: a model.toml in its folder, over the model's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.engines import FILES, reads
from penstock.repository.spec import PIPELINE, SPEC, check_file, check_values, overlay, read_settings

_ELSEWHERE = {
    "name": "a version is called as its folder is",
    "versions": f"it belongs in the model's own {SPEC}, one folder up",
}
_MADE_OF_OTHERS = {
    "engine": "a pipeline has none; its models have",
    "file": "a pipeline's models have their own",
}


def read_own(folder: Path) -> dict[str, Any]:
    """What the version in ``folder`` says for itself; empty where it says nothing. Blocks.

    Raises BadSetting naming the file, and the key or line.
    """
    file = folder / SPEC
    if not file.is_file():
        return {}
    values = read_settings(file)
    _refuse(values, _ELSEWHERE, file)
    if (folder / PIPELINE).is_file():
        _refuse(values, _MADE_OF_OTHERS, file)
    return values


def lay(spec: ModelSpec, own: Mapping[str, Any], where: Path) -> ModelSpec:
    """``own``, from ``read_own``, over the model's ``spec``.

    A version's engine or file wins: where the model's other one does not go with it, that is dropped.
    ``where`` is the file, for messages. Raises BadSetting for what does not fit together.
    """
    if not own:
        return spec
    if spec.steps:
        _refuse(own, _MADE_OF_OTHERS, where)
    whole = overlay(spec, own)
    if _apart(whole):
        whole = replace(whole, **{name: "" for name in ("engine", "file") if name not in own})
    check_file(whole, where)
    check_values(whole, where)
    return whole


def _refuse(values: Mapping[str, Any], keys: Mapping[str, str], file: Path) -> None:
    for key, why in keys.items():
        if key in values:
            raise BadSetting(f"{file}: {key} cannot be set here; {why}")


def _apart(spec: ModelSpec) -> bool:
    """Whether it is known that this engine does not read this file."""
    known = any(spec.engine in engines for engines in FILES.values())
    return known and bool(spec.file) and not reads(Path(spec.file).name, spec.engine)
