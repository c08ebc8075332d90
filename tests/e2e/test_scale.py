"""Instances come before the traffic does, and go after it, and nobody notices."""

import asyncio
import random
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e import process, steady

SETTINGS = {"scaling_every_s": 1, "watch_settle_s": 0, "watch_poll_s": 0.2}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
INFER = "/v2/models/steady/infer"


def until(condition, what, seconds=20):
    return process.until(condition, what, seconds=seconds, every=0.05)


def scale(server, model="steady"):
    return server.get(f"/penstock/scale/{model}").json()


def children(server):
    """Processes of its models."""
    found = Path(f"/proc/{server.pid}/task").glob("*/children")
    return [pid for each in found for pid in each.read_text().split()]


def ask(server, model="steady", x=((1.0,),)):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(x[0])], "data": x}
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json={"inputs": [tensor]}, timeout=30)


async def drive(url, rates, seconds, seed=7):
    """Requests at random moments, the rate going from one to the other: when sent, took, status of each."""
    rng, found, begun = random.Random(seed), [], time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def one(at):
            answer = await client.post(INFER, json=BODY)
            found.append((at, time.monotonic() - begun - at, answer.status_code))

        async with asyncio.TaskGroup() as group:
            at = 0.0
            while at < seconds:
                await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                group.create_task(one(time.monotonic() - begun))
                at += rng.expovariate(rates[0] + (rates[1] - rates[0]) * at / seconds)
    return sorted(found)


@pytest.mark.alone
def test_instances_come_before_the_queue_grows(serve, tmp_path):
    steady.write(tmp_path, settings="min = 1\nmax = 6")
    server = serve(tmp_path, **SETTINGS)
    asyncio.run(drive(server.url, (8, 8), 6))
    found = asyncio.run(drive(server.url, (8, 60), 16))
    assert {status for _, _, status in found} == {200}
    one = 1 / 0.04
    assert sum(at > 15 for at, _, _ in found) > one  # more than one instance could have answered
    late = sum(took > 1.0 for _, took, _ in found)
    assert late <= 0.01 * len(found), f"{late} of {len(found)} over the target"
    told = scale(server)
    assert told["ready"] >= 3
    assert "queue" not in {each["by"] for each in told["decisions"]}
    ticks = server.get("/penstock/scale/steady/history").json()
    grown = [at for at, (ready, wanted) in enumerate(zip(ticks["ready"], ticks["wanted"], strict=True))
             if wanted > ready]  # fmt: skip
    assert grown
    for at in grown:  # what was there still carried what came when more was begun
        assert ticks["rate"][at] < ticks["capacity"][at]


def test_they_go_when_the_traffic_has_gone_and_nothing_is_cut_off(serve, tmp_path):
    steady.write(
        tmp_path, run=0.2, target=5000, settings="min = 1\nmax = 4", scaling="hold_s = 1\nfeedback = false"
    )
    server = serve(tmp_path, **SETTINGS)
    found = asyncio.run(drive(server.url, (3, 14), 5))
    assert {status for _, _, status in found} == {200}
    most = max(server.get("/penstock/scale/steady/history").json()["ready"])
    assert most > 1
    until(lambda: scale(server)["ready"] == 1, "one instance alone")
    assert ask(server).status_code == 200
    assert len(children(server)) == 1


def test_nobody_asks_and_it_goes_and_the_next_request_brings_it_back(serve, tmp_path):
    steady.write(tmp_path, target=20_000, start=0.3, settings="min = 0\nmax = 2\nidle_s = 3")
    server = serve(tmp_path, **SETTINGS)
    until(lambda: scale(server)["version"] == "", "the model to go")
    until(lambda: not children(server), "its process to end")
    assert server.get("/v2/models/steady/ready").status_code == 200
    assert server.get("/v2/health/ready").status_code == 200
    states = {one["name"]: one["state"] for one in server.get("/penstock/models").json()["models"]}
    assert states == {"steady": "COLD"}
    begun = time.monotonic()
    assert ask(server).status_code == 200
    assert time.monotonic() - begun > 0.3
    until(lambda: scale(server)["version"] == "1", "it to be seen")
    told = scale(server)
    assert told["startup_s"] > 0.3
    lines = [each["by"] for each in told["decisions"]]
    assert "idle" in lines
    until(lambda: scale(server)["version"] == "", "the model to go again")


def test_a_cold_model_that_does_not_come_in_time_is_answered_in_time(serve, tmp_path):
    steady.write(tmp_path, target=300, start=2.0, settings="min = 0\nidle_s = 1")
    server = serve(tmp_path, **SETTINGS)
    until(lambda: scale(server)["version"] == "", "the model to go")
    begun = time.monotonic()
    answer = httpx.post(server.url + INFER, json={**BODY, "parameters": {"timeout": 300_000}}, timeout=30)
    assert (answer.status_code, time.monotonic() - begun < 1.5) == (504, True)
    assert "could not be loaded within" in answer.json()["error"]
    until(lambda: scale(server)["version"] == "1", "a load that had begun")


def test_a_new_version_begins_with_as_many_as_serve(serve, tmp_path):
    steady.write(tmp_path, settings="min = 3\nmax = 4")
    server = serve(tmp_path, **SETTINGS)
    until(lambda: scale(server)["ready"] == 3, "three instances")
    (tmp_path / "steady" / "2").mkdir()
    (tmp_path / "steady" / "2" / "model.txt").write_text("steady 2")
    until(lambda: scale(server)["version"] == "2", "the new version")
    assert scale(server)["ready"] >= 3
    assert ask(server).json()["model_version"] == "2"


def test_a_version_that_is_asked_by_its_name_is_not_idle(serve, tmp_path):
    steady.write(tmp_path, run=0.01, settings="min = 0\nmax = 2\nidle_s = 2")
    (tmp_path / "steady" / "2").mkdir()
    (tmp_path / "steady" / "2" / "model.txt").write_text("steady 2")
    toml = tmp_path / "steady" / "model.toml"
    toml.write_text('versions = "all"\n' + toml.read_text())
    server = serve(tmp_path, **SETTINGS)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert server.post("/v2/models/steady/versions/1/infer", json=BODY).status_code == 200
        time.sleep(0.1)
    told = scale(server)
    assert (told["version"], told["rate"] > 1) == ("2", True)
    assert "idle" not in {each["by"] for each in told["decisions"]}


def test_what_would_not_load_again_is_not_unloaded_for_want_of_requests(serve, tmp_path):
    steady.write(tmp_path, run=0.01, target=20_000, settings="min = 0\nidle_s = 1")
    server = serve(tmp_path, **SETTINGS)
    toml = tmp_path / "steady" / "model.toml"
    toml.write_text(toml.read_text().replace('run = "0.01"', 'run = "soon"'))
    until(lambda: server.log("is not served"), "a refusal")
    until(lambda: "idle" in {each["by"] for each in scale(server)["decisions"]}, "it to be idle")
    time.sleep(1.5)
    assert ask(server).status_code == 200


def test_models_that_do_not_fit_together_do_not_chase_each_other(serve, tmp_path):
    from tests.e2e import lazy

    for number, name in enumerate("ab", 1):
        lazy.write(tmp_path, name, number, disk=10)
        toml = tmp_path / name / "model.toml"
        toml.write_text(toml.read_text().replace("count = 1", "max = 2"))
    server = serve(tmp_path, memory_limit="16 MB", memory_stay_s=0, **SETTINGS)
    loads = 'penstock_model_loads_total{model="'
    assert ask(server, "b", x=[[0] * 4]).status_code == 200
    time.sleep(4)
    states = {one["name"]: one["state"] for one in server.get("/penstock/models").json()["models"]}
    assert states == {"a": "COLD", "b": "READY"}
    lines = [line for line in server.get("/metrics").text.splitlines() if line.startswith(loads)]
    assert sum(float(line.split()[-1]) for line in lines) <= 2, lines


def test_what_was_seen_and_decided_outlives_the_server(serve, tmp_path):
    steady.write(tmp_path / "models", settings="min = 1\nmax = 3")
    settings = SETTINGS | {"meter_file": str(tmp_path / "books.db")}
    server = serve(tmp_path / "models", **settings)
    asyncio.run(drive(server.url, (15, 15), 3))
    until(lambda: scale(server)["decisions"], "a decision")
    before = scale(server)["decisions"]
    assert server.stop() == 0
    again = serve(tmp_path / "models", **settings)
    until(lambda: scale(again)["by"], "a decision")
    assert [each for each in scale(again)["decisions"] if each in before] == before
    assert scale(again)["starts"] > 1


@pytest.mark.parametrize(
    ("settings", "scaling", "sentence"),
    [
        ("count = 2\nmax = 3", "", "count is for a number that stays, min and max for one that follows"),
        ("min = 3\nmax = 2", "", "instances.min is 3 and max 2; min must be at most max"),
        (
            "max = 2",
            'schedule = [{cron = "0 8 * *", min = 2}]',
            "has 4 fields; a cron line has five: minute, hour",
        ),
        ("max = 2", 'schedule = [{cron = "0 25 * * *", min = 2}]', "is no cron: Bad hour"),
        ("max = 2", 'schedule = [{cron = "0 0 31 2 *", min = 2}]', "is no cron: Bad day-of-month"),
        ("max = 2", 'schedule = [{cron = "0 8 * * *", min = 3}]', "schedule.min is 3, and instances.max 2"),
        ("", 'schedule = [{cron = "0 8 * * *", min = 3}]', "needs a number of instances that moves"),
        ("max = 2", "budget = 1.5", "scaling.budget"),
        ("max = 2", "held_s = 5", "did you mean 'hold_s'"),
    ],
)
def test_settings_that_cannot_be_say_what_would_be_right(tmp_path, settings, scaling, sentence):
    from penstock.core.errors import BadSetting
    from penstock.core.spec import ModelSpec
    from penstock.repository.spec import read_spec

    steady.write(tmp_path, settings=settings, scaling=scaling)
    with pytest.raises(BadSetting) as refused:
        read_spec(tmp_path / "steady", ModelSpec())
    assert sentence in str(refused.value)
