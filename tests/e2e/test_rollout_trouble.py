"""What may happen to a model while a version of it is on trial."""

import shutil

import pytest

from tests.e2e import lazy, models
from tests.e2e.digit_nets import HANGING, net
from tests.e2e.process import until
from tests.e2e.rollouts import (
    BLIND,
    Load,
    bad,
    body,
    ended,
    gone,
    reaches,
    running,
    start,
    states,
    status,
)

AB = {"plan": "ab", "mirror": 0} | BLIND


def test_whoever_a_version_lets_wait_for_ever_is_answered_by_the_other_in_time(house):
    """With half a second, and with the sixty that are usual."""
    house.put("2", HANGING, "model.py")
    with house.serving() as server:
        start(server, "2", mirror=0, hold_s=60)
        running(server)
        with Load(server, 2, parameters={"timeout": 1_000_000}) as hasty, Load(server, 2) as patient:
            found = ended(server)
            assert found["phase"] == "rolled-back", found["says"]
            assert "time out" in found["says"]
            before = len(patient.answered("1"))
            until(lambda: len(patient.answered("1")) > before + 10, "answers of the old version")
        assert hasty.failures == []
        assert patient.failures == []
        assert found["saved"] > 0
        assert bad(server) == ["2"]


def test_files_that_come_go_and_change_under_a_trial(house):
    house.put("2", models.adding(1))
    with house.serving() as server, Load(server) as load:
        start(server, "2")
        found = ended(server)
        assert found["phase"] == "rolled-back"
        assert found["says"] == "version 1 stays: version 2 wants input 'x', which callers do not send"
        assert bad(server) == ["2"]
        gone(server, "2")

        house.put("3", net(64))
        until(lambda: "3" in states(server), "the third version to be seen")
        begun = start(server, "3", **AB)
        running(server)
        until(lambda: load.answered("3"), "an answer of it")
        (house.folder / "digits" / "3" / "model.onnx").write_bytes(net(64, odd=4))
        found = ended(server)
        assert found["says"] == "version 1 stays: the files of version 3 changed while it was on trial"

        start(server, "3", **AB)
        running(server)
        shutil.rmtree(house.folder / "digits" / "3")
        found = ended(server)
        assert found["says"] == "version 1 stays: version 3 is no longer in the repository"
        assert bad(server) == ["2"]
        gone(server, "3")
        assert found["id"] != begun["id"]
    assert load.failures == []


def test_a_model_that_is_unloaded_and_loaded_goes_on_with_its_trial(house):
    house.put("2", net(64))
    with house.serving() as server:
        begun = start(server, "2", plan="shadow", steps=[], **BLIND)
        running(server)
        with Load(server) as load:
            assert server.post("/v2/repository/models/digits/unload").status_code == 200
            found = reaches(server, lambda now: "does not serve at present" in now["says"], "a word of it")
            assert found["phase"] == "running"
            assert server.post("/v2/models/digits/infer", json=body(0)).status_code == 503
            assert server.post("/v2/repository/models/digits/load").status_code == 200
            until(lambda: status(server)["mirrored"] > found["mirrored"] + 10, "copies")
        assert load.answered("2") == []
        assert (status(server)["id"], status(server)["phase"]) == (begun["id"], "running")


def in_memory(server):
    """Versions of the models of ``lazy``."""
    models = server.get("/penstock/models").json()["models"]
    return {one["name"] + one["version"] for one in models if one["state"] == "READY"}


def asked(server, model):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0] * 4}
    return server.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})


@pytest.fixture
def heavy(tmp_path):
    """Files of 10 MB that take 12 MB loaded and are expected to take 15; b is there once, a twice."""
    for model, version in ("a1", "a2", "b1"):
        lazy.write(tmp_path / "models", model, 1, disk=10, version=version, settings='versions = ["1"]')
    return tmp_path / "models"


QUIET = {"memory_stay_s": 0, "watch_settle_s": 0.1, "watch_poll_s": 0.1}


def test_both_versions_are_in_memory_while_one_is_on_trial_and_go_last(serve, heavy, tmp_path):
    server = serve(heavy, memory_limit="33 MB", meter_file=tmp_path / "books.db", **QUIET)
    assert in_memory(server) == {"a1", "b1"}
    assert server.post("/penstock/rollouts/a", json={"version": "2"} | AB).status_code == 200
    until(lambda: in_memory(server) == {"a1", "a2"}, "room for both")
    assert asked(server, "b").json()["outputs"]
    assert in_memory(server) == {"b1"}
    answers = until(lambda: [asked(server, "a").json().get("model_version") for _ in range(20)], "answers")
    assert set(answers) == {"1", "2"}
    assert server.get("/penstock/rollouts/a").json()["phase"] == "running"


def test_a_version_that_does_not_fit_beside_the_old_one_is_refused_and_nobody_suffers(serve, heavy, tmp_path):
    server = serve(heavy, memory_limit="16 MB", meter_file=tmp_path / "books.db", **QUIET)
    assert server.post("/penstock/rollouts/a", json={"version": "2"} | AB).status_code == 200
    found = until(lambda: (now := server.get("/penstock/rollouts/a").json()).get("ended") and now, "an end")
    assert found["says"].startswith("version 1 stays: no room for two versions: it takes 2")
    assert in_memory(server) == {"a1"}
    for model in "ab":
        assert asked(server, model).json()["model_version"] == "1"
