"""Which versions are there, and which answers: the settings' words, and what rollouts have to say."""

from pathlib import Path

import pytest

from penstock.core.spec import ModelSpec, Rollout
from penstock.repository.layout import ModelFolder, VersionFolder
from penstock.rollout import seats
from penstock.rollout.seats import Seat
from penstock.rollout.words import Pin


def folder(*versions: str, policy: str | tuple[str, ...] = "latest", plan: str = "") -> ModelFolder:
    spec = ModelSpec(name="m", versions=policy, rollout=Rollout(plan=plan))  # type: ignore[arg-type]
    found = {name: VersionFolder(name, Path(name), (("model.onnx", 1, len(name)),)) for name in versions}
    return ModelFolder("m", spec, versions=found)


def pin(version: str, *over: str, policy: str = "latest") -> Pin:
    return Pin("m", version, policy, over)


def bad(there: ModelFolder, *versions: str) -> dict[str, str]:
    return {version: seats.print_of(there, version) for version in versions}


@pytest.mark.parametrize("policy", ["latest", "latest 2", "all", ("1",)])
def test_without_rollouts_the_settings_alone_count(policy):
    there = folder("1", "2", "3", policy=policy)
    assert seats.direct(there, seats.NOBODY) is there
    assert seats.answering(there, seats.NOBODY) == ""


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("latest", ("1", "2")), (("1",), ("1", "2")), ("all", ("1", "2", "3")), ("latest 2", ("1", "2"))],
)
def test_both_versions_of_a_rollout_are_there_and_the_old_one_answers(policy, wanted):
    there = folder("1", "2", "3", policy=policy, plan="canary" if policy == "latest 2" else "")
    seat = Seat(trial=("1", "2"), bad=bad(there, "3") if policy == "latest" else {})
    found = seats.direct(there, seat).spec
    assert found is not None
    assert set(wanted) <= set(found.versions)
    assert seats.answering(there, seat) == "1"


def test_what_comes_while_a_rollout_runs_waits_for_its_own():
    there = folder("1", "2", "3", plan="canary")
    seat = Seat(pin=pin("1", "1", "2"), trial=("1", "2"))
    assert seats.versions(there, seat) == ("1", "2")
    assert seats.candidate(there, seat) == ""
    assert seats.candidate(there, Seat(pin=pin("2", "1", "2"))) == "3"


def test_new_versions_are_rolled_out_by_themselves_only_where_the_model_says_so():
    assert seats.candidate(folder("1", "2", plan="canary"), Seat(pin=pin("1"))) == "2"
    assert seats.candidate(folder("1", "2"), Seat(pin=pin("1"))) == ""
    assert seats.candidate(folder("1", "2", plan="canary"), seats.NOBODY) == ""
    assert seats.candidate(folder("1", "2", policy=("1",), plan="canary"), Seat(pin=pin("1"))) == ""


def test_a_version_that_was_taken_back_is_neither_loaded_nor_rolled_out_again():
    there = folder("1", "2", plan="canary")
    seat = Seat(pin=pin("1", "1", "2"), bad=bad(there, "2"))
    assert (seats.versions(there, seat), seats.candidate(there, seat)) == (("1",), "")
    plain = folder("1", "2")
    assert seats.versions(plain, Seat(pin=pin("1", "1", "2"), bad=bad(plain, "2"))) == ("1",)


def test_other_files_under_its_name_are_another_version():
    there = folder("1", "2", plan="canary")
    seat = Seat(pin=pin("1", "1", "2"), bad={"2": "other files"})
    assert seats.candidate(there, seat) == "2"


def test_a_version_that_was_promoted_stays_though_the_settings_name_another():
    there = folder("1", "2", policy=("1",))
    seat = Seat(pin=pin("2", "1", "2", policy="1"))
    assert (seats.answering(there, seat), seats.versions(there, seat)) == ("2", ("2",))
    changed = folder("1", "2", policy=("1", "2"))
    assert seats.answering(changed, seat) == ""
    assert seats.versions(changed, seat) == ("1", "2")


def test_without_a_plan_a_version_that_comes_later_takes_over_as_ever():
    seat = Seat(pin=pin("1", "1", "2"))
    assert seats.answering(folder("1", "2"), seat) == "1"
    assert seats.answering(folder("1", "2", "3"), seat) == ""
    assert seats.versions(folder("1", "2", "3"), seat) == "latest"


def test_nothing_is_rolled_out_over_a_version_that_is_gone():
    there = folder("2", "3", plan="canary")
    assert seats.candidate(there, Seat(pin=pin("1", "1"))) == ""


def test_a_pin_to_what_is_gone_holds_nothing():
    assert seats.answering(folder("2", "3"), Seat(pin=pin("1", "1", "2", "3"))) == ""
    assert seats.versions(folder("2", "3", plan="canary"), Seat(pin=pin("1"))) == "latest"
