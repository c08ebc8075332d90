from itertools import pairwise

import pytest

from penstock.core.spec import Rollout
from penstock.rollout.evidence.judge import Bound, Judge
from penstock.rollout.evidence.margins import defaults
from penstock.rollout.evidence.says import duration, guard
from penstock.rollout.evidence.stand import Stand


@pytest.mark.parametrize("rate", [0.0, 0.1, 10, 100, 1000])
@pytest.mark.parametrize("kind", ["canary", "blue-green", "shadow", "ab"])
def test_there_is_a_plan_for_all_traffic_that_the_judge_takes(kind, rate):
    """With targets for each step, none of them narrower than those of a later one."""
    steps, hold_s, targets, alarms = defaults(kind, rate)
    assert len(steps) == len(targets)
    assert hold_s >= 300
    Judge({name: Bound(alarm, targets[0][name]) for name, alarm in alarms.items()})
    judged = [wanted for step, wanted in zip(steps, targets, strict=True) if step < 100]
    for name in alarms:
        values = [wanted[name] or 99 for wanted in judged]
        assert all(one >= other for one, other in pairwise(values))


def test_at_all_of_the_traffic_there_is_nothing_to_prove():
    plan = defaults("canary", 1000)
    assert plan.steps[-1] == 100
    assert set(plan.targets[-1].values()) == {None}


def test_little_traffic_has_few_steps_and_does_not_certify_p99_within_ten_percent():
    assert [
        [wanted["p99"] for wanted in defaults("canary", rate).targets][-2] for rate in (1000, 100, 10, 0.1)
    ] == [1.1, 1.2, 1.5, None]
    assert defaults("canary", 10).steps == (10, 50, 100)


def test_own_steps_take_the_targets_of_the_last_ones():
    plan = defaults("canary", 1000, Rollout(steps=(5, 50)))
    assert [wanted["p99"] for wanted in plan.targets] == [1.2, 1.1]
    assert len(defaults("canary", 1000, Rollout(steps=(1, 2, 3, 4, 5, 6))).targets) == 6


def test_a_number_is_what_the_last_stage_proves_and_where_the_alarm_begins():
    plan = defaults("canary", 1000, Rollout(guards={"p99": 1.3, "errors": 1.1}))
    assert [wanted["p99"] for wanted in plan.targets] == [2, 1.5, 1.3, 1.3, None]
    assert [wanted["errors"] for wanted in plan.targets] == [5, 3, 2, 1.1, None]
    assert (plan.alarms["p99"], plan.alarms["errors"]) == (1.3, 1.1)


def test_a_guard_may_be_left_out():
    plan = defaults("canary", 1000, Rollout(guards={"p99": False, "p50": True}))
    assert "p99" not in plan.alarms
    assert "p99" not in plan.targets[0]
    assert "p50" in plan.alarms


def test_the_part_of_answers_that_may_differ_is_the_alarm_and_the_last_target():
    plan = defaults("canary", 1000, Rollout(differ=0.04))
    assert plan.alarms["answers"] == 0.04
    assert [wanted["answers"] for wanted in plan.targets] == [0.12, 0.08, 0.06, 0.04, None]
    assert defaults("canary", 1000, Rollout(differ=0.0)).targets[3]["answers"] == 0.005


def test_own_holds_count():
    assert defaults("canary", 1000, Rollout(hold_s=7.0)).hold_s == 7.0


# -- words --------------------------------------------------------------------------------------------


def why(name, stand, alarm=1.1, target=1.2, rate=2.0):
    return guard(name, alarm, target, stand, rate, 1.0).why


def test_a_failure_says_what_was_found_and_what_the_most_is():
    stand = Stand(failed=True, effect=1.83, low=1.4, high=2.31)
    assert why("p99", stand) == "p99 is 1.83 times the old version's (1.4 to 2.31), and 1.1 times is the most"
    stand = Stand(failed=True, effect=0.031, low=0.012, high=0.05)
    assert why("answers", stand, 0.01, 0.01) == (
        "3.1 % more of the answers differ than by chance (1.2 % to 5 %), and 1 % is the most"
    )
    stand = Stand(failed=True, beside="5.10% of the new version's, 0.10% of the old one's")
    assert why("errors", stand) == (
        "requests that fail: 5.10% of the new version's, 0.10% of the old one's, and 1.1 times is the most"
    )


def test_a_proof_under_way_says_how_much_more_it_takes():
    stand = Stand(seen=100, needs=1234.0)
    assert why("p99", stand) == (
        "p99 within 20 % needs some 1,300 more requests of the new version: 10 minutes at today's 2 a second"
    )


def test_what_will_not_be_proven_is_said_to_be_so():
    stand = Stand(seen=900, effect=1.19, low=1.1, high=1.25)
    assert why("p50", stand) == (
        "p50 is 1.19 times the old version's (1.1 to 1.25); as it goes on, p50 within 20 % is not proven"
    )


def test_a_failure_is_one_though_it_passed_before():
    assert guard("p50", 1.1, 1.2, Stand(failed=True, passed=True), 1.0, 1.0).verdict == "fail"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.2, "4 s"), (60, "1 minute"), (5400, "2 hours"), (86_400, "1 day"), (400_000, "5 days")],
)
def test_durations_are_in_the_unit_one_would_say(seconds, words):
    assert duration(seconds) == words
