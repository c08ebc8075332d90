"""The store reads what is there; one broken model never hides the others."""

import asyncio
import logging
from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.repository.local import LocalStore


def put(root: Path, *files: str, text: str = "x") -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_models_are_found_and_hidden_or_foreign_folders_are_not(tmp_path: Path) -> None:
    put(tmp_path, "a/1/model.onnx", "b/v1/model.onnx", ".git/1/model.onnx", "docs/readme.md", "lost+found/x")
    models = LocalStore(tmp_path).scan()
    assert {name: list(model.versions) for name, model in models.items()} == {"a": ["1"], "b": ["v1"]}


def test_a_broken_model_is_its_own_error(tmp_path: Path) -> None:
    put(tmp_path, "a/1/model.onnx", "b/1/model.onnx")
    put(tmp_path, "b/model.toml", text="nonsense")
    models = LocalStore(tmp_path).scan()
    assert models["a"].error == ""
    assert models["b"].spec is None
    assert "b/model.toml: " in models["b"].error


def test_defaults_lie_under_every_model(tmp_path: Path) -> None:
    put(tmp_path, "a/1/model.onnx")
    models = LocalStore(tmp_path, ModelSpec(versions="all")).scan()
    assert models["a"].spec == ModelSpec(name="a", versions="all")


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_a_repository_without_models_says_what_is_expected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind != "missing":
        path.mkdir()
    if kind == "foreign":
        put(path, "docs/readme.md")
    with pytest.raises(BadSetting, match=r"<model>/<version>/model\.onnx.*'penstock init DIR'"):
        LocalStore(path).scan()


def test_the_folder_of_one_model_is_recognised(tmp_path: Path) -> None:
    put(tmp_path, "models/a/1/model.onnx", "models/a/2/model.onnx", "models/a/requests/x.json")
    with pytest.raises(BadSetting, match=f"the folder of one model; serve {tmp_path}/models instead"):
        LocalStore(tmp_path / "models/a").scan()


def test_a_repository_that_loses_its_last_model_is_empty_not_wrong(tmp_path: Path) -> None:
    put(tmp_path, "a/1/model.onnx")
    store = LocalStore(tmp_path)
    store.scan()
    (tmp_path / "a").rename(tmp_path / ".a")
    assert store.scan() == {}


def test_one_file_is_a_repository(tmp_path: Path) -> None:
    put(tmp_path, "digits.onnx", "notes.txt")
    models = LocalStore(tmp_path / "digits.onnx").scan()
    assert {name: list(model.versions) for name, model in models.items()} == {"digits": ["1"]}
    with pytest.raises(BadSetting, match=r"notes\.txt is no model; have \.onnx"):
        LocalStore(tmp_path / "notes.txt").scan()


def test_linked_folders_work_as_a_config_map_mounts_them(tmp_path: Path) -> None:
    put(tmp_path, "..one/a/1/model.onnx")
    put(tmp_path, "..two/a/1/model.onnx", text="longer")
    data = tmp_path / "..data"
    data.symlink_to("..one")
    (tmp_path / "a").symlink_to("..data/a")
    store = LocalStore(tmp_path)
    before = store.scan()
    assert list(before) == ["a"]
    (tmp_path / "..next").symlink_to("..two")
    (tmp_path / "..next").rename(data)
    after = store.scan()
    assert before["a"].versions["1"].fingerprint != after["a"].versions["1"].fingerprint


def test_a_warning_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a/1/model.onnx", "a/1/sub/x", "a/2/x.onnx", "a/2/y.onnx")
    put(tmp_path, "a/model.toml", "a/config.pbtxt", text="")
    store = LocalStore(tmp_path)
    with caplog.at_level(logging.WARNING, "penstock.repository"):
        store.scan()
        store.scan()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "config.pbtxt is not read because there is a model.toml" in said[0]
    assert "a/2 holds x.onnx, y.onnx" in said[1]


@pytest.mark.parametrize("alone", [False, True])
def test_a_change_wakes_its_reader(tmp_path: Path, alone: bool) -> None:
    put(tmp_path, "a/1/model.onnx")
    store = LocalStore(tmp_path / "a/1/model.onnx" if alone else tmp_path)

    async def main() -> None:
        changes = store.changes()
        woken = asyncio.ensure_future(anext(changes))
        for i in range(200):  # the watch starts at some moment after the call
            put(tmp_path, "a/1/model.onnx", text=str(i))
            done, _ = await asyncio.wait([woken], timeout=0.05)
            if done:
                break
        assert await woken is None
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await changes.aclose()

    asyncio.run(main())


def test_what_cannot_be_watched_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[None]:
        return [change async for change in LocalStore(tmp_path / "missing").changes()]

    assert asyncio.run(main()) == []
    assert "changes are found by polling alone" in caplog.text
