"""Frameworks that may not be installed, imported when a model asks for one."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import get_ident
from typing import Any

from penstock.core.errors import LoadFailed, one_line

QUIET = "ORT_DISABLE_TELEMETRY"
"""Read by ONNX Runtime when it is imported."""


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


def onnxruntime() -> Any:
    """ONNX Runtime, unless told otherwise silent about its use.

    Since 1.32 it would keep a device's id in the user's cache folder and send word to Microsoft.
    """
    os.environ.setdefault(QUIET, "1")
    return import_module("onnxruntime")


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Has this thread's imports of these fail, as if they were not installed; what is imported stays."""
    absent = _Absent(modules)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


class _Absent:
    """Where Python asks first for a module that is not imported yet."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._thread = get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name in self._modules and get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _broken(what: str, extra: str, error: Exception) -> LoadFailed:
    why = f"{type(error).__name__}: {one_line(error)}"
    return LoadFailed(f"engine {extra!r}: the installed {what} cannot be imported: {why}")
