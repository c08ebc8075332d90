"""Objects by import string."""

import json

import pytest

from penstock.core.errors import BadSetting
from penstock.core.importing import find

KNOWN = {"encoder": "json:JSONEncoder"}


def test_known_names_and_import_strings_are_found():
    assert find("encoder", KNOWN, "engine") is json.JSONEncoder
    assert find("json:JSONDecoder", KNOWN, "engine") is json.JSONDecoder


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("encodr", "no engine 'encodr'; did you mean 'encoder'? (your own: 'module:Class')"),
        ("", "no engine ''; have encoder (your own: 'module:Class')"),
        (
            "nowhere_at_all:X",
            "engine 'nowhere_at_all:X' cannot be imported: No module named 'nowhere_at_all'",
        ),
        (
            "json:Nothing",
            "engine 'json:Nothing' cannot be imported: module 'json' has no attribute 'Nothing'",
        ),
        ("json:", "engine 'json:' cannot be imported: module 'json' has no attribute ''"),
        (":X", "engine ':X' cannot be imported: "),
        (".a:X", "engine '.a:X' cannot be imported"),
    ],
)
def test_what_is_not_found_is_said_with_what_there_is(name, says):
    with pytest.raises(BadSetting) as caught:
        find(name, KNOWN, "engine")
    assert str(caught.value).startswith(says)


def test_a_module_that_breaks_while_it_is_imported_says_so(tmp_path, monkeypatch):
    (tmp_path / "breaks_on_import.py").write_text("raise ValueError('by itself')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadSetting, match="'breaks_on_import:X' cannot be imported: by itself"):
        find("breaks_on_import:X", {}, "engine")


def test_a_module_that_exits_while_it_is_imported_says_so(tmp_path, monkeypatch):
    (tmp_path / "exits_on_import.py").write_text("raise SystemExit('by itself')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadSetting, match="'exits_on_import:X' cannot be imported: by itself"):
        find("exits_on_import:X", {}, "engine")
