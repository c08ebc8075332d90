"""A rollout as it begins: by its terms and the traffic, and only between versions that callers can swap."""

import pytest

from penstock.core.spec import ModelSpec, Rollout, Signature, TensorSpec
from penstock.core.types import ModelState
from penstock.rollout.course import Course
from penstock.rollout.opening import Wanted, begin, differs


def opened(rate: float = 1000.0, **terms: object) -> Course:
    return begin("r", Wanted("m", "1", "2", Rollout(**terms), "me", "why"), rate, 5.0)  # type: ignore[arg-type]


def test_steps_and_hold_follow_the_traffic_unless_they_are_given():
    assert [stage.weight for stage in opened().stages] == [1, 5, 25, 50, 100]
    assert [stage.weight for stage in opened(10.0).stages] == [10, 50, 100]
    given = opened(steps=(20.0, 40.0), hold_s=1.0)
    assert ([stage.weight for stage in given.stages], given.hold) == ([20, 40], 1.0)
    assert (given.id, given.stable, given.candidate, given.by, given.why, given.began) == (
        *("r", "1", "2", "me", "why"), 5.0,
    )  # fmt: skip


@pytest.mark.parametrize("guard", ["cost", "energy"])
def test_costs_have_to_pass_only_where_shares_are_alike(guard):
    course = opened(guards={"cost": 1.2, "energy": 1.2})
    wanted = [targets[guard] is not None for targets in course.targets]
    assert wanted == [False, False, False, True, False]
    beside = opened(guards={"cost": 1.2, "energy": 1.2}, baseline=True)
    assert [targets[guard] is not None for targets in beside.targets] == [True] * 4 + [False]


def test_feedback_has_to_pass_only_where_it_was_asked_for():
    assert all(targets["accuracy"] is None for targets in opened().targets)
    assert opened(guards={"accuracy": 1.2}).targets[3]["accuracy"] == 1.2
    copies = opened(plan="blue-green", guards={"accuracy": 1.2})
    assert all(targets["accuracy"] is None for targets in copies.targets)


def test_without_copies_answers_are_not_compared():
    assert "answers" in opened().alarms
    assert "answers" not in opened(mirror=0.0).alarms
    assert "answers" not in opened(plan="aa").alarms


def test_a_version_against_itself_need_pass_nothing():
    (targets,) = opened(plan="aa").targets
    assert set(targets.values()) == {None}


X, Y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "FP32", (-1, 2))


def state(
    version: str, inputs: tuple[TensorSpec, ...] = (X,), outputs: tuple[TensorSpec, ...] = (Y,)
) -> ModelState:
    signature = Signature(inputs, outputs)
    return ModelState(name="m", version=version, state="READY", spec=ModelSpec(), signature=signature)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (state("2"), ""),
        (state("2", (TensorSpec("x", "FP32", (-1, -1)),)), ""),
        (state("2", outputs=(Y, TensorSpec("z", "FP32", (-1, 1)))), ""),
        (
            state("2", (X, TensorSpec("m", "FP32", (-1,)))),
            "version 2 wants input 'm', which callers do not send",
        ),
        (state("2", ()), "version 2 has no input 'x', which callers send"),
        (
            state("2", (TensorSpec("x", "FP32", (-1, 5)),)),
            "input 'x' of version 2 is FP32 [-1, 5]; callers send FP32 [-1, 4]",
        ),
        (
            state("2", (TensorSpec("x", "FP64", (-1, 4)),)),
            "input 'x' of version 2 is FP64 [-1, 4]; callers send FP32 [-1, 4]",
        ),
        (state("2", outputs=()), "version 2 has no output 'y', which callers read"),
        (
            state("2", outputs=(TensorSpec("y", "INT64", (-1, 2)),)),
            "output 'y' of version 2 is INT64; callers read FP32",
        ),
    ],
)
def test_callers_of_the_old_version_have_to_be_answered_by_the_new_one(new, why):
    assert differs(state("1"), new) == why
