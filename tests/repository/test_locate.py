"""A model is found by its name or by a path; what is not found is told beside what there is."""

from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.repository.locate import Located, locate


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """``digits`` with 9, 10 and an OpenVINO variant v11, ``text``, and a pipeline ``both``."""
    files = {
        "digits/model.toml": "engine = 'sklearn'\n[queue]\nmax_rows = 7",
        "digits/9/model.skops": "",
        "digits/10/model.skops": "",
        "digits/int8/model.toml": "engine = 'openvino'",
        "digits/int8/model.xml": "",
        "text/1/model.onnx": "",
        "both/1/pipeline.toml": "[[step]]\nmodel = 'digits'\n[[step]]\nmodel = 'text'",
        "a@b/1/model.onnx": "",
        "empty/readme.txt": "",
    }
    for name, text in files.items():
        file = tmp_path / "models" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "models"


def brief(found: Located) -> tuple[str, str, str, str]:
    return found.name, found.version, found.file.name, found.spec.engine


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("digits", ("digits", "int8", "model.xml", "openvino")),
        ("digits@9", ("digits", "9", "model.skops", "sklearn")),
        ("text", ("text", "1", "model.onnx", "")),
        ("a@b", ("a@b", "1", "model.onnx", "")),
        ("a@b@1", ("a@b", "1", "model.onnx", "")),
        ("{}/digits@10", ("digits", "10", "model.skops", "sklearn")),
        ("{}/digits", ("digits", "int8", "model.xml", "openvino")),
        ("{}/digits/9", ("digits", "9", "model.skops", "sklearn")),
        ("{}/digits/int8", ("digits", "int8", "model.xml", "openvino")),
        ("{}/digits/int8/", ("digits", "int8", "model.xml", "openvino")),
        ("{}/text/1/model.onnx", ("model", "1", "model.onnx", "")),
    ],
)
def test_a_name_or_a_path_finds_one_version(
    models: Path, asked: str, expected: tuple[str, str, str, str]
) -> None:
    assert expected == brief(locate(asked.format(models), models))


def test_what_is_found_knows_its_folder_its_settings_and_the_other_versions(models: Path) -> None:
    found = locate("digits@int8", models, ModelSpec(device="cpu"))
    assert (models / "digits", ("9", "10", "int8")) == (found.folder, found.versions)
    assert (found.spec.queue.max_rows, found.spec.device) == (7, "cpu")


def test_a_lone_file_has_no_folder(models: Path) -> None:
    found = locate(str(models / "text/1/model.onnx"), models)
    assert (found.folder, found.versions) == (None, ("1",))


def test_a_repository_may_be_one_file(models: Path) -> None:
    file = models / "text/1/model.onnx"
    assert brief(locate("model", file)) == ("model", "1", "model.onnx", "")


def test_a_relative_path_is_one(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models / "digits")
    assert brief(locate("9", models)) == ("digits", "9", "model.skops", "sklearn")
    assert brief(locate(".", models)) == ("digits", "int8", "model.xml", "openvino")


def test_a_pipeline_comes_with_its_steps(models: Path) -> None:
    found = locate("both", models)
    assert [step.model for step in found.spec.steps] == ["digits", "text"]


def test_the_newest_is_among_those_that_the_settings_want(models: Path) -> None:
    (models / "digits/model.toml").write_text("engine = 'sklearn'\nversions = ['9', '10']")
    assert locate("digits", models).version == "10"


def test_a_version_whose_settings_are_wrong_is_passed_over_unless_it_is_asked_for(models: Path) -> None:
    (models / "digits/int8/model.toml").write_text("engin = 'openvino'")
    assert locate("digits", models).version == "10"
    with pytest.raises(BadSetting, match="no setting 'engin'; did you mean 'engine'"):
        locate("digits@int8", models)
    with pytest.raises(BadSetting, match="no setting 'engin'"):
        locate(str(models / "digits/int8"), models)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("digts", "no model 'digts' in .*; did you mean 'digits'"),
        ("digts@9", "no model 'digts' in .*; did you mean 'digits'"),
        ("digits@8", "model 'digits' has no version '8'; have 9, 10, int8"),
        ("{}/digts", "digts does not exist; give a model's folder, a version's, or a model file"),
        ("{}/digits/8", "digits/8 does not exist"),
        ("empty", "empty holds no model"),
        ("{}/empty", "empty holds no model"),
        ("{}/empty/readme.txt", "readme.txt is no model; have .onnx, "),
        ("", "models holds no model"),
    ],
)
def test_what_is_not_there_is_told_beside_what_is(models: Path, asked: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        locate(asked.format(models), models)


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"no model 'digits': the repository .*models does not exist"):
        locate("digits", tmp_path / "models")


def test_settings_that_cannot_be_read_are_the_answer(models: Path) -> None:
    (models / "text/model.toml").write_text("verions = 'all'")
    with pytest.raises(BadSetting, match="did you mean 'versions'"):
        locate("text", models)
