"""A model in Python: a class of the user's own in ``model.py``, whose ``predict`` sees a whole batch."""

import logging
from collections.abc import Callable, Mapping, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

import numpy as np

from penstock.core.errors import EngineFailed, LoadFailed, PenstockError
from penstock.core.spec import Isolation, ModelSpec, Signature, TensorSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen
from penstock.engines.device import wanted
from penstock.engines.files import find
from penstock.engines.memory import trim
from penstock.engines.python_code import find_class, forget, load, told
from penstock.engines.python_results import by_name, checked, each_row, joined, split, stacked, view
from penstock.engines.python_signature import read_signature, row_kinds
from penstock.engines.python_types import Context

log = logging.getLogger("penstock.model")

MOST_TRACEBACKS = 100
METHODS = ("setup", "decode", "predict", "encode", "close")


class PythonEngine:
    """Opens a version's ``model.py`` (or ``spec.file``); docs/guide/python.md says what it may hold."""

    isolation: Isolation = "process"

    def open(self, spec: ModelSpec, files: Path, /) -> "PythonSession":
        """Runs the file, makes the object and sets it up; raises LoadFailed with the line that failed."""
        path = find(spec, files, "model.py").absolute()
        context = Context(
            folder=path.parent,
            device=str(wanted(spec.device, ("cpu",))[0]),
            threads=spec.instances.threads or 1,
            parameters=spec.parameters,
            model=spec.name,
        )
        module = load(path)
        try:
            model = find_class(module, path.name, spec.parameters.get("class", ""))
            _check_plain(model)
            shape = read_signature(model, spec)
            return PythonSession(module, _made(model, context), shape, context)
        except BaseException:
            forget(module)
            raise


def _check_plain(model: type) -> None:
    for name in METHODS:
        method = getattr(model, name, None)
        if iscoroutinefunction(method) or isasyncgenfunction(method):
            raise LoadFailed(
                f"{model.__name__}.{name} is async; write it as a plain def: each batch has a process "
                "or thread of its own to block"
            )
        if isgeneratorfunction(method):
            raise LoadFailed(f"{model.__name__}.{name} yields; it must return all at once")


def _made(model: type, context: Context) -> Any:
    """The object, after its ``setup``."""
    step = "its constructor, which is called without arguments,"
    try:
        made = model()
        step = "setup"
        if hasattr(made, "setup"):
            made.setup(*(context,) if signature(made.setup).parameters else ())
    except PenstockError:
        raise
    except (Exception, SystemExit) as error:
        raise LoadFailed(f"{model.__name__}: {step} failed: {told(error, context.folder)}") from error
    return made


class PythonSession:
    """One object of the user's class; in threads, several may be in ``predict`` at once."""

    platform = "python"
    concurrency = 0

    def __init__(self, module: ModuleType, model: Any, shape: Signature, context: Context) -> None:
        self.signature = shape
        self.threads = context.threads
        self.device = str(getattr(model, "device", context.device))
        self._module = module
        self._model: Any = model
        self._folder = context.folder
        self._kinds = row_kinds(model)
        self._decodes = hasattr(model, "decode")
        self._encodes = hasattr(model, "encode")
        self._logged: set[tuple[type, str, int | None]] = set()

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """All outputs are computed; those asked for come back.

        Raises what the model raises of Penstock's own errors, and EngineFailed with its line for others.
        """
        if self._model is None:
            raise RuntimeError("the session is closed")
        check_inputs(self.signature, inputs)
        names = chosen(self.signature, outputs)
        given = {spec.name: view(inputs[spec.name]) for spec in self.signature.inputs}
        rows = next((len(array) for array in given.values() if array.ndim), 1)
        if not rows:
            return {spec.name: _empty(spec) for spec in self.signature.outputs if spec.name in names}
        made = self._encoded(self._predicted(given, rows), rows)
        found = {
            spec.name: checked(spec, made[spec.name], rows, given.values()) for spec in self.signature.outputs
        }
        return {name: found[name] for name in names}

    def _predicted(self, given: Tensors, rows: int) -> Any:
        if not self._decodes:
            return self._call("predict", **given)
        decoded = [self._call("decode", **row) for row in split(given, rows, self._kinds)]
        return self._call("predict", stacked(decoded))

    def _encoded(self, result: Any, rows: int) -> Mapping[str, Any]:
        if not self._encodes:
            return by_name(self.signature.outputs, result, "predict")
        return joined(self.signature.outputs, [self._call("encode", each) for each in each_row(result, rows)])

    def _call(self, method: str, *values: Any, **named: Any) -> Any:
        call: Callable[..., Any] = getattr(self._model, method)
        try:
            return call(*values, **named)
        except PenstockError:
            raise
        except (Exception, SystemExit) as error:
            self._log_once(method, error)
            raise EngineFailed(f"{method} failed: {told(error, self._folder)}") from error

    def _log_once(self, method: str, error: BaseException) -> None:
        """The traceback of the first error of a kind from a place; callers get a line of it, each time."""
        last = extract_tb(error.__traceback__)[-1]
        place = (type(error), last.filename, last.lineno)
        if place not in self._logged and len(self._logged) < MOST_TRACEBACKS:
            self._logged.add(place)
            log.error("%s failed; this is logged once:", method, exc_info=error)

    def close(self) -> None:
        """Calls the model's own ``close`` where it has one."""
        model, self._model = self._model, None
        try:
            if hasattr(model, "close"):
                model.close()
        finally:
            del model
            forget(self._module)
            trim()


def _empty(spec: TensorSpec) -> Array:
    """What no rows give, without asking the model."""
    return np.empty([max(size, 0) for size in spec.shape], dtype_of(spec.datatype))
