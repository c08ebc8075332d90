"""Folders for compiled forms: where they are, and what tells them apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.engines.cache import alone, folder


def test_without_a_setting_it_is_below_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "penstock" / "x" == folder(ModelSpec(), "x")


@pytest.mark.parametrize("xdg", [None, "", "relative/path"])
def test_the_users_cache_folder_is_in_his_home_unless_said_otherwise(
    xdg: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert tmp_path / ".cache" / "penstock" / "x" == folder(ModelSpec(), "x")


def test_off_means_none() -> None:
    assert folder(ModelSpec(cache="off"), "x", "1.0") is None


def test_a_named_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = folder(ModelSpec(cache=str(tmp_path / "a" / "b")), "x", "1.0")
    assert path is not None
    assert (tmp_path / "a" / "b" / "x", 0o700) == (path.parent, path.stat().st_mode & 0o777)


@pytest.mark.parametrize("text", ["cache", "./cache", "none", "~nobodyhasthisname/x"])
def test_a_relative_folder_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"absolute path, or 'off'"):
        folder(ModelSpec(cache=text), "x")


def test_a_named_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"cache: cannot make .*file.*'off'"):
        folder(ModelSpec(cache=str(tmp_path / "file")), "x")


def test_the_users_own_is_done_without_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert folder(ModelSpec(), "x") is None


def test_another_word_or_content_or_name_of_a_file_is_another_folder(tmp_path: Path) -> None:
    def at(*key: str | Path) -> Path | None:
        return folder(ModelSpec(cache=str(tmp_path / "cache")), "x", *key)

    model = tmp_path / "1"
    model.mkdir()
    (model / "model.xml").write_text("a")
    seen = [
        at("1.0", model),
        at("1.1", model),
        at("1.0", "1.0", model),
        at("1.01", model),
        at("1", "0", model),
    ]
    (model / "model.bin").write_text("b")
    seen += [at("1.0", model)]
    os.utime(model / "model.bin", (1, 1))
    (model / "model.bin").write_text("c")
    os.utime(model / "model.bin", (1, 1))
    seen += [at("1.0", model)]
    (model / "model.bin").rename(model / "other.bin")
    seen += [at("1.0", model)]
    assert (len(seen), True) == (len(set(seen)), at("1.0", model) == seen[-1])


def test_a_copy_of_the_same_files_shares_the_folder(tmp_path: Path) -> None:
    spec = ModelSpec(cache=str(tmp_path / "cache"))
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.xml").write_text("a")
    assert folder(spec, "x", tmp_path / "1") == folder(spec, "x", tmp_path / "2" / "model.xml")


HOLD = """
import sys
from pathlib import Path
from penstock.engines.cache import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
    Path(sys.argv[1], "done").touch()
"""


def test_only_one_process_is_inside_at_a_time(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        waits = []

        def waiting() -> None:
            waits.append(True)
            other.communicate("")

        with alone(tmp_path, waiting):
            assert (tmp_path / "done").exists()
        with alone(tmp_path, waiting):
            assert waits == [True]


def test_there_is_nothing_to_hold_without_a_folder() -> None:
    with alone(None):
        pass
