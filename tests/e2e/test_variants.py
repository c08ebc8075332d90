"""Versions of one model with settings of their own: each served as its own says, none spoils another."""

import numpy as np
import orjson
import pytest

from benchmarks import fixtures
from penstock.client import ServerError
from penstock.client.calls import Call, check
from tests.e2e import models
from tests.e2e.process import until

X = np.zeros((1, 4), np.float32)


@pytest.fixture
def variants(tmp_path):
    """``adding``: version 1 on ONNX Runtime, version 2 on OpenVINO; all are wanted."""
    folder = tmp_path / "models"
    fixtures.write(folder, "adding", "1", models.adding(1))
    fixtures.write(folder, "adding", "2", models.adding(2))
    (folder / "adding/model.toml").write_text('engine = "onnx"\nversions = "all"\n[instances]\ncount = 1\n')
    (folder / "adding/2/model.toml").write_text('engine = "openvino"\n[queue]\nmax_rows = 7\n')
    (folder / "adding/2/variant.json").write_text('{"parent": "1"}')
    return folder


def platforms(client):
    return {one["version"]: one["platform"] for one in client.status() if one["state"] == "READY"}


def answer(client, version=""):
    return float(client.infer("adding", X, version=version)["y"][0, 0])


def state(client, version):
    return next(one for one in client.status() if one["version"] == version)


def test_each_version_runs_on_its_own_engine(variants, inside):
    client = inside(variants, watch__enabled=False)
    assert platforms(client) == {"1": "onnxruntime_onnx", "2": "openvino"}
    assert [answer(client, version) for version in ("1", "2", "")] == [1.0, 2.0, 2.0]
    policies = {v: client.config("adding", v)["dynamic_batching"] for v in ("1", "2")}
    rows = {v: policy["default_queue_policy"]["max_queue_size"] for v, policy in policies.items()}
    assert rows == {"1": 4096, "2": 7}


def test_a_mistake_in_one_versions_settings_is_told_and_its_repair_is_loaded(variants, inside, caplog):
    client = inside(variants, watch__poll_s=0.05, watch__settle_s=0.05)
    (variants / "adding/2/model.toml").write_text('engin = "openvino"')
    told = "model adding version 2 is not served"
    until(lambda: told in caplog.text, "the mistake to be told")
    assert "did you mean 'engine'?" in caplog.text
    assert platforms(client) == {"1": "onnxruntime_onnx", "2": "openvino"}
    assert [answer(client, version) for version in ("1", "2")] == [1.0, 2.0]
    (variants / "adding/2/model.toml").write_text('engine = "onnx"')
    until(lambda: platforms(client) == {"1": "onnxruntime_onnx", "2": "onnxruntime_onnx"}, "the repair")
    assert answer(client, "2") == 2.0


def test_a_version_that_was_wrong_from_the_start_leaves_the_others_be(variants, inside):
    (variants / "adding/2/model.toml").write_text('versions = "all"')
    client = inside(variants, watch__enabled=False)
    assert client.ready()
    assert "versions cannot be set here" in state(client, "2")["reason"]
    assert answer(client) == 1.0
    with pytest.raises(ServerError, match="versions cannot be set here"):
        client.load("adding")


def test_a_change_reloads_that_version_alone(variants, inside):
    client = inside(variants, watch__poll_s=0.05, watch__settle_s=0.05)
    before = state(client, "1")
    (variants / "adding/2/model.toml").write_text("[queue]\nmax_rows = 8")
    until(lambda: platforms(client)["2"] == "onnxruntime_onnx", "version 2 on the model's own engine")
    assert state(client, "1")["load_seconds"] == before["load_seconds"]


def test_a_config_that_comes_with_a_load_lies_under_a_versions_own_settings(variants, inside):
    client = inside(variants, watch__enabled=False)
    config = orjson.dumps({"backend": "onnxruntime", "max_batch_size": 4}).decode()
    body = orjson.dumps({"parameters": {"config": config}})
    client.send(Call(method="POST", path="/v2/repository/models/adding/load", read=check, body=body))
    assert platforms(client)["2"] == "openvino"
    assert client.config("adding", "2")["max_batch_size"] == 4
