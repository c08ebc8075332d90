"""Frameworks that may not be installed, imported when a model asks for one."""

from importlib import import_module
from typing import Any

from penstock.core.errors import LoadFailed, one_line


def require(module: str, what: str, extra: str) -> Any:
    """The module; raises LoadFailed that says what to install, or why what is installed does not import.

    ``what`` is the framework as people write it, ``extra`` the engine's name and its extra's.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise LoadFailed(f"engine {extra!r} needs {what}: pip install 'penstock[{extra}]'") from error
        raise _broken(what, extra, error) from error
    except Exception as error:
        raise _broken(what, extra, error) from error


def _broken(what: str, extra: str, error: Exception) -> LoadFailed:
    why = f"{type(error).__name__}: {one_line(error)}"
    return LoadFailed(f"engine {extra!r}: the installed {what} cannot be imported: {why}")
