"""The plans, and what is told by hand, over HTTP and from a shell."""

import json
import subprocess
import sys
import time

from penstock.rollout.words import GUARDS
from tests.e2e.digit_nets import CRASHING, net
from tests.e2e.process import environment, until
from tests.e2e.rollouts import (
    BLIND,
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

ANSWERS = dict.fromkeys(GUARDS, False) | {"answers": 0.05}
"""The one guard that some hundred copies are enough for."""


def shell(server, *words):
    """``penstock rollout`` as a shell runs it: exit code and all that it said."""
    run = [sys.executable, "-m", "penstock", "rollout", *words, "--url", server.url]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_blue_green_goes_from_copies_to_all_at_once_and_keeps_the_old_one_warm(house):
    house.put("2", net(64))
    with house.serving() as server, Load(server) as load:
        start(server, "2", plan="blue-green", steps=[], hold_s=1.5, guards=ANSWERS)
        first = reaches(server, lambda now: now["mirrored"] > 100, "copies")
        assert (first["stage"], first["weight"], first["answered_candidate"]) == (0, 0, 0)
        second = running(server, stage=1)
        assert second["weight"] == 100
        assert load.answered("2") == [] or load.answered("2")[0] > second["stages"][1]["began"] - 0.1
        assert states(server) == {"1": "READY", "2": "READY"}
        found = ended(server)
        assert found["phase"] == "promoted"
        gone(server, "1")
    assert load.failures == []
    assert not [at for at in load.answered("1") if at > second["stages"][1]["began"] + 1.0]


def test_a_shadow_answers_nobody_and_reports_until_it_is_told_to_come_in(house):
    house.put("2", net(64, odd=4))
    with house.serving() as server, Load(server) as load:
        start(server, "2", plan="shadow", steps=[], guards=ANSWERS)
        found = reaches(server, lambda now: guard(now, "answers")["verdict"] == "fail", "it")
        assert found["phase"] == "running"
        assert "answers" in found["says"]
        assert guard(found, "answers")["effect"] > 0.1
        time.sleep(0.6)
        now = status(server)
        assert (now["phase"], now["answered_candidate"]) == ("running", 0)
        assert load.answered("2") == []
        code, said = shell(server, "promote", "digits", "--why", "it is meant to differ")
        assert code == 0
        assert "meant to differ" in said
        until(lambda: len(load.answered("2")) > 10, "answers of the new version")
        gone(server, "1")
        assert history(server) == ["start", "stage", "promote"]
    assert load.failures == []


def test_an_ab_run_keeps_both_until_told_and_stops_at_what_is_said_by_hand(house):
    house.put("2", net(64, odd=4))
    with house.serving() as server, Load(server, pause=0.01) as load:
        code, said = shell(server, "start", "digits", "2", "--plan", "ab", "--steps", "40", "--hold", "20ms",
                           "--mirror", "0.5", "--json")  # fmt: skip
        assert code == 0, said
        assert json.loads(said)["kind"] == "ab"
        found = reaches(server, lambda now: guard(now, "answers")["verdict"] == "fail", "it")
        assert (found["phase"], found["weight"]) == ("running", 40)
        assert command(server, "pause", "lunch")["phase"] == "paused"
        before = status(server)
        until(lambda: status(server)["answered_candidate"] > before["answered_candidate"] + 50, "answers")
        assert status(server)["says"] == "paused at 40 % of the requests"
        assert command(server, "resume")["phase"] == "running"
        code, said = shell(server, "rollback", "digits", "--why", "one was liked better")
        assert code == 0, said
        gone(server, "2")
        code, said = shell(server, "history", "digits")
        assert code == 0
        assert "liked better" in said
        assert history(server) == ["start", "stage", "pause", "resume", "rollback"]
        code, said = shell(server, "resume", "digits")
        assert code != 0
        assert "no rollout of model 'digits' runs" in said
    assert load.failures == []


def test_what_cannot_be_is_refused_with_what_could(house):
    """Nobody watches the repository: a start sees by itself what is there."""
    house.put("2", net(64))
    slow = CRASHING.replace("class Crashing", "import time\ntime.sleep(5)\n\n\nclass Crashing")
    house.put("3", slow, "model.py")

    def said(version, code=400, **terms):
        answer = begin(server, version, **terms)
        assert answer.status_code == code, answer.text
        return answer.json()["error"]

    with house.serving(watch_enabled=False) as server:
        assert "version '9'" in said("9", 404)
        assert "have 1, 2, 3" in said("9", 404)
        assert "answers already" in said("1")
        assert "plan cannot be 'canaries'; did you mean 'canary'?" in said("2", plan="canaries")
        assert "they must rise: 5,50" in said("2", steps=[50, 5])
        answer = server.post("/penstock/rollouts/digit", json={"version": "2"})
        assert answer.status_code == 404
        assert "did you mean 'digits'?" in answer.text
        answer = server.post("/penstock/rollouts/digits/promote")
        assert answer.status_code == 400
        assert "penstock rollout start" in answer.text
        assert server.get("/penstock/rollouts/digits").status_code == 404

        start(server, "3")
        assert "version 3 of model 'digits' is being rolled out" in said("2")
        assert status(server)["phase"] == "loading"
        for verb, why in (("promote", "does not serve yet"), ("pause", "still loading")):
            answer = server.post(f"/penstock/rollouts/digits/{verb}")
            assert answer.status_code == 400
            assert why in answer.text
        assert ask(server) == "1"
        command(server, "rollback", "too slow")
        assert "version 3 of model 'digits' was taken back: too slow; --force tries it again" in said("3")
        assert bad(server) == ["3"]

        house.put("4", net(64))
        start(server, "4", **BLIND)
        running(server)
        answer = server.post("/penstock/rollouts/digits/resume")
        assert "is not paused; it is running" in answer.text
        command(server, "promote")
        assert ask(server) == "4"
        gone(server, "1")
