"""Pipelines in a server: they come up with their models, follow them, and answer as their models do."""

import shutil
import time

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto

from benchmarks import fixtures
from penstock.client.errors import PenstockError
from tests.e2e import models
from tests.e2e.callers import Load
from tests.e2e.process import until

QUICK = {"watch__settle_s": 0.05, "watch__poll_s": 0.05}
X = np.random.default_rng(0).standard_normal((8, 32), dtype=np.float32)
CASCADE = '[[step]]\nmodel = "small"\n[[step]]\nmodel = "big"\nwhen = "max(y) < 0.5"\n'
CHAIN = """
[[step]]
model = "{}"
outputs = {{ y = "h" }}
[[step]]
model = "{}"
inputs = {{ x = "h" }}
"""


def put(folder, name, toml, file="pipeline.toml"):
    """In one move, as half a file would be a mistake that is reported."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / ".new").write_text(toml)
    (folder / name / ".new").rename(folder / name / file)


@pytest.fixture
def folder(tmp_path):
    fixtures.write(tmp_path, "small", "1", fixtures.tiny(0))
    fixtures.write(tmp_path, "big", "1", fixtures.tiny(7))
    return tmp_path


def state(client, name):
    return next((model for model in client.status() if model["name"] == name), {})


def live(client, name):
    return until(
        lambda: (found := state(client, name)).get("state") == "READY" and found, f"{name} to be live"
    )


def test_a_cascade_says_row_by_row_what_its_two_models_say(folder, inside):
    put(folder, "cascade", CASCADE)
    client = inside(folder)
    small, big, got = (client.infer(name, {"x": X})["y"] for name in ("small", "big", "cascade"))
    unsure = small.max(1) < 0.5
    assert 0 < unsure.sum() < len(X)
    np.testing.assert_allclose(got, np.where(unsure[:, None], big, small), rtol=1e-5, atol=1e-6)
    found = state(client, "cascade")
    keys = ("platform", "state", "reason", "isolation", "instances", "batched", "requests")
    assert [found[key] for key in keys] == ["penstock_pipeline", "READY", "", "", 0, True, 1]
    assert [state(client, name)["requests"] for name in ("small", "big")] == [2, 2]


def test_a_pipeline_is_live_before_the_server_says_that_it_is_ready(folder, inside):
    """Whatever the order of names: it waits for models that are being loaded, pipelines too."""
    put(folder, "a", CHAIN.format("z", "plain"))
    put(folder, "z", CHAIN.format("plain", "plain").replace('"plain"\ninputs', '"plain"\nname = "2"\ninputs'))
    fixtures.write(folder, "plain", "1", models.adding(1))
    client = inside(folder, watch__enabled=False)
    assert {model["state"] for model in client.status()} == {"READY"}
    assert client.infer("a", {"x": np.zeros((1, 4), np.float32)})["y"].tolist() == [[3.0] * 4]


def test_a_pipeline_without_its_model_says_so_and_comes_up_with_it(folder, inside, tmp_path_factory):
    put(folder, "cascade", CASCADE)
    away = tmp_path_factory.mktemp("away") / "big"
    shutil.move(folder / "big", away)
    client = inside(folder, **QUICK)
    assert state(client, "cascade")["reason"] == (
        "step 'big' needs model 'big', which is not in the repository; have cascade, small. "
        "It is tried again when it comes"
    )
    with pytest.raises(PenstockError, match="step 'big' needs model 'big'"):
        client.infer("cascade", {"x": X})
    shutil.move(away, folder / "big")
    live(client, "cascade")
    assert client.infer("cascade", {"x": X})["y"].shape == (8, 10)


def test_without_watching_a_load_brings_pipelines_up(folder, inside):
    put(folder, "cascade", CASCADE)
    (folder / "big" / "1" / "model.onnx").rename(folder / "big" / "1" / "away")
    client = inside(folder, watch__enabled=False)
    (folder / "big" / "1" / "away").rename(folder / "big" / "1" / "model.onnx")
    client.load("big")
    live(client, "cascade")


def test_a_pipeline_follows_a_model_to_another_signature(folder, inside):
    fixtures.write(folder, "step", "1", models.identity(shape=("n", 4)))
    put(folder, "pipe", '[[step]]\nmodel = "step"\n')
    client = inside(folder, **QUICK)
    assert client.metadata("pipe")["inputs"][0]["shape"] == [-1, 4]
    fixtures.write(folder, "step", "2", models.identity(TensorProto.INT32, shape=("n", 3)))
    until(lambda: client.metadata("pipe")["inputs"][0]["datatype"] == "INT32", "the pipeline to follow")
    assert client.infer("pipe", {"x": np.ones((1, 3), np.int32)})["y"].tolist() == [[1, 1, 1]]
    shutil.rmtree(folder / "step" / "2")
    until(lambda: client.metadata("pipe")["inputs"][0]["datatype"] == "FP32", "the pipeline to go back")


def test_a_step_may_name_a_version(folder, inside):
    for version in (1, 2):
        fixtures.write(folder, "adding", str(version), models.adding(version))
    (folder / "adding" / "model.toml").write_text('versions = "all"\n')
    put(
        folder,
        "pipe",
        CHAIN.format("adding", "adding").replace("outputs", 'version = "1"\nname = "a"\noutputs'),
    )
    put(folder, "lost", '[[step]]\nmodel = "adding"\nversion = "3"\n')
    client = inside(folder, **QUICK)
    assert client.infer("pipe", {"x": np.zeros((1, 4), np.float32)})["y"].tolist() == [[3.0] * 4]
    assert "needs model 'adding' version '3'" in state(client, "lost")["reason"]


def test_what_a_pipeline_toml_says_takes_effect_when_it_changes(folder, inside):
    put(folder, "pipe", CASCADE)
    client = inside(folder, **QUICK)
    put(folder, "pipe", CASCADE.replace("max(y)", "maximum(y)"))
    with pytest.raises(PenstockError, match=r"step 'big', when: .*no function 'maximum'"):
        client.load("pipe")
    assert list(client.infer("pipe", {"x": X})) == ["y"]  # by the old ones
    put(folder, "pipe", '[[step]]\nmodel = "big"\noutputs = { y = "other" }\n')
    until(lambda: client.metadata("pipe")["outputs"][0]["name"] == "other", "the new steps")
    assert list(client.infer("pipe", {"x": X})) == ["other"]


def test_a_circle_of_pipelines_is_refused(folder, inside):
    put(folder, "a", '[[step]]\nmodel = "b"\n')
    put(folder, "b", '[[step]]\nmodel = "a"\n')
    put(folder, "me", '[[step]]\nmodel = "me"\n')
    client = inside(folder, watch__enabled=False)
    reasons = [state(client, name)["reason"] for name in ("a", "b", "me")]
    assert reasons[2] == "the pipeline would run itself: me → me"
    assert any("the pipeline would run itself: " in why for why in reasons[:2])
    assert all(state(client, name)["state"] == "UNAVAILABLE" for name in ("a", "b"))
    assert state(client, "small")["state"] == "READY"


def test_a_step_that_is_unloaded_makes_the_pipeline_say_which(folder, inside):
    put(folder, "cascade", CASCADE)
    client = inside(folder, **QUICK)
    client.unload("big")
    with pytest.raises(PenstockError, match=r"step 'big' \(model 'big'\): .*it was unloaded"):
        client.infer("cascade", {"x": X})
    client.unload("small")
    assert state(client, "cascade")["reason"] == "step 'small' needs model 'small', which is not serving"
    client.load("small")
    client.load("big")
    assert client.infer("cascade", {"x": X})["y"].shape == (8, 10)
    client.unload("cascade")
    assert state(client, "cascade")["state"] == "UNAVAILABLE"


def test_no_request_is_lost_while_a_steps_model_is_replaced(tmp_path, serve):
    """``adding`` is a pipeline whose only step gets new versions under load."""
    folder = tmp_path / "models"
    fixtures.write(folder, "inner", "1", models.adding(1))
    put(folder, "adding", '[[step]]\nmodel = "inner"\n')
    server = serve(folder, watch_settle_s=0.05, watch_poll_s=0.05)
    with Load(server, http=2, grpc=1) as load:
        for number in (2, 3, 4):
            fixtures.write(folder, "inner", str(number), models.adding(number))
            until(lambda n=number: server.log(f"model inner version {n} is live"), "the new version")
            time.sleep(0.2)
    assert load.failures == []
    assert min(load.answers) > 10
    assert {caller.last for caller in load.callers} == {4.0}


# -- a budget for memory -------------------------------------------------------------------------------


def test_steps_that_are_cold_are_loaded_for_a_request(tmp_path, inside):
    names = [f"model-{number}" for number in range(8)]
    for seed, name in enumerate(names):
        fixtures.write(tmp_path, name, "1", fixtures.sized(4, seed))
    step = '[[step]]\nmodel = "{}"\noutputs = {{ y = "{}" }}\n'
    put(tmp_path, "all", "".join(step.format(name, name) for name in names))
    client = inside(tmp_path, memory__limit="15 MiB", memory__stay_s=0.0)
    assert {state(client, name)["state"] for name in names} == {"READY", "COLD"}
    assert state(client, "all")["state"] in ("READY", "COLD")  # as its steps come and go
    assert client.ready()
    x = np.zeros((1, *client.metadata("model-0")["inputs"][0]["shape"][1:]), np.float32)
    assert sorted(client.infer("all", {"x": x})) == names


# -- Triton's ------------------------------------------------------------------------------------------

ENSEMBLE = """
platform: "ensemble"
max_batch_size: 16
input { name: "INPUT" data_type: TYPE_FP32 dims: [ 32 ] }
output { name: "SCORES" data_type: TYPE_FP32 dims: [ 10 ] }
output { name: "AGAIN" data_type: TYPE_FP32 dims: [ 10 ] }
ensemble_scheduling { step [
  { model_name: "small" model_version: -1
    input_map { key: "x" value: "INPUT" } output_map { key: "y" value: "SCORES" } },
  { model_name: "big" model_version: 1
    input_map { key: "x" value: "INPUT" } output_map { key: "y" value: "AGAIN" } } ] }
"""


@pytest.mark.parametrize("lib", [tritonclient.http, tritonclient.grpc])
def test_an_ensemble_of_tritons_answers_tritons_own_client(folder, serve, lib):
    put(folder, "both", ENSEMBLE, "config.pbtxt")
    (folder / "both" / "1").mkdir()
    server = serve(folder)
    with lib.InferenceServerClient(server.http if lib is tritonclient.http else server.grpc) as client:
        assert client.is_model_ready("both")
        tensor = lib.InferInput("INPUT", [8, 32], "FP32")
        tensor.set_data_from_numpy(X)
        answer = client.infer("both", [tensor])
        direct = {}
        for name in ("small", "big"):
            tensor = lib.InferInput("x", [8, 32], "FP32")
            tensor.set_data_from_numpy(X)
            direct[name] = client.infer(name, [tensor]).as_numpy("y")
        np.testing.assert_allclose(answer.as_numpy("SCORES"), direct["small"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer.as_numpy("AGAIN"), direct["big"], rtol=1e-5, atol=1e-6)
    assert server.log("has no effect") == []
    config = server.get("/v2/models/both/config").json()
    assert config["platform"] == "ensemble"
    assert [step["model_name"] for step in config["ensemble_scheduling"]["step"]] == ["small", "big"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('name: "SCORES"', 'name: "LABEL"', "give: no step gives 'LABEL'"),
        ("dims: [ 32 ]", "dims: [ 31 ]", "is FP32 [-1, 32], but 'INPUT' is FP32 [-1, 31]"),
        ('name: "INPUT"', 'name: "OTHER"', "step 'small' reads 'INPUT', which is no declared input"),
    ],
)
def test_an_ensemble_must_declare_what_its_models_take_and_give(folder, inside, before, after, said):
    put(folder, "both", ENSEMBLE.replace(before, after, 1), "config.pbtxt")
    assert said in state(inside(folder, watch__enabled=False), "both")["reason"]
