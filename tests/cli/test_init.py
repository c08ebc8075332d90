"""The example repository is whole, true to its numbers, and ready to be served and asked."""

import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.digits import RECIPES, accuracy, digits, train
from penstock.cli.init import Written, command, init, next_steps
from penstock.core.errors import BadSetting
from penstock.core.tensors import from_bytes
from penstock.repository.local import LocalStore


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Written]]:
    directory = tmp_path_factory.mktemp("init") / "models"
    return directory, init(directory)


def test_the_repository_holds_two_models_and_three_versions(example: tuple[Path, list[Written]]) -> None:
    models = LocalStore(example[0]).scan()
    expected = {"digits-linear": ["1"], "digits-mlp": ["1", "2"]}
    assert expected == {name: list(model.versions) for name, model in models.items()}
    assert {"", ()} == {
        said for model in models.values() for said in (model.error, model.warnings, model.doubts)
    }
    assert sorted(entry.name for entry in example[0].iterdir()) == ["digits-linear", "digits-mlp"]


def test_the_accuracy_is_that_of_the_files_on_held_out_images(example: tuple[Path, list[Written]]) -> None:
    directory, written = example
    data = digits()
    for each in written:
        model = (directory / each.model / each.version / "model.onnx").read_bytes()
        assert accuracy(model, data) == each.accuracy
        assert len(model) == each.size
    linear, small, better = (each.accuracy for each in written)
    assert min(linear, small) > 0.9
    assert better > small


def test_no_held_out_image_was_trained_on() -> None:
    data = digits()
    train_rows = {row.tobytes() for row in data.train_images}
    assert not any(row.tobytes() in train_rows for row in data.test_images)
    assert (len(data.train_labels), len(data.test_labels)) == (1347, 450)


def test_image_in_label_and_probabilities_out(example: tuple[Path, list[Written]]) -> None:
    for each in example[1]:
        path = example[0] / each.model / each.version / "model.onnx"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (image,) = session.get_inputs()
        assert (image.name, image.shape, image.type) == ("image", [None, 64], "tensor(float)")
        assert [output.name for output in session.get_outputs()] == ["label", "probabilities"]
        label, probabilities = session.run(None, {"image": digits().test_images[:7]})
        assert (np.int64, (7,)) == (label.dtype, label.shape)
        assert (np.float32, (7, 10)) == (probabilities.dtype, probabilities.shape)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_requests_are_held_out_images_of_the_digit_in_their_name(example: tuple[Path, list[Written]]) -> None:
    data = digits()
    known = {row.tobytes(): label for row, label in zip(data.test_images, data.test_labels, strict=True)}
    for model in ("digits-linear", "digits-mlp"):
        files = sorted((example[0] / model / "requests").glob("*.json"))
        assert [f"digit-{digit}" for digit in range(10)] == [file.stem for file in files]
        for digit, file in enumerate(files):
            body = orjson.loads(file.read_bytes())
            (tensor,) = body["inputs"]
            image = np.array(tensor.pop("data"), np.float32)
            assert tensor == {"name": "image", "shape": [1, 64], "datatype": "FP32"}
            assert known[image.tobytes()] == digit


def test_the_binary_request_says_the_same_as_the_json_one(example: tuple[Path, list[Written]]) -> None:
    folder = example[0] / "digits-mlp/requests"
    headers = (folder / "digit-7.bin.headers").read_text()
    length = int(re.findall(r"^Inference-Header-Content-Length: (\d+)$", headers, re.MULTILINE)[0])
    raw = (folder / "digit-7.bin").read_bytes()
    (header,) = orjson.loads(raw[:length])["inputs"]
    (plain,) = orjson.loads((folder / "digit-7.json").read_bytes())["inputs"]
    image = from_bytes("image", header["datatype"], header["shape"], raw[length:])
    assert plain["data"] == image.ravel().tolist()
    assert {"binary_data_size": len(raw) - length} == header["parameters"]


def test_the_same_bytes_each_time(example: tuple[Path, list[Written]]) -> None:
    written = (example[0] / "digits-linear/1/model.onnx").read_bytes()
    assert written == train(RECIPES[0], digits())


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(BadSetting, match="is not empty; give another folder, or --force"):
        init(tmp_path)
    with pytest.raises(BadSetting, match="is a file; give a folder"):
        init(tmp_path / "mine")


def test_force_replaces_the_examples_models_and_nothing_else(tmp_path: Path) -> None:
    for file in ("mine/1/model.onnx", "digits-mlp/1/model.onnx", "digits-mlp/9/model.onnx"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    init(tmp_path, force=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits-linear", "digits-mlp", "mine"]
    assert sorted(e.name for e in (tmp_path / "digits-mlp").iterdir()) == ["1", "2", "model.toml", "requests"]
    assert (tmp_path / "digits-mlp/1/model.onnx").stat().st_size > 0


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="file/models cannot be written: Not a directory"):
        init(tmp_path / "file/models")


@pytest.mark.parametrize("package", ["sklearn", "skl2onnx"])
def test_missing_packages_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadSetting, match=re.escape("pip install 'penstock[examples]'")):
        init(tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_the_verb_prints_accuracies_and_what_to_do_next(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    directory = tmp_path / "my models"
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(directory)])
    assert result.exit_code == 0, result.output
    rows = re.findall(r"(digits-\w+) +│ (\d) .*│ +([\d.]+)% │", result.stdout)
    assert [row[:2] for row in rows] == [("digits-linear", "1"), ("digits-mlp", "1"), ("digits-mlp", "2")]
    assert all(90 < float(row[2]) <= 100 for row in rows)
    for _, line in next_steps(directory):
        assert f"  {line}\n" in result.stdout
    assert f"penstock serve '{directory}'" in result.stdout
