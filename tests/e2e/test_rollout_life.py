"""Rollouts outlive the server, however it ends, and begin by themselves where the settings say so."""

import shutil
import time

from penstock.rollout.words import GUARDS
from tests.e2e.digit_nets import net
from tests.e2e.process import until
from tests.e2e.rollouts import (
    Load,
    ask,
    bad,
    begin,
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

LOST_S = 3.0
"""Seconds of evidence that a death may cost."""
TWO = dict.fromkeys(GUARDS, False) | {"errors": 3.0, "answers": 0.05}
"""Guards that need some 2,200 answers of the new version."""


def kill(server):
    server.process.kill()
    server.ended()


def test_a_rollout_outlives_death_after_death(house):
    house.put("2", net(64))
    with house.serving() as server:
        with Load(server):
            begun = start(server, "2", steps=[50, 75], hold_s=0.2, mirror=0.2, guards=TWO, why="for good")
            running(server, stage=1)
        with Load(server, pause=0.05):
            before = reaches(server, lambda now: guard(now, "answers")["seen"] > 5, "evidence")
            time.sleep(LOST_S)
            kill(server)

    with house.serving() as server:
        now = running(server)
        for key in ("id", "stage", "weight", "stable", "candidate", "began", "by"):
            assert now[key] == before[key], key
        assert now["stages"] == before["stages"]
        for key in ("answered_stable", "answered_candidate", "mirrored"):
            assert now[key] >= before[key], key
        for name in ("errors", "answers"):
            assert guard(now, name)["seen"] >= guard(before, name)["seen"] > 0
        command(server, "pause", "until it is light")
        kill(server)

    with house.serving() as server:
        assert (status(server)["phase"], status(server)["stage"]) == ("paused", 1)
        with Load(server) as load:
            until(lambda: load.answered("2") and load.answered("1"), "answers of both")
            command(server, "resume")
            found = ended(server)
            kill(server)
        assert found["phase"] == "promoted", found["says"]
        assert found["id"] == begun["id"]

    with house.serving() as server:
        assert status(server)["phase"] == "promoted"
        assert ask(server) == "2"
        gone(server, "1")
        assert history(server) == ["start", "stage", "stage", "pause", "resume", "promote"]
        start(server, "1", hold_s=60)
        running(server)
        command(server, "rollback", "it is older")
        kill(server)

    with house.serving() as server:
        assert status(server)["says"] == "version 2 stays: it is older"
        assert ask(server) == "2"
        assert bad(server) == ["1"]
        assert "was taken back: it is older" in begin(server, "1").text
        told = server.get("/penstock/rollouts/digits/history").json()["changes"]
        assert [each["what"] for each in told[:3]] == ["rollback", "stage", "start"]
        assert told[-1]["why"] == "for good"
        assert not server.log("Traceback|a round failed")


def test_versions_roll_out_by_themselves_one_after_the_other(house):
    """Three is good, four is not, and comes while three is on trial; five's files come twice."""
    guards = "".join(f"{name} = false\n" for name in GUARDS if name != "answers")
    house.settings(
        '[rollout]\nplan = "canary"\nsteps = [50]\nhold_s = 0.5\nmirror = 0.5\ndiffer = 0.05\n'
        f"[rollout.guards]\n{guards}"
    )
    house.put("2", net(64))
    with house.serving() as server:
        assert ask(server) == "2"
        assert server.get("/penstock/rollouts").json()["rollouts"] == []
        with Load(server) as load:
            house.put("3", net(64))
            first = reaches(server, lambda now: now.get("candidate") == "3", "the third to be on trial")
            assert (first["stable"], first["by"]) == ("2", "model.toml")
            house.put("4", net(64, odd=4))
            reaches(server, lambda now: now["candidate"] == "4" and now["ended"], "an end of the fourth")
            assert bad(server) == ["4"]
            gone(server, "4")
        assert load.failures == []
        assert ask(server) == "3"
        assert history(server) == ["start", "stage", "promote", "start", "stage", "rollback"]

    with house.serving() as server, Load(server) as load:
        until(lambda: len(load.answered("3")) > 300, "answers")
        time.sleep(0.5)
        assert history(server)[-1] == "rollback"
        assert states(server)["4"] == "UNAVAILABLE"
        shutil.rmtree(house.folder / "digits" / "4")
        house.put("4", net(64))
        found = reaches(server, lambda now: now["phase"] == "promoted", "the mended fourth to come in")
        assert found["candidate"] == "4"
        until(lambda: load.answered("4") and load.answered("4")[-1] > found["ended"], "an answer")
        assert not server.log("Traceback|a round failed")
    assert load.failures == []
