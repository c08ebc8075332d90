"""What users import: names that are there, sorted, and cheap to get."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import penstock

SOURCE = Path(penstock.__file__).parent


def _public():
    """Every module that says what it exports."""
    for file in sorted(SOURCE.rglob("*.py")):
        if "\n__all__ = " in file.read_text():
            parts = file.relative_to(SOURCE.parent).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


MODULES = list(_public())


def _defined(module):
    """Public names that a module, or one below it, defines and this one holds."""
    for name, value in vars(module).items():
        home = getattr(value, "__module__", None)
        if (
            not name.startswith("_")
            and isinstance(home, str)
            and f"{home}.".startswith(f"{module.__name__}.")
        ):
            yield name


def test_the_modules_for_users_say_what_they_export():
    assert {"penstock", "penstock.client", "penstock.testing"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_complete_and_there(name):
    module = import_module(name)
    exported = module.__all__
    assert exported == sorted(exported)
    assert [each for each in exported if getattr(module, each, None) is None] == []
    assert sorted(set(_defined(module)) - set(exported)) == []


def test_what_is_imported_late_is_exported():
    assert set(penstock._LAZY) | {"__version__"} == set(penstock.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = penstock.Klient


def _imported(statement, modules):
    code = f"import sys; {statement}; print(*sorted({set(modules)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_penstock_imports_no_framework():
    heavy = ("numpy", "onnxruntime", "grpc", "starlette", "typer", "rich", "httpx", "asyncio", "msgspec")
    assert _imported("import penstock", heavy) == []


def test_importing_the_client_imports_no_server():
    heavy = (
        "onnxruntime",
        "grpc",
        "starlette",
        "uvloop",
        "httptools",
        "prometheus_client",
        "typer",
        "watchfiles",
    )
    assert _imported("from penstock import AsyncClient, Client", heavy) == []
