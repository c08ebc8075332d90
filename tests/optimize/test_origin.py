from pathlib import Path

import pytest

from penstock.optimize import origin
from penstock.repository.locate import locate


@pytest.mark.parametrize("name", ["digits.onnx", "digits[1].onnx"])
def test_a_lone_file_has_what_begins_with_its_name_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("other").mkdir()
    for each in (name, f"{name}.data", "elsewhere.onnx", "other/private.txt"):
        Path(each).write_bytes(each.encode())
    located = locate(name, Path("models"))
    assert origin.files(located) == [tmp_path / name, tmp_path / f"{name}.data"]
    assert Path(origin.original(located).file) in origin.files(located)


def test_what_is_found_out_hangs_on_the_code_of_a_users_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_passes_of_a_user.py"
    file.write_text("class Mine: ...")
    names = ["clean", "own_passes_of_a_user:Mine", "", "top1", "no_such.thing:at_all"]
    assert origin.code(names) == [file]
