"""A model's own code: its module and the modules beside it, apart from those of every other version."""

import sys
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec
from itertools import count
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from penstock.core.errors import BadSetting, LoadFailed, one_line

_PREFIX = "_penstock_model_"
_NUMBERS = count(1)


def load(path: Path) -> ModuleType:
    """Runs the file as a module of a package of its own, whose other modules are the file's neighbours.

    Raises LoadFailed with the line that failed.
    """
    if _Neighbours not in sys.meta_path:
        sys.meta_path.insert(0, _Neighbours)
    package = ModuleType(f"{_PREFIX}{next(_NUMBERS)}")
    package.__path__ = [str(path.parent)]
    name = f"{package.__name__}.{path.stem}"
    loader = _Source(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules |= {package.__name__: package, name: module}
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        forget(module)
        raise LoadFailed(f"{path.name} cannot be loaded: {told(error, path.parent)}") from error
    return module


def forget(module: ModuleType) -> None:
    """Takes the module and its neighbours out of Python's list of modules."""
    package = module.__name__.partition(".")[0]
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


class _Source(SourceFileLoader):
    """Leaves no ``__pycache__`` behind: a change in a version's folder is a new version of the model."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


class _Neighbours:
    """Finds what models import from beside them; files that are new since are seen."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if path is None or not name.startswith(_PREFIX):
            return None
        kinds = ((_Source, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))
        found = (FileFinder(folder, *kinds).find_spec(name) for folder in path)
        return next((each for each in found if each is not None), None)


def find_class(module: ModuleType, file: str, named: str = "") -> type:
    """The one class defined in the module that has ``predict``, or the one that is named.

    Raises LoadFailed where there is not just one, BadSetting where that name is no such class.
    """
    if named:
        found = getattr(module, named, None)
        if not isinstance(found, type) or not hasattr(found, "predict"):
            raise BadSetting(f"parameters.class is {named!r}; {file} has no class of that name with predict")
        return found
    here = [each for each in vars(module).values() if _is_model(each, module)]
    last: list[type] = [each for each in here if not any(each in other.__mro__[1:] for other in here)]
    if len(last) == 1:
        return last[0]
    if not last:
        raise LoadFailed(f"{file} defines no class with predict")
    names = ", ".join(each.__name__ for each in last)
    raise LoadFailed(f"{file} defines {names}, all with predict; say which with `class` under [parameters]")


def _is_model(thing: Any, module: ModuleType) -> bool:
    return isinstance(thing, type) and thing.__module__ == module.__name__ and hasattr(thing, "predict")


def told(error: BaseException, folder: Path) -> str:
    """What a model's code raised and where in it, without the folder's own path."""
    text = f"{type(error).__name__}: {one_line(error)}" if str(error) else type(error).__name__
    place = _place(error, folder)
    if isinstance(error, SyntaxError) and error.msg:
        text = f"{type(error).__name__}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and (folder / f"{error.name}.py").is_file():
        text += f"; a file beside it is imported by `from . import {error.name}`"
    for path in {str(folder.resolve()), str(folder)}:
        text = text.replace(f"{path}/", "").replace(path, folder.name)
    return f"{place}: {text}" if place else text


def _place(error: BaseException, folder: Path) -> str:
    """``file:line`` of the model's own code that was last at work."""
    at = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        at.append((error.filename, error.lineno or 0))
    mine = [(Path(file).relative_to(folder), line) for file, line in at if Path(file).is_relative_to(folder)]
    return f"{mine[-1][0].as_posix()}:{mine[-1][1]}" if mine else ""
