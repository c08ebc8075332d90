"""Rollouts on a real server under load: the good come in, the bad go out, and no caller notices."""

import pytest

from penstock.rollout.words import GUARDS
from tests.e2e.digit_nets import CRASHING, INFINITE, net
from tests.e2e.process import until
from tests.e2e.rollouts import Load, ended, gone, guard, start


def only(*names):
    """No other guards: what else a busy machine makes of two networks is not what is tried."""
    return {name: name in names for name in GUARDS}


def test_an_honest_better_version_comes_in_by_its_own_merits(house):
    """Eight hidden units get one in ten digits wrong, 64 one in twenty; callers' feedback tells."""
    house.settings('versions = ["2"]\n')
    house.put("2", net(8))
    with house.serving() as server, Load(server, tell=True) as load:
        guards = only("errors", "timeouts", "answers") | {"accuracy": 1.1}
        start(server, "1", differ=0.4, guards=guards, why="more units")
        found = ended(server)
        assert found["phase"] == "promoted", found["says"]
        gone(server, "2")
        assert until(lambda: load.answered("1")[-1] > found["ended"], "an answer of the new version")
    assert load.failures == []
    assert max(load.answered("2")) < found["ended"] + 1.0
    assert guard(found, "accuracy")["effect"] < 1.0
    assert [each["verdict"] for each in found["guards"] if each.get("target")] == ["pass"] * sum(
        "target" in each for each in found["guards"]
    )


@pytest.mark.parametrize(
    ("content", "name", "guards"),
    [
        (net(64, slow=120), "model.onnx", ("p50", "p95", "p99")),
        (net(64, odd=32), "model.onnx", ("answers",)),
        (CRASHING, "model.py", ("crash",)),
        (INFINITE, "model.py", ("non-finite",)),
        ("no model", "model.onnx", ("load",)),
    ],
    ids=["slow", "subtly wrong", "crashing", "not finite", "broken"],
)
def test_a_bad_version_is_taken_back_and_no_caller_notices(house, content, name, guards):
    house.put("2", content, name)
    with house.serving() as server, Load(server) as load:
        start(server, "2", mirror=0.5, guards=only(*guards))
        found = ended(server)
        assert found["phase"] == "rolled-back", found["says"]
        told = server.get("/penstock/rollouts/digits/history").json()["changes"]
        assert told[0]["by"] in [f"guard {each}" for each in guards], told[0]
        before = len(load.answered("1"))
        until(lambda: len(load.answered("1")) > before + 100, "answers of the old version")
        bad = server.get("/penstock/rollouts").json()["bad"]
    assert load.failures == []
    assert not [at for at in load.answered("2") if at > found["ended"] + 1.0]
    assert [(each["version"], each["why"]) for each in bad] == [("2", told[0]["why"])]
