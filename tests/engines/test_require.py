"""What a missing or broken framework is answered with."""

import sys
from pathlib import Path

import pytest

from penstock.core.errors import LoadFailed
from penstock.engines.require import require, without


def test_an_installed_module_is_imported() -> None:
    assert sys.modules["json.decoder"] is require("json.decoder", "JSON", "json")


@pytest.mark.parametrize("module", ["penstock_no_such", "penstock_no_such.inner"])
def test_a_missing_one_says_what_to_install(module: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        require(module, "No Such", "nosuch")
    assert str(caught.value) == "engine 'nosuch' needs No Such: pip install 'penstock[nosuch]'"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import penstock_dependency", "ModuleNotFoundError: No module named 'penstock_dependency'"),
        ("raise OSError('libfast.so.1: cannot\\nopen')", "OSError: libfast.so.1: cannot open"),
    ],
)
def test_one_that_does_not_import_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    (tmp_path / "penstock_broken.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LoadFailed) as caught:
        require("penstock_broken", "Broken", "broken")
    assert f"engine 'broken': the installed Broken cannot be imported: {why}" == str(caught.value)


def test_a_module_can_be_done_without_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what imports whatever is installed; what is there already stays."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "penstock_extra.py").write_text("")
    (tmp_path / "penstock_greedy.py").write_text(
        "try:\n    import penstock_extra as found\nexcept ImportError:\n    found = None\n"
    )
    with without("penstock_extra", "json"):
        assert require("penstock_greedy", "Greedy", "greedy").found is None
        assert require("json", "JSON", "json") is sys.modules["json"]
    assert require("penstock_extra", "Extra", "extra") is sys.modules["penstock_extra"]
