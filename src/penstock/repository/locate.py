"""One version of one model on disk, found by its name in a repository or by a path."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec
from penstock.engines import FILES, reads
from penstock.repository.layout import ModelFolder, model_file, read, single
from penstock.repository.pipeline import complete
from penstock.repository.spec import SPEC
from penstock.repository.versions import natural, wanted


class Located(Struct, frozen=True):
    """One version, as a server of this folder would load it."""

    name: str
    version: str
    file: Path
    """The model's file; of a pipeline its pipeline.toml."""
    spec: ModelSpec
    """The model's settings with the version's own laid over them."""
    folder: Path | None
    """The model's folder; None for a lone file."""
    versions: tuple[str, ...]
    """All that there are, oldest first."""
    named: bool = False
    """Whether it is just this version that was asked for, by its name or its path."""


def locate(model: str, repository: Path, defaults: ModelSpec | None = None) -> Located:
    """``NAME[@VERSION]`` of ``repository``, or the path of a model's folder, of a version's or of a file.

    Without a version it is the newest that the model's settings want and whose own are in order.
    A path may end in ``@VERSION``, too.
    Blocks; raises BadSetting with what there is instead.
    """
    whole = defaults or ModelSpec()
    for name, version in _readings(model):
        for look in _LOOKS:
            found = look(name, repository, whole)
            if found is not None:
                return _choose(found, version, model)
    raise BadSetting(_absent(model.rpartition("@")[0] or model, repository))


def _readings(model: str) -> list[tuple[str, str]]:
    """Names and paths may hold an ``@``, so the whole is looked for first."""
    name, at, version = model.rpartition("@")
    return [(model, ""), (name, version)] if at and name else [(model, "")]


class _Found(Struct, frozen=True):
    model: ModelFolder
    folder: Path | None
    version: str = ""
    """The one that the path names."""


_Look = Callable[[str, Path, ModelSpec], _Found | None]


def _by_name(name: str, repository: Path, defaults: ModelSpec) -> _Found | None:
    """A model of the repository, which may be one file."""
    if repository.is_file() and name == repository.stem:
        return _Found(single(repository, defaults), None)
    plain = name not in ("", ".", "..") and Path(name).name == name
    if not plain:
        return None
    return _model(repository / name, defaults) or _broken(repository / name, defaults)


def _by_file(name: str, repository: Path, defaults: ModelSpec) -> _Found | None:
    """A file by itself, wherever it lies: as when it is served so."""
    file = Path(name)
    if not file.is_file():
        return None
    if not reads(file.name, defaults.engine):
        raise BadSetting(f"{file} is no model; have {', '.join(FILES)}")
    return _Found(single(file, defaults), None)


def _by_folder(name: str, repository: Path, defaults: ModelSpec) -> _Found | None:
    """A model's folder or a version's; what looks like both is a version if its name is a number."""
    folder = Path(name).absolute()
    if not folder.is_dir():
        return None
    first, second = _model, _version
    if folder.name.isdecimal() and folder.parent != repository.absolute():
        first, second = second, first
    return first(folder, defaults) or second(folder, defaults) or _broken(folder, defaults)


_LOOKS: tuple[_Look, ...] = (_by_name, _by_file, _by_folder)


def _model(folder: Path, defaults: ModelSpec) -> _Found | None:
    """Of a model's folder that holds versions; None for others."""
    model = read(folder, defaults) if folder.is_dir() else None
    return _Found(model, folder) if model is not None and model.versions else None


def _broken(folder: Path, defaults: ModelSpec) -> _Found | None:
    """Of a model's folder that holds none, which says why."""
    model = read(folder, defaults) if folder.is_dir() else None
    return None if model is None else _Found(model, folder)


def _version(folder: Path, defaults: ModelSpec) -> _Found | None:
    """Of a version's folder; the folders beside it are looked at only if it seems to be one."""
    try:
        if not (folder / SPEC).is_file() and model_file(folder, defaults) is None:
            return None
    except BadSetting:
        pass  # several files, and the model's settings may say which
    model = read(folder.parent, defaults)
    if model is None or folder.name not in model.versions:
        return None
    return _Found(model, folder.parent, folder.name)


def _choose(found: _Found, version: str, asked: str) -> Located:
    model = found.model
    if model.spec is None:
        raise BadSetting(model.error)
    named = version or found.version
    version = named or _newest(model, model.spec)
    one = model.versions.get(version)
    if one is None:
        have = ", ".join(sorted(model.versions, key=natural))
        raise BadSetting(f"{asked!r}: model {model.name!r} has no version {version!r}; have {have}")
    if one.error:
        raise BadSetting(one.error)
    spec = complete(one.spec or model.spec, one.path)
    ordered = tuple(sorted(model.versions, key=natural))
    return Located(model.name, version, one.path, spec, found.folder, ordered, bool(named))


def _newest(model: ModelFolder, spec: ModelSpec) -> str:
    """The last that is wanted and may load; if there is none, what is wrong with the last that is not."""
    able = [name for name, one in model.versions.items() if not one.error]
    chosen = wanted(able, spec.versions) or wanted(model.versions, spec.versions)
    if not chosen:
        have = ", ".join(sorted(model.versions, key=natural))
        raise BadSetting(model.error or f"model {model.name!r} serves none of its versions, {have}")
    return chosen[-1]


def _absent(name: str, repository: Path) -> str:
    for folder in (repository / name, Path(name)):
        if folder.is_dir():
            return f"{folder} holds no model; give a model's folder, a version's, or a model file"
    if Path(name).name != name:
        return f"{name} does not exist; give a model's folder, a version's, or a model file"
    if not repository.exists():
        return f"no model {name!r}: the repository {repository} does not exist"
    have = [repository.stem] if repository.is_file() else _names(repository)
    return f"no model {name!r} in {repository}; {nearest(name, have) if have else 'it holds none'}"


def _names(repository: Path) -> list[str]:
    return [entry.name for entry in repository.iterdir() if entry.is_dir() and entry.name[0] != "."]
