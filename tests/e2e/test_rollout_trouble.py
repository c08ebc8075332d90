"""What may happen to a model while a version of it is on trial."""

import resource
import shutil

import numpy as np
import pytest

from tests.e2e import lazy, models
from tests.e2e.digit_nets import HANGING, LABELS, net
from tests.e2e.process import until
from tests.e2e.rollouts import (
    BLIND,
    INFER,
    Load,
    ask,
    bad,
    body,
    command,
    ended,
    gone,
    guard,
    history,
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
    told = until(
        lambda: (now := server.get("/penstock/rollouts/a").json())["phase"] != "loading" and now, "it"
    )
    assert told["phase"] == "running", told["says"]
    assert in_memory(server) == {"a1", "a2"}
    assert asked(server, "b").json()["outputs"]
    assert in_memory(server) == {"b1"}
    assert {asked(server, "a").json()["model_version"] for _ in range(20)} == {"1", "2"}
    assert server.get("/penstock/rollouts/a").json()["phase"] == "running"


def test_a_version_that_does_not_fit_beside_the_old_one_is_refused_and_nobody_suffers(serve, heavy, tmp_path):
    server = serve(heavy, memory_limit="16 MB", meter_file=tmp_path / "books.db", **QUIET)
    assert server.post("/penstock/rollouts/a", json={"version": "2"} | AB).status_code == 200
    found = until(lambda: (now := server.get("/penstock/rollouts/a").json()).get("ended") and now, "an end")
    assert found["says"].startswith("version 1 stays: no room for two versions: it takes 2")
    assert in_memory(server) == {"a1"}
    for model in "ab":
        assert asked(server, model).json()["model_version"] == "1"


PIPELINE = '[[step]]\nmodel = "digits"\n'


def test_a_pipeline_follows_the_trial_of_its_step_and_is_rolled_out_itself(house):
    house.put("2", net(64))
    reader = house.folder / "reader"
    for version in "12":
        (reader / version).mkdir(parents=True)
        (reader / version / "pipeline.toml").write_text(PIPELINE)
    (reader / "model.toml").write_text('versions = ["1"]\n')
    with house.serving() as server, Load(server, path="/v2/models/reader/infer") as load:
        start(server, "2", **AB)
        found = reaches(server, lambda now: now["answered_candidate"] > 50, "answers of both")
        assert found["answered_stable"] > 0
        command(server, "rollback")
        assert load.answered("2") == []

        told = {"version": "2", "plan": "canary", "steps": [50], "hold_s": 0.5, "mirror": 0.5} | BLIND
        assert server.post("/penstock/rollouts/reader", json=told).status_code == 200
        until(lambda: server.get("/penstock/rollouts/reader").json().get("ended"), "the pipeline's rollout")
        assert server.get("/penstock/rollouts/reader").json()["phase"] == "promoted"
        until(lambda: load.answered("2"), "an answer of the new pipeline")
        gone(server, "2")
    assert load.failures == []


def test_feedback_that_comes_late_turns_into_accuracy(house):
    house.put("2", net(8))
    with house.serving() as server:
        start(server, "2", plan="ab", mirror=0, guards=BLIND["guards"] | {"accuracy": 1.1})
        running(server)
        answered = [server.post(INFER, json=body(number)).json() for number in range(200)]
        labels = [{"id": answer["id"], "outcome": int(LABELS[int(answer["id"]) * 17 % len(LABELS)])}
                  for answer in answered]  # fmt: skip
        assert feedback(server, *labels[:150], {"id": "nobody", "outcome": 1}) == {
            "counted": 150,
            "unknown": 1,
        }
        assert feedback(server, *labels[100:]) == {"counted": 50, "unknown": 50}
        assert feedback(server, {"id": "nobody", "correct": True}) == {"counted": 0, "unknown": 1}
        by_new = sum(answer["model_version"] == "2" for answer in answered)
        found = reaches(server, lambda now: guard(now, "accuracy")["seen"] == by_new, "labels")
        wrong = sum(
            int(np.argmax(answer["outputs"][0]["data"])) != label["outcome"]
            for answer, label in zip(answered, labels, strict=True)
        )
        assert guard(found, "accuracy")["events"] == wrong
        command(server, "rollback")
        assert feedback(server, labels[0]) == {"counted": 0, "unknown": 1}


def feedback(server, *labels):
    answer = server.post("/v1/feedback", json={"labels": labels})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_full_disk_stops_no_rollout_and_what_it_missed_is_written_when_there_is_room(house):
    house.put("2", net(64))
    with house.serving() as server:
        start(server, "2", hold_s=60, **AB | {"plan": "canary"})
        running(server)
        limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
        with Load(server) as load:
            until(lambda: server.log("rollouts go on, and are kept in memory"), "a word of it")
            assert command(server, "promote", "no room")["phase"] == "promoted"
            until(lambda: len(load.answered("2")) > 50, "answers of the new version")
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)
            until(lambda: server.log("rollouts can be written down again"), "a word of it")
        assert load.failures == []
        assert history(server) == ["start", "stage", "promote"]
        server.process.kill()
        server.ended()
    with house.serving() as server:
        assert ask(server) == "2"
        assert status(server)["says"] == "version 2 answers now: no room"
