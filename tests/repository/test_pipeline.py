"""Pipelines on disk: pipeline.toml and Triton's ensembles become the same steps; mistakes are named."""

import json
import os

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec, Queue, Signature, Step, Target, TensorSpec
from penstock.core.types import ModelState
from penstock.repository.layout import read
from penstock.repository.pipeline import complete
from penstock.repository.triton import from_json, parse, to_config, to_json

CASCADE = """
[[step]]
model = "small"

[[step]]
model = "big"
when = "max(probabilities) < 0.8"
"""
STEPS = (Step(model="small"), Step(model="big", when="max(probabilities) < 0.8"))


def write(root, files):
    for path, text in files.items():
        file = root / "m" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root / "m"


def found(root, files, defaults=None):
    model = read(write(root, files), defaults or ModelSpec())
    assert model is not None
    return model


def spec_of(model, version="1"):
    return complete(model.spec, model.versions[version].path)


def test_a_pipeline_in_the_models_own_folder_is_version_1(tmp_path):
    model = found(tmp_path, {"pipeline.toml": CASCADE})
    assert (model.error, list(model.versions)) == ("", ["1"])
    assert spec_of(model) == ModelSpec(name="m", steps=STEPS)


def test_versions_may_be_pipelines_or_files(tmp_path):
    model = found(tmp_path, {"1/model.onnx": "", "2/pipeline.toml": CASCADE, "3/model.onnx": ""})
    assert list(model.versions) == ["1", "2", "3"]
    assert [bool(spec_of(model, version).steps) for version in "123"] == [False, True, False]


def test_its_settings_lie_over_model_toml_and_the_defaults(tmp_path):
    toml = "give = ['p']\n[queue]\ntimeout_ms = 7\n" + CASCADE
    files = {"1/pipeline.toml": toml, "model.toml": "[queue]\ntimeout_ms = 5\nmax_rows = 9\n"}
    model = found(tmp_path, files, ModelSpec(target=Target(p99_ms=3.0)))
    expected = ModelSpec(
        name="m", steps=STEPS, give=("p",), queue=Queue(max_rows=9, timeout_ms=7.0), target=Target(p99_ms=3.0)
    )
    assert spec_of(model) == expected


def test_a_step_may_say_all_that_there_is_to_say(tmp_path):
    toml = """
    [[step]]
    model = "a"
    version = "3"
    name = "first"
    inputs = { x = "image" }
    outputs = { y = "features" }
    """
    assert spec_of(found(tmp_path, {"pipeline.toml": toml})).steps == (
        Step(model="a", version="3", name="first", inputs={"x": "image"}, outputs={"y": "features"}),
    )


@pytest.mark.parametrize("path", ["pipeline.toml", "2/pipeline.toml"])
def test_a_change_of_the_file_is_a_change_of_the_version(tmp_path, path):
    before = found(tmp_path, {path: CASCADE})
    file = tmp_path / "m" / path
    os.utime(file, ns=(1, 1))
    after = read(tmp_path / "m", ModelSpec(), before)
    assert [v.fingerprint for v in after.versions.values()] != [
        v.fingerprint for v in before.versions.values()
    ]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("", "it has no step; begin one by [[step]], and name its 'model'"),
        ("step = 3", "it has no step"),
        ("step = [3]", "it has no step"),
        ("[[step]]\nmodel = 'a'\n[[step]]\nmodle = 'b'", "step 2: no setting 'modle'; did you mean 'model'?"),
        ("[[step]]\nname = 'a'", "step 1: "),
        ("[[step]]\nmodel = 'a'\nversion = 3", "step 1: version: expected str, got 3"),
        ("[[step]]\nmodel = 'a'\n[quue]\n", "no setting 'quue'; did you mean 'queue'?"),
        ("[[step]\n", "line 1"),
        ("engine = 'onnx'\n" + CASCADE, "engine cannot be set here; a pipeline has none; its models have"),
        ("versions = 'all'\n" + CASCADE, "versions cannot be set here; it belongs in model.toml"),
        ("steps = []\n" + CASCADE, "steps cannot be set here; write [[step]] for each"),
        ("name = 'n'\n" + CASCADE, "name is 'n', but the folder is 'm'"),
        ("[queue]\ndefault_priority = 9\n" + CASCADE, "it must be at most queue.max_priority, 8"),
    ],
)
def test_a_mistake_names_the_file_and_the_step(tmp_path, toml, said):
    with pytest.raises(BadSetting) as error:
        spec_of(found(tmp_path, {"pipeline.toml": toml}))
    assert str(tmp_path / "m" / "pipeline.toml") in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["step = []", "steps = []", "give = []"])
def test_model_toml_has_no_steps(tmp_path, key):
    assert "belongs in pipeline.toml" in found(tmp_path, {"model.toml": key, "1/model.onnx": ""}).error


def test_what_a_pipeline_leaves_unread_is_said(tmp_path):
    model = found(tmp_path, {"pipeline.toml": CASCADE, "2/model.onnx": ""})
    assert list(model.versions) == ["1"]
    (doubt,) = model.doubts
    assert doubt.startswith(f"{tmp_path / 'm' / '2'} is not read because of")


# -- Triton's ----------------------------------------------------------------------------------------

ENSEMBLE = """
name: "m"
platform: "ensemble"
max_batch_size: 8
input [ { name: "image" data_type: TYPE_UINT8 dims: [ -1 ] } ]
output [ { name: "label" data_type: TYPE_STRING dims: [ 1 ] } ]
ensemble_scheduling { step [
  { model_name: "classify" model_version: 3
    input_map { key: "x" value: "pixels" } output_map { key: "y" value: "label" } },
  { model_name: "decode" model_version: -1
    input_map { key: "raw" value: "image" } output_map { key: "out" value: "pixels" } }
] }
"""
DECODE = Step(model="decode", name="decode", inputs={"raw": "image"}, outputs={"out": "pixels"})
CLASSIFY = Step(
    model="classify", name="classify", version="3", inputs={"x": "pixels"}, outputs={"y": "label"}
)


def test_an_ensemble_becomes_steps_in_the_order_of_its_tensors():
    spec, warnings = parse(ENSEMBLE, "config.pbtxt")
    assert warnings == []
    assert (spec.steps, spec.give, spec.engine) == ((DECODE, CLASSIFY), ("label",), "")
    assert spec.inputs == (TensorSpec("image", "UINT8", (-1, -1)),)
    assert spec.outputs == (TensorSpec("label", "BYTES", (-1, 1)),)


@pytest.mark.parametrize(
    ("files", "versions"),
    [({"1/.keep": "", "3/.keep": "", "notes/x": ""}, ["1", "3"]), ({}, ["1"])],
)
def test_an_ensembles_versions_are_folders_with_nothing_in_them(tmp_path, files, versions):
    model = found(tmp_path, {"config.pbtxt": ENSEMBLE, **files})
    assert (model.error, list(model.versions)) == ("", versions)
    assert spec_of(model, versions[0]).steps == (DECODE, CLASSIFY)


def test_an_ensemble_and_a_pipeline_are_one_too_many(tmp_path):
    assert "remove one of them" in found(tmp_path, {"config.pbtxt": ENSEMBLE, "pipeline.toml": CASCADE}).error


def test_two_steps_of_one_model_get_two_names():
    text = """platform: "ensemble" ensemble_scheduling { step [
      { model_name: "a" input_map { key: "x" value: "x" } output_map { key: "y" value: "h" } },
      { model_name: "a" input_map { key: "x" value: "h" } output_map { key: "y" value: "y" } } ] }"""
    assert [step.name for step in parse(text, "w")[0].steps] == ["a", "a-2"]


def step(model, reads, writes):
    return (
        f'{{ model_name: "{model}" input_map {{ key: "x" value: "{reads}" }} '
        f'output_map {{ key: "y" value: "{writes}" }} }}'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('platform: "ensemble"', "platform is 'ensemble', but ensemble_scheduling has no step"),
        ("ensemble_scheduling { step { model_version: 1 } }", "a step has no model_name"),
        ('ensemble_scheduling { step { model_name: "a" } }', "step 'a' has no output_map"),
        (f"ensemble_scheduling {{ step [ {step('a', 'p', 'q')}, {step('b', 'q', 'p')} ] }}",
         "steps 'a', 'b' wait for each other"),
        (f"ensemble_scheduling {{ step [ {step('a', 'x', 'y')}, {step('b', 'x', 'y')} ] }}",
         "step 'b' writes 'y', and so does step 'a'"),
        (f'input {{ name: "x" data_type: 6 }} ensemble_scheduling {{ step [ {step("a", "x", "x")} ] }}',
         "step 'a' writes 'x', and so does the ensemble's input"),
        (f'input {{ name: "x" }} ensemble_scheduling {{ step [ {step("a", "x", "y")} ] }}',
         "tensor 'x' of an ensemble needs a data_type"),
    ],
)  # fmt: skip
def test_an_ensemble_that_cannot_run_is_refused(text, said):
    with pytest.raises(BadSetting) as error:
        parse(text, "config.pbtxt")
    assert said in str(error.value)


def test_a_field_without_a_meaning_is_warned_of():
    text = ENSEMBLE.replace('model_name: "decode"', 'model_name: "decode" model_namespace: "n"')
    (warning,) = parse(text, "w")[1]
    assert warning == (
        "w: ensemble_scheduling.step.model_namespace has no effect here; all models are in one repository"
    )


def test_the_config_of_an_ensemble_that_runs_is_the_one_it_came_from():
    spec = parse(ENSEMBLE, "w")[0]
    state = ModelState(
        name="m", version="1", state="READY", spec=spec, platform="penstock_pipeline", batched=True,
        signature=Signature(spec.inputs, spec.outputs),
    )  # fmt: skip
    config = to_config(state)
    again, warnings = from_json(json.dumps(to_json(config)))
    assert warnings == []
    assert (again.steps, again.inputs, again.outputs, again.give) == (
        spec.steps, spec.inputs, spec.outputs, spec.give,
    )  # fmt: skip
    assert (config.platform, config.backend, config.max_batch_size) == ("ensemble", "", 8)
    assert not config.HasField("dynamic_batching")


def test_a_condition_is_shown_as_a_parameter():
    spec = ModelSpec(name="m", steps=(Step(model="big", name="big", when="max(p) < 0.8"),))
    config = to_config(ModelState(name="m", version="1", state="READY", spec=spec))
    assert config.parameters["when.big"].string_value == "max(p) < 0.8"
