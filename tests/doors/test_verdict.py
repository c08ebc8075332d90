"""The verdict on a version, for controllers of others."""

from itertools import product

import pytest
from msgspec.structs import replace

from penstock.core.errors import InvalidRequest
from penstock.doors.verdict import GO, go_of, goes, judge, unknown
from penstock.rollout.words import Bad, Guard
from tests.rollout.memory import GUARDS, RUNNING

SHADOW = replace(RUNNING, kind="shadow", weight=0, stages=())
PASSED = tuple(replace(each, verdict="pass") if each.verdict != "off" else each for each in GUARDS)
FAILED = (*GUARDS[:1], replace(GUARDS[1], verdict="fail", why="1.52 times as slow"), *GUARDS[2:])
BAD = [Bad("digits", "4", 0.0, "p99: 1.6 times as slow")]


def told(status, version="", bad=()):
    found = judge(status, version, bad)
    return found.verdict, found.value


def test_it_says_what_it_rests_on():
    found = judge(RUNNING)
    assert (found.verdict, found.value) == ("not yet", 0)
    assert (found.model, found.version, found.rollout) == ("digits", "3", "r-7")
    assert (found.phase, found.weight) == ("running", 5)
    assert found.guards == {
        "errors": "not yet",
        "p99": "pass",
        "answers": "not yet",
        "cost": "off",
        "energy": "off",
    }
    assert found.says == RUNNING.says


@pytest.mark.parametrize("kind", ["canary", "blue-green", "shadow", "ab"])
def test_a_rollout_that_has_ended_is_its_own_verdict(kind):
    assert told(replace(RUNNING, kind=kind, phase="promoted", guards=FAILED)) == ("pass", 1)
    assert told(replace(RUNNING, kind=kind, phase="rolled-back", guards=PASSED)) == ("fail", -1)


@pytest.mark.parametrize(
    ("kind", "phase"), [*product(["canary", "blue-green", "shadow", "ab"], ["loading", "running", "paused"])]
)
def test_a_guard_that_fails_fails_the_version_at_once(kind, phase):
    status = replace(RUNNING, kind=kind, phase=phase, guards=FAILED)
    assert told(status) == ("fail", -1)
    assert judge(status).says == "p99: 1.52 times as slow"


def test_a_stage_that_has_passed_is_not_yet_the_whole_plan():
    for kind in ("canary", "blue-green"):
        assert told(replace(RUNNING, kind=kind, guards=PASSED)) == ("not yet", 0)


@pytest.mark.parametrize("kind", ["shadow", "ab"])
def test_what_never_promotes_by_itself_passes_with_its_guards(kind):
    status = replace(RUNNING, kind=kind, guards=PASSED)
    assert told(status) == ("pass", 1)
    assert told(replace(status, phase="paused")) == ("not yet", 0)
    assert told(replace(status, guards=GUARDS)) == ("not yet", 0)


def test_a_guard_that_need_not_pass_is_not_waited_for():
    free = replace(GUARDS[0], target=None)
    assert told(replace(SHADOW, guards=(free, PASSED[1]))) == ("pass", 1)


@pytest.mark.parametrize("guards", [(), GUARDS[3:], (Guard(name="p99", verdict="pass"),)])
def test_no_evidence_is_no_proof(guards):
    assert told(replace(SHADOW, guards=guards)) == ("not yet", 0)


def test_another_version_than_the_candidate():
    assert told(RUNNING, "2") == ("pass", 1)
    assert judge(RUNNING, "2").says == "version 2 is the one that answers until 3 is proven"
    assert told(RUNNING, "4", BAD) == ("fail", -1)
    assert judge(RUNNING, "4", BAD).says == "version 4 was taken back: p99: 1.6 times as slow"
    assert told(RUNNING, "5", BAD) == ("not yet", 0)
    assert "no rollout of version 5 is known; the last rollout of digits was of 3" in judge(RUNNING, "5").says
    assert told(replace(RUNNING, phase="promoted"), "2") == ("not yet", 0)


def test_a_version_of_a_model_without_rollouts():
    assert (unknown("digits", "4", BAD).verdict, unknown("digits", "5", BAD).verdict) == ("fail", "not yet")


def test_the_status_says_whether_to_go_on():
    expected = {
        ("pass", "pass"): 200, ("not yet", "pass"): 409, ("fail", "pass"): 409,
        ("pass", "not-fail"): 200, ("not yet", "not-fail"): 200, ("fail", "not-fail"): 409,
        ("pass", "fail"): 409, ("not yet", "fail"): 409, ("fail", "fail"): 200,
    }  # fmt: skip
    assert expected == {(word, go): goes(word, go) for word, go in expected}


def test_what_to_go_on_is_one_of_three():
    assert [go_of(text) for text in GO] == list(GO)
    with pytest.raises(InvalidRequest, match="go: cannot be 'pas'; did you mean 'pass'"):
        go_of("pas")
