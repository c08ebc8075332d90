"""A model's folder on disk as its spec, its versions and their fingerprints."""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.engines import FILES, reads
from penstock.repository.spec import PIPELINE, SPEC, TRITON, read_spec
from penstock.repository.version import lay, read_own
from penstock.repository.versions import natural

Fingerprint: TypeAlias = tuple[tuple[str, int, int], ...]
"""Relative name, size and mtime (ns) of every file; no inode, because network file systems renumber."""

_MAX_FILES, _MAX_DEPTH = 10_000, 8


class VersionFolder(Struct, frozen=True):
    """One version: ``path`` is the model's file, ``fingerprint`` covers all files of its folder.

    ``own`` is what its own model.toml says, and ``spec`` the model's with that laid over it, or None
    where there is no such file; ``error`` says why the version cannot be served as that file wants it.
    """

    version: str
    path: Path
    fingerprint: Fingerprint
    own: Mapping[str, Any] = {}
    spec: ModelSpec | None = None
    error: str = ""


class ModelFolder(Struct, frozen=True):
    """One model; ``spec`` is None, and ``error`` says why, when its settings cannot be read.

    ``error`` is also set when the settings are fine but there is nothing to serve.
    ``fingerprint`` covers the settings and the label files, not the versions.
    ``warnings`` are about the settings, ``doubts`` about folders that might be versions but are not.
    """

    name: str
    spec: ModelSpec | None
    error: str = ""
    fingerprint: Fingerprint = ()
    versions: Mapping[str, VersionFolder] = {}
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def read(folder: Path, defaults: ModelSpec, known: ModelFolder | None = None) -> ModelFolder | None:
    """One model's folder; None when it is no model's. What is wrong inside becomes its ``error``.

    ``known``, the last answer, spares parsing settings that have not changed; what was a model's
    folder stays one, though it be emptied. Blocks.
    """
    settings = tuple(stamp(folder / name, name) for name in _SETTINGS)
    try:
        if known is not None and known.spec is not None and known.fingerprint[: len(settings)] == settings:
            spec, warnings = known.spec, known.warnings
        else:
            spec, warnings = read_spec(folder, defaults)
        same = known.versions if known is not None and known.spec is spec else {}
        versions, doubts = _versions(folder, spec, same)
        error = "" if versions else _misplaced(folder)
    except BadSetting as reason:
        return ModelFolder(folder.name, None, str(reason), settings)
    except OSError as reason:
        error = f"{reason.filename or folder} cannot be read: {reason.strerror or reason}"
        return ModelFolder(folder.name, None, error, settings)
    if known is None and settings == _NO_SETTINGS and not (versions or error or doubts):
        return None
    error = error or ("" if versions else " ".join(doubts) or _expected(folder, spec))
    labels = tuple(stamp(folder / file, file) for file in sorted(spec.labels.values()))
    return ModelFolder(folder.name, spec, error, settings + labels, versions, warnings, doubts)


_SETTINGS = (SPEC, TRITON, PIPELINE)
_NO_SETTINGS = tuple((name, -1, 0) for name in _SETTINGS)


def _versions(
    folder: Path, spec: ModelSpec, known: Mapping[str, VersionFolder]
) -> tuple[dict[str, VersionFolder], tuple[str, ...]]:
    """``known``: what was found last time, under the same ``spec``."""
    alone = folder / PIPELINE
    if alone.is_file():
        return {"1": VersionFolder("1", alone, (stamp(alone, PIPELINE),))}, _beside(folder, spec)
    if spec.steps:
        return _of_steps(folder, spec, known), ()
    return _of_files(folder, spec, known)


def _beside(folder: Path, spec: ModelSpec) -> tuple[str, ...]:
    """What a pipeline in the model's own folder leaves unread."""
    if spec.steps:
        raise BadSetting(f"{folder} holds {PIPELINE} and an ensemble in {TRITON}; remove one of them")
    versions, doubts = _of_files(folder, spec, {})
    unread = (
        f"{folder / name} is not read because of {folder / PIPELINE}, which is version 1; move that into "
        "a version's folder"
        for name in versions
    )
    return (*unread, *doubts)


def _of_steps(folder: Path, spec: ModelSpec, known: Mapping[str, VersionFolder]) -> dict[str, VersionFolder]:
    """Of an ensemble: folders with a number for a name, whatever is in them, else just version 1."""
    numbers = [entry for entry in _visible(folder) if entry.name.isdecimal() and entry.is_dir()]
    found = {entry.name: _version(entry, spec, known.get(entry.name)) for entry in numbers}
    there = {name: version for name, version in found.items() if version is not None}
    return there or {"1": VersionFolder("1", folder, ())}


def _of_files(
    folder: Path, spec: ModelSpec, known: Mapping[str, VersionFolder]
) -> tuple[dict[str, VersionFolder], tuple[str, ...]]:
    found: dict[str, VersionFolder] = {}
    doubts: list[str] = []
    for entry in sorted(_visible(folder), key=lambda entry: natural(entry.name)):
        try:
            version = _version(entry, spec, known.get(entry.name)) if entry.is_dir() else None
            if version is not None:
                found[entry.name] = version
        except (BadSetting, OSError) as error:
            doubts.append(str(error))
    return found, tuple(doubts)


def _version(folder: Path, spec: ModelSpec, known: VersionFolder | None) -> VersionFolder | None:
    """The version in ``folder``; None when it is none. One with settings of its own is always one."""
    if not (folder / SPEC).is_file():
        file = _file(folder, spec)
        return None if file is None else VersionFolder(folder.name, file, fingerprint(folder))
    prints = fingerprint(folder)
    if known is not None and known.fingerprint == prints:
        return known
    try:
        own = read_own(folder)
        whole = lay(spec, own, folder / SPEC)
        file = _file(folder, whole)
    except BadSetting as error:
        return VersionFolder(folder.name, folder / SPEC, prints, error=str(error))
    if file is None:
        return VersionFolder(folder.name, folder / SPEC, prints, error=_lacks(folder, whole))
    return VersionFolder(folder.name, file, prints, own, whole)


def _file(folder: Path, spec: ModelSpec) -> Path | None:
    """As ``model_file``; an ensemble has none but its folder."""
    return folder if spec.steps else model_file(folder, spec)


def model_file(folder: Path, spec: ModelSpec) -> Path | None:
    """What to load from a version's folder; None when it holds no model. A pipeline comes first.

    An engine of the user's own, whose endings are not known, takes ``model`` with any ending.
    Raises BadSetting when several files could be meant.
    """
    if (folder / PIPELINE).is_file():
        return folder / PIPELINE
    if spec.file:
        return folder / spec.file if (folder / spec.file).exists() else None
    known = not spec.engine or any(spec.engine in engines for engines in FILES.values())
    entries = [entry for entry in _visible(folder) if entry.name != SPEC]
    found = [e for e in entries if e.stem == "model" and (not known or reads(e.name, spec.engine))]
    found = found or [e for e in entries if known and reads(e.name, spec.engine) and e.is_file()]
    if len(found) > 1:
        names = ", ".join(entry.name for entry in found)
        raise BadSetting(f"{folder} holds {names}; say which with 'file' in {SPEC}.")
    return found[0] if found else None


def _misplaced(folder: Path) -> str:
    """What a folder without versions has got wrong, when that can be seen."""
    for file in _visible(folder):
        if reads(file.name) and file.is_file():
            return f"{file} lies in the model's own folder; move it to {folder / '1' / file.name}"
    return ""


def _expected(folder: Path, spec: ModelSpec) -> str:
    """What to put where, or what a folder that might be a version holds instead of it."""
    for entry in _visible(folder):
        if entry.name.isdecimal() and entry.is_dir() and _visible(entry):
            return _lacks(entry, spec)
    usual = next(iter(_endings(spec)), ".onnx")
    usual = spec.file or (f"model{usual}" if usual.startswith(".") else usual)
    return f"{folder} has no version; put the model at {folder / '1' / usual}"


def _endings(spec: ModelSpec) -> list[str]:
    return [name for name, engines in FILES.items() if not spec.engine or spec.engine in engines]


def _lacks(version: Path, spec: ModelSpec) -> str:
    """What a version's folder holds instead of the model's file."""
    names = ", ".join(file.name for file in _visible(version)[:8])
    return f"{version} has {names}{_instead(spec, _endings(spec))}"


def _instead(spec: ModelSpec, endings: list[str]) -> str:
    if spec.file:
        return f", and no {spec.file}, which 'file' names"
    if spec.engine:
        return f"; engine {spec.engine!r} reads {' or '.join(endings)}"
    return f", and no file with an ending that is known: {', '.join(endings)}"


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def fingerprint(folder: Path) -> Fingerprint:
    """Of all visible files below, links followed; raises OSError when the folder cannot be listed."""
    return tuple(islice(_walk(folder, "", _MAX_DEPTH), _MAX_FILES))


def _walk(folder: Path | str, prefix: str, depth: int) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if entry.name == "__pycache__":  # what reading a model in Python may leave changes no model
            continue
        if not entry.is_dir():
            yield stamp(Path(entry.path), prefix + entry.name)
        elif depth:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", depth - 1)


def stamp(file: Path, name: str) -> tuple[str, int, int]:
    """One file's part of a fingerprint; a file that is not there has size -1."""
    try:
        found = file.stat()
    except OSError:
        return name, -1, 0
    return name, found.st_size, found.st_mtime_ns


def single(file: Path, defaults: ModelSpec) -> ModelFolder:
    """One model file by itself: the model is called as the file is, its version is ``1``.

    Files beside it that begin with its name (external weights) belong to it.
    """
    beside = sorted(entry for entry in file.parent.iterdir() if entry.name.startswith(file.name))
    prints = tuple(stamp(entry, entry.name) for entry in beside)
    spec = msgspec.structs.replace(defaults, name=file.stem, versions="latest")
    return ModelFolder(file.stem, spec, versions={"1": VersionFolder("1", file, prints)})
