"""A version's own model.toml lies over the model's, for that version alone."""

from pathlib import Path

import pytest

from penstock.core.spec import Instances, ModelSpec, Queue
from penstock.repository.layout import ModelFolder, VersionFolder, read
from penstock.repository.pipeline import complete
from penstock.repository.watch import Load, decide

STEP = "[[step]]\nmodel = 'other'\n"


def found(root: Path, files: dict[str, str], known: ModelFolder | None = None) -> ModelFolder:
    for path, text in files.items():
        file = root / "m" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    model = read(root / "m", ModelSpec(), known)
    assert model is not None
    return model


def version(root: Path, own: str, files: dict[str, str], model: str = "") -> VersionFolder:
    return found(root, {"model.toml": model, "2/model.toml": own, **files}).versions["2"]


def test_settings_lie_over_the_models_for_that_version_alone(tmp_path: Path) -> None:
    model = found(
        tmp_path,
        {
            "model.toml": "[queue]\nmax_rows = 7\ntimeout_ms = 5",
            "1/model.onnx": "",
            "2/model.onnx": "",
            "2/model.toml": "engine = 'openvino'\n[queue]\nmax_rows = 9\n[instances]\ncount = 2",
        },
    )
    assert model.versions["1"].spec is None
    expected = ModelSpec(
        name="m",
        engine="openvino",
        queue=Queue(max_rows=9, timeout_ms=5.0),
        instances=Instances(count=2),
    )
    assert expected == model.versions["2"].spec
    assert ModelSpec(name="m", queue=Queue(max_rows=7, timeout_ms=5.0)) == model.spec


def test_settings_lie_over_config_pbtxt_too(tmp_path: Path) -> None:
    files = {"config.pbtxt": "max_batch_size: 8", "2/model.onnx": "", "2/model.toml": "engine = 'openvino'"}
    spec = found(tmp_path, files).versions["2"].spec
    assert spec is not None
    assert (spec.engine, spec.batching.max_rows) == ("openvino", 8)


@pytest.mark.parametrize(
    ("model", "own", "expected"),
    [
        ("engine = 'sklearn'", "engine = 'openvino'", ("openvino", "", "model.xml")),
        (
            "engine = 'sklearn'\nfile = 'net.skops'",
            "engine = 'openvino'",
            ("openvino", "", "model.xml"),
        ),
        ("engine = 'sklearn'", "file = 'net.onnx'", ("", "net.onnx", "net.onnx")),
        ("file = 'net.onnx'", "engine = 'openvino'", ("openvino", "net.onnx", "net.onnx")),
        ("engine = 'openvino'", "file = 'net.onnx'", ("openvino", "net.onnx", "net.onnx")),
        ("engine = 'mine:Engine'", "file = 'net.onnx'", ("mine:Engine", "net.onnx", "net.onnx")),
    ],
)
def test_a_versions_engine_or_file_wins_over_the_models(
    tmp_path: Path, model: str, own: str, expected: tuple[str, str, str]
) -> None:
    one = version(tmp_path, own, {"2/model.xml": "", "2/net.onnx": "", "2/variant.json": ""}, model)
    assert one.spec is not None
    assert expected == (one.spec.engine, one.spec.file, one.path.name)


def test_the_settings_are_not_taken_for_the_model_of_an_engine_of_ones_own(tmp_path: Path) -> None:
    one = version(tmp_path, "engine = 'mine:Engine'", {"2/model.bin": ""})
    assert one.path.name == "model.bin"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("engin = 'onnx'", "no setting 'engin'; did you mean 'engine'?"),
        ("engine = ", "model.toml: Invalid value"),
        ("name = 'm'", "name cannot be set here; a version is called as its folder is"),
        ("versions = 'all'", "versions cannot be set here; it belongs in the model's own model.toml"),
        ("[[step]]\nmodel = 'x'", "step belongs in pipeline.toml"),
        ("give = ['x']", "give belongs in pipeline.toml"),
        ("file = '../1/model.onnx'", "it must be a path inside the version's folder"),
        ("file = 'net.xml'", "has model.onnx, model.toml, and no net.xml, which 'file' names"),
        ("[record]\nmax_bytes = -1", "record.max_bytes: -1 is less than nothing"),
        ("engine = 'sklearn'", "has model.onnx, model.toml; engine 'sklearn' reads .skops"),
        (
            "[queue]\nmax_priority = 1\ndefault_priority = 2",
            "queue.default_priority is 2; it must be at most",
        ),
    ],
)
def test_what_is_wrong_is_that_versions_error_alone(tmp_path: Path, own: str, said: str) -> None:
    model = found(tmp_path, {"1/model.onnx": "", "2/model.onnx": "", "2/model.toml": own})
    assert (model.error, model.versions["1"].error) == ("", "")
    assert said in model.versions["2"].error
    assert str(tmp_path / "m/2") in model.versions["2"].error


def test_a_pipeline_takes_settings_but_no_engine(tmp_path: Path) -> None:
    one = version(tmp_path, "[queue]\nmax_rows = 9", {"2/pipeline.toml": STEP})
    assert one.spec is not None
    spec = complete(one.spec, one.path)
    assert (len(spec.steps), spec.queue.max_rows) == (1, 9)
    one = version(tmp_path, "engine = 'onnx'", {})
    assert "engine cannot be set here; a pipeline has none; its models have" in one.error


def test_an_ensemble_takes_settings_but_no_engine(tmp_path: Path) -> None:
    config = """
        platform: "ensemble" max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }
        ensemble_scheduling { step { model_name: "a" model_version: -1
          input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }
    """
    one = found(tmp_path, {"config.pbtxt": config, "2/model.toml": "[queue]\nmax_rows = 9"}).versions["2"]
    assert one.spec is not None
    assert (len(one.spec.steps), one.spec.queue.max_rows, one.path) == (1, 9, tmp_path / "m/2")
    one = found(tmp_path, {"2/model.toml": "engine = 'onnx'"}).versions["2"]
    assert "engine cannot be set here; a pipeline has none" in one.error


def test_settings_are_parsed_again_only_when_they_or_the_models_changed(tmp_path: Path) -> None:
    before = found(tmp_path, {"model.toml": "", "2/model.onnx": "", "2/model.toml": "device = 'cpu'"})
    assert before.versions["2"] is found(tmp_path, {}, before).versions["2"]
    changed = found(tmp_path, {"model.toml": "cache = 'off'"}, before).versions["2"]
    assert changed.spec is not None
    assert (changed.spec.cache, changed.spec.device) == ("off", "cpu")
    changed = found(tmp_path, {"2/model.toml": "device = 'cuda'"}, before).versions["2"]
    assert (changed.spec and changed.spec.device) == "cuda"


def orders(seen: ModelFolder) -> list[Load]:
    some, _ = decide({"m": seen}, {}, 0.0, 0.0)
    return [order for order in some if isinstance(order, Load)]


def test_an_order_carries_the_versions_own_spec_or_why_there_is_none(tmp_path: Path) -> None:
    files = {
        "model.toml": "versions = 'all'",
        "1/model.onnx": "",
        "2/model.onnx": "",
        "2/model.toml": "engine = 'openvino'",
        "3/model.toml": "engine = 'x'",
    }
    third, second, first = orders(found(tmp_path, files))
    assert (first.spec.engine, first.own, first.error) == ("", {}, "")
    assert (second.spec.engine, second.own, second.error) == ("openvino", {"engine": "openvino"}, "")
    assert third.error.startswith(f"{tmp_path}/m/3 has model.toml")


def test_a_change_of_it_reloads_that_version_alone(tmp_path: Path) -> None:
    files = {"model.toml": "versions = 'all'", "1/model.onnx": "", "2/model.onnx": "", "2/model.toml": ""}
    before = {one.version: one.fingerprint for one in orders(found(tmp_path, files))}
    after = {
        one.version: one.fingerprint for one in orders(found(tmp_path, {"2/model.toml": "device='cpu'"}))
    }
    assert (before["1"], before["2"] != after["2"]) == (after["1"], True)
