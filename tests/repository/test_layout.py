"""Folders become specs, versions and fingerprints; what is wrong becomes a sentence."""

import os
from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import Batching, ModelSpec, Queue
from penstock.repository.layout import ModelFolder, fingerprint, model_file, read, single
from penstock.repository.versions import absent, check, natural, wanted


def folder(root: Path, files: dict[str, str], name: str = "m") -> Path:
    (root / name).mkdir(exist_ok=True)
    for path, text in files.items():
        file = root / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root / name


def found(root: Path, files: dict[str, str], defaults: ModelSpec | None = None) -> ModelFolder:
    model = read(folder(root, files), defaults or ModelSpec())
    assert model is not None
    return model


@pytest.mark.parametrize(
    "ordered",
    [
        ["9", "10"],
        ["v2", "v10"],
        ["1.9", "1.10", "1.10.1"],
        ["2", "a"],
        ["2024-09-30", "2024-10-01"],
        ["01", "1", "2"],
    ],
)
def test_numbers_in_versions_compare_as_numbers(ordered: list[str]) -> None:
    assert ordered == sorted(set(ordered), key=natural)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest", ["10"]),
        ("latest 2", ["9", "10"]),
        ("latest 99", ["1", "9", "10"]),
        ("all", ["1", "9", "10"]),
        (("1", "10"), ["1", "10"]),
        (("1", "7"), ["1"]),
    ],
)
def test_a_policy_chooses_among_the_versions_there(
    policy: str | tuple[str, ...], expected: list[str]
) -> None:
    assert expected == wanted(["10", "9", "1"], policy)


@pytest.mark.parametrize("policy", ["latst", "latest 0", "latest -1", "latest x", "", ()])
def test_an_unknown_policy_is_refused_with_those_there_are(policy: str | tuple[str, ...]) -> None:
    with pytest.raises(BadSetting, match="have 'latest', 'latest N', 'all', or a list"):
        check(policy)


def test_a_listed_version_that_is_absent_is_a_sentence() -> None:
    assert absent(["1", "10", "9"], ("7", "1")) == "versions: 7 asked for but not found; have 1, 9, 10"
    assert absent(["1"], ("1",)) == ""
    assert absent([], "latest") == ""


def test_folders_with_a_model_file_are_versions_and_others_are_not(tmp_path: Path) -> None:
    files = {
        "1/model.onnx": "",
        "v2/model.onnx": "",
        "requests/a.json": "",
        ".3/model.onnx": "",
        "readme": "",
    }
    model = found(tmp_path, files)
    assert list(model.versions) == ["1", "v2"]
    assert tmp_path / "m" / "v2" / "model.onnx" == model.versions["v2"].path
    assert (model.spec and model.spec.name, model.error) == ("m", "")


def test_the_only_file_with_a_known_ending_is_the_model(tmp_path: Path) -> None:
    model = found(tmp_path, {"1/digits.onnx": "", "1/notes.txt": ""})
    assert model.versions["1"].path.name == "digits.onnx"


def test_two_candidate_files_are_a_doubt_that_says_what_to_do(tmp_path: Path) -> None:
    model = found(tmp_path, {"1/a.onnx": "", "1/b.onnx": "", "2/model.onnx": "", "2/other.onnx": ""})
    assert list(model.versions) == ["2"]
    assert f"{tmp_path}/m/1 holds a.onnx, b.onnx; say which with 'file' in model.toml." == model.doubts[0]


def test_file_names_the_model(tmp_path: Path) -> None:
    model = found(tmp_path, {"model.toml": 'file = "b.onnx"', "1/a.onnx": "", "1/b.onnx": "", "2/a.onnx": ""})
    assert {name: version.path.name for name, version in model.versions.items()} == {"1": "b.onnx"}


def test_an_engine_of_ones_own_takes_any_ending_of_model(tmp_path: Path) -> None:
    root = folder(tmp_path, {"1/model.pkl": "", "2/weights.pkl": ""})
    spec = ModelSpec(engine="mine:Engine")
    assert root / "1" / "model.pkl" == model_file(root / "1", spec)
    assert model_file(root / "2", spec) is None


def test_a_folder_that_is_no_models_is_none(tmp_path: Path) -> None:
    assert read(folder(tmp_path, {"notes/readme.txt": ""}), ModelSpec()) is None


def test_a_models_folder_that_is_emptied_stays_a_model(tmp_path: Path) -> None:
    before = found(tmp_path, {"1/model.onnx": ""})
    (tmp_path / "m/1/model.onnx").unlink()
    after = read(tmp_path / "m", ModelSpec(), before)
    assert after is not None
    assert f"{tmp_path}/m has no version; put the model at {tmp_path}/m/1/model.onnx" == after.error


@pytest.mark.parametrize(
    ("toml", "file", "said"),
    [
        ("engine = 'lightgbm'", "model.json", "1 has model.json; engine 'lightgbm' reads model.txt"),
        ("engine = 'sklearn'", "model.onnx", "engine 'sklearn' reads .skops or .pkl or .joblib"),
        ("file = 'net.onnx'", "model.onnx", "1 has model.onnx, and no net.onnx, which 'file' names"),
        (
            "device = 'cpu'",
            "model.onx",
            "1 has model.onx, and no file with an ending that is known: .onnx, .xml",
        ),
    ],
)
def test_a_version_without_the_file_that_is_wanted_says_what_it_has(
    tmp_path: Path, toml: str, file: str, said: str
) -> None:
    model = found(tmp_path, {"model.toml": toml, f"1/{file}": ""})
    assert f"{tmp_path}/m/{said}"[: len(str(tmp_path)) + 3] in model.error
    assert said in model.error


def test_a_model_file_without_a_version_folder_is_explained(tmp_path: Path) -> None:
    model = found(tmp_path, {"model.onnx": ""})
    at = tmp_path / "m"
    assert f"{at}/model.onnx lies in the model's own folder; move it to {at}/1/model.onnx" == model.error


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("versions = \nx", "model.toml: Invalid value (at line 1, column 12)"),
        ("verions = 'all'", "no setting 'verions'; did you mean 'versions'?"),
        ("versions = 'newest'", "versions: no policy 'newest'; have 'latest'"),
        ("versions = []", "versions: nothing is asked for"),
        ("name = 'other'", "name is 'other', but the folder is 'm'; they must be the same"),
        ("file = '../x.onnx'", "it must be a path inside the version's folder"),
        ("[queue]\nmax_rows = 0", "queue.max_rows: expected int >= 1, got 0"),
        ("[queue]\nmax_rows = '9'", "queue.max_rows: expected int, got '9'"),
        ("[queue]\ndefault_priority = 9", "queue.default_priority is 9; it must be at most"),
        ("[record]\nmax_bytes = '64 MoB'", "record.max_bytes: '64 MoB' is no amount of memory"),
        ("isolation = 'here'", "isolation: cannot be 'here'; have auto, inline, thread, process"),
        ("name = '\udcff'", "not UTF-8 text"),
    ],
)
def test_bad_settings_name_the_file_and_what_would_be_right(tmp_path: Path, toml: str, said: str) -> None:
    root = folder(tmp_path, {"1/model.onnx": ""})
    (root / "model.toml").write_bytes(toml.encode(errors="surrogateescape"))
    model = read(root, ModelSpec())
    assert model is not None
    assert model.spec is None
    assert str(root / "model.toml") in model.error
    assert said in model.error


def test_model_toml_lies_over_the_defaults(tmp_path: Path) -> None:
    defaults = ModelSpec(versions="all", queue=Queue(max_rows=10, timeout_ms=5.0))
    toml = "[queue]\ntimeout_ms = 7\n[labels]\nout = 'names.txt'"
    model = found(tmp_path, {"model.toml": toml, "1/model.onnx": ""}, defaults)
    expected = ModelSpec(
        name="m", versions="all", queue=Queue(max_rows=10, timeout_ms=7.0), labels={"out": "names.txt"}
    )
    assert expected == model.spec


def test_model_toml_wins_over_config_pbtxt_with_one_warning(tmp_path: Path) -> None:
    files = {"model.toml": "versions = 'all'", "config.pbtxt": "nonsense", "1/model.onnx": ""}
    model = found(tmp_path, files)
    assert (model.spec and model.spec.versions) == "all"
    at = tmp_path / "m"
    assert (
        f"{at}/config.pbtxt is not read because there is a model.toml; remove one of them",
    ) == model.warnings


def test_config_pbtxt_is_read_over_the_defaults(tmp_path: Path) -> None:
    pytest.importorskip("penstock.repository.triton")
    files = {"config.pbtxt": "max_batch_size: 8 dynamic_batching {}", "1/model.onnx": ""}
    model = found(tmp_path, files, ModelSpec(queue=Queue(max_rows=10), batching=Batching(policy="aimd")))
    assert model.spec is not None
    assert model.spec.batching.max_rows == 8
    assert model.spec.queue.max_rows == 10


def test_settings_are_parsed_again_only_when_they_changed(tmp_path: Path) -> None:
    before = found(tmp_path, {"model.toml": "versions = 'all'", "1/model.onnx": ""})
    again = read(tmp_path / "m", ModelSpec(), before)
    assert again is not None
    assert again.spec is before.spec
    assert before == again
    (tmp_path / "m/model.toml").write_text("versions = 'latest'")
    changed = read(tmp_path / "m", ModelSpec(), before)
    assert (changed and changed.spec and changed.spec.versions) == "latest"


@pytest.mark.parametrize("change", ["1/model.onnx", "1/new.bin", "1/deep/down.bin"])
def test_any_file_of_a_version_changes_its_fingerprint_alone(tmp_path: Path, change: str) -> None:
    before = found(tmp_path, {"1/model.onnx": "a", "1/deep/down.bin": "b", "model.toml": ""})
    after = found(tmp_path, {change: "changed"})
    assert before.versions["1"].fingerprint != after.versions["1"].fingerprint
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize("change", ["model.toml", "config.pbtxt", "names.txt"])
def test_settings_and_labels_have_a_fingerprint_of_their_own(tmp_path: Path, change: str) -> None:
    toml = "labels = {out = 'names.txt'}"
    before = found(tmp_path, {"1/model.onnx": "a", "model.toml": toml, "names.txt": "zero"})
    after = found(tmp_path, {change: toml + " "})
    assert before.fingerprint != after.fingerprint
    assert before.versions == after.versions


def test_a_touched_file_of_the_same_size_has_another_fingerprint(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a": "x"})
    before = fingerprint(root)
    os.utime(root / "a", ns=(1, 1))
    assert fingerprint(root) == (("a", 1, 1),)
    assert before != fingerprint(root)


def test_a_walk_survives_loops_and_broken_links(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a": "x"})
    (root / "loop").symlink_to(root)
    (root / "broken").symlink_to(root / "nothing")
    prints = fingerprint(root)
    assert ("broken", -1, 0) in prints
    assert len(prints) < 100


def test_one_file_is_a_model_of_its_own(tmp_path: Path) -> None:
    root = folder(tmp_path, {"digits.onnx": "a", "digits.onnx.data": "b", "unrelated.onnx": "c"})
    model = single(root / "digits.onnx", ModelSpec(versions="all"))
    assert ModelSpec(name="digits", versions="latest") == model.spec
    assert list(model.versions) == ["1"]
    assert [name for name, _, _ in model.versions["1"].fingerprint] == ["digits.onnx", "digits.onnx.data"]


def test_compiled_python_beside_a_model_is_no_change(tmp_path: Path) -> None:
    before = found(tmp_path, {"1/model.py": "x"})
    after = found(tmp_path, {"1/__pycache__/helper.cpython-311.pyc": "y"})
    assert before.versions["1"].fingerprint == after.versions["1"].fingerprint
