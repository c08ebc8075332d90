"""A rollout goes from stage to stage by evidence, back by evidence, and holds where there is none."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.core.spec import Rollout
from penstock.rollout import course as courses
from penstock.rollout.course import Course, Note, Promote, Rollback, Seen
from penstock.rollout.words import Guard, Stage

PASS = Guard(name="errors", verdict="pass", target=2.0)
OPEN = Guard(name="p99", verdict="not yet", target=1.2, why="p99 wants some 300 requests more", needs_s=60.0)
FAIL = Guard(name="p99", verdict="fail", why="p99 is 1.8 times the old version's", against=1.0)


def canary(**told: Any) -> Course:
    given: dict[str, Any] = {
        "id": "r", "model": "m", "stable": "1", "candidate": "2", "kind": "canary", "terms": Rollout(),
        "by": "me", "began": 0.0, "stages": (Stage(1), Stage(50), Stage(100)), "hold": 10.0,
        "targets": ({"errors": 5.0, "p99": 2.0}, {"errors": 2.0, "p99": 1.2}, {"errors": None, "p99": None}),
        "alarms": {"errors": 1.25, "p99": 1.1},
    }  # fmt: skip
    return Course(**given | told)


def look(now: float, *guards: Guard, **told: Any) -> Seen:
    return Seen(**{"now": now, "stable_up": True, "candidate_up": True, "guards": guards} | told)


def running(stage: int = 0, since: float = 0.0, **told: Any) -> Course:
    course = canary(phase="running", stage=stage, **told)
    stages = [replace(each, began=since if at == stage else None) for at, each in enumerate(course.stages)]
    return replace(course, stages=tuple(stages))


def test_nothing_is_divided_until_both_versions_are_up():
    orders, course = courses.decide(canary(), look(5.0, candidate_up=False))
    assert (orders, course.phase, course.weight) == ([], "loading", 0.0)
    assert course.says == "version 2 is loading"
    orders, course = courses.decide(course, look(6.0))
    assert orders == [Note("me", "stage", "1 % of the requests")]
    assert (course.phase, course.weight, course.stages[0].began) == ("running", 1.0, 6.0)


def test_a_version_that_will_not_load_is_taken_back_and_marked():
    orders, course = courses.decide(canary(), look(5.0, candidate_up=False, lacking="no such file"))
    assert orders[0] == Rollback("guard load", "no such file", True)
    assert (course.phase, course.ended) == ("rolled-back", 5.0)


def test_a_stage_is_passed_when_every_guard_has_and_it_has_lasted():
    course = running()
    assert courses.decide(course, look(9.0, PASS))[1].stage == 0
    assert courses.decide(course, look(11.0, PASS, OPEN))[1].stage == 0
    orders, course = courses.decide(course, look(11.0, PASS))
    assert (course.stage, course.weight, orders) == (
        1,
        50.0,
        [Note("guards", "stage", "50 % of the requests")],
    )
    assert (course.stages[0].ended, course.stages[1].began) == (11.0, 11.0)


def test_it_says_what_it_waits_for():
    assert courses.decide(running(), look(11.0, PASS, OPEN))[1].says == OPEN.why
    assert courses.decide(running(), look(4.0, PASS))[1].says == "all is well; the stage lasts 6 s more"


def test_no_traffic_is_no_evidence():
    orders, course = courses.decide(running(), look(500.0, OPEN, quiet=400.0))
    assert (orders, course.stage) == ([], 0)
    assert course.says == "no requests for 400 s, which is no evidence: it holds"


@pytest.mark.parametrize(("kind", "stage"), [("canary", 2), ("canary", 0), ("aa", 0)])
def test_a_stage_that_saw_no_request_holds_whatever_the_guards_say(kind, stage):
    orders, course = courses.decide(running(kind=kind, stage=stage), look(20.0, PASS, quiet=20.5))
    assert (orders, course.stage, course.running) == ([], stage, True)
    assert course.says == "no requests for 20 s, which is no evidence: it holds"


def test_after_the_last_stage_the_candidate_answers():
    orders, course = courses.decide(running(stage=2), look(11.0))
    assert orders[0] == Promote("guards", "every guard has passed")
    assert (course.phase, course.weight, course.running) == ("promoted", 100.0, False)
    assert courses.decide(course, look(12.0)) == ([], course)


@pytest.mark.parametrize("phase", ["running", "paused"])
def test_a_guard_that_fails_takes_it_back_at_once(phase):
    orders, course = courses.decide(replace(running(), phase=phase), look(1.0, PASS, FAIL))
    assert orders == [Rollback("guard p99", FAIL.why, True), Note("guard p99", "rollback", FAIL.why)]
    assert (course.phase, course.weight, course.says) == ("rolled-back", 0.0, f"version 1 stays: {FAIL.why}")


@pytest.mark.parametrize("kind", ["canary", "blue-green", "shadow", "ab"])
@pytest.mark.parametrize("phase", ["running", "paused"])
def test_hard_guards_act_whatever_the_plan(kind, phase):
    course = replace(running(kind=kind), phase=phase)
    orders, _ = courses.decide(course, look(1.0, hard=(("crash", "its process ended"),)))
    assert orders[0] == Rollback("guard crash", "its process ended", True)


@pytest.mark.parametrize("kind", ["shadow", "ab"])
def test_plans_that_report_hold_until_told(kind):
    orders, course = courses.decide(running(kind=kind), look(1e6, FAIL))
    assert (orders, course.running) == ([], True)
    assert course.says == f"runs until it is told to promote or to roll back; {FAIL.why}"


def test_with_all_requests_there_is_nothing_to_compare_with():
    """The last guards of a stage with a stable version say nothing of one without."""
    orders, course = courses.decide(running(stage=2), look(1.0, FAIL))
    assert (orders, course.running) == ([], True)


def test_a_paused_rollout_goes_no_further_and_goes_on_when_told():
    orders, course = courses.pause(running(), "me", "lunch")
    assert (orders, course.phase) == ([Note("me", "pause", "lunch")], "paused")
    orders, course = courses.decide(course, look(100.0, PASS))
    assert (orders, course.stage, course.weight, course.says) == ([], 0, 1.0, "paused at 1 % of the requests")
    _, course = courses.resume(course, "me", "")
    assert courses.decide(course, look(101.0, PASS))[1].stage == 1


@pytest.mark.parametrize(
    ("way", "phase", "stage"),
    [("hold", "running", 0), ("rollback", "rolled-back", 0), ("promote", "running", 1)],
)
def test_patience_ends_as_the_terms_say(way, phase, stage):
    course = running(terms=Rollout(patience_s=100.0, inconclusive=way))
    orders, course = courses.decide(course, look(101.0, OPEN))
    assert (course.phase, course.stage) == (phase, stage)
    assert not any(isinstance(each, Rollback) and each.bad for each in orders)
    assert courses.decide(running(terms=Rollout(patience_s=100.0)), look(99.0, OPEN))[0] == []


@pytest.mark.parametrize("phase", ["loading", "running", "paused"])
def test_a_candidate_that_will_not_come_up_again_is_taken_back(phase):
    orders, _ = courses.decide(
        replace(running(), phase=phase), look(1.0, candidate_up=False, lacking="broken")
    )
    assert orders[0] == Rollback("guard load", "broken", True)


@pytest.mark.parametrize("phase", ["loading", "running", "paused"])
def test_without_the_other_version_there_is_nothing_to_hold_a_trial_for(phase):
    orders, course = courses.decide(replace(running(), phase=phase), look(1.0, unfit="version 1 is gone"))
    assert orders[0] == Rollback("penstock", "version 1 is gone", False)
    assert course.says == "version 1 stays: version 1 is gone"


def test_a_guard_that_was_asked_for_and_hears_nothing_holds_the_stage():
    silent = Guard(name="p99", verdict="off", why="nothing has come", target=2.0)
    orders, course = courses.decide(running(), look(11.0, PASS, silent))
    assert (orders, course.stage, course.says) == ([], 0, "nothing has come")


@pytest.mark.parametrize(
    "seen", [look(1.0, FAIL), look(1.0, hard=(("crash", "it ended"),)), look(1.0, lacking="broken")]
)
def test_a_version_against_itself_is_never_marked_bad(seen):
    orders, _ = courses.decide(running(kind="aa"), seen)
    assert isinstance(orders[0], Rollback)
    assert not orders[0].bad
    orders, _ = courses.rollback(running(kind="aa"), 1.0, "me", "")
    assert not orders[0].bad  # type: ignore[union-attr]


def test_a_version_against_itself_ends_well_when_it_has_lasted():
    orders, course = courses.decide(running(kind="aa"), look(11.0, PASS))
    assert isinstance(orders[0], Promote)
    assert course.says.endswith("none of them alarms where both versions are the same")


def test_files_that_change_end_the_trial_but_mark_nothing():
    orders, _ = courses.decide(running(), look(1.0, changed="2"))
    assert orders[0] == Rollback("files", "the files of version 2 changed while it was on trial", False)


def test_a_version_that_is_away_for_a_while_is_waited_for():
    orders, course = courses.decide(running(), look(11.0, PASS, candidate_up=False))
    assert (orders, course.stage) == ([], 0)
    assert course.says == "version 2 does not serve at present; version 1 answers"


def test_by_hand_it_ends_at_once():
    orders, course = courses.promote(running(), 3.0, "me", "")
    assert (orders[0], course.phase, course.ended) == (Promote("me", "by hand"), "promoted", 3.0)
    orders, course = courses.rollback(running(), 3.0, "me", "smells")
    assert (orders[0], course.phase) == (Rollback("me", "smells", True), "rolled-back")
