"""What is remembered of requests until their labels come: bounded, and each label counts once."""

import pytest

from penstock.rollout import feedback
from penstock.rollout.feedback import MOST_ID, Kept, Memory

DAY = 24 * 3600.0


@pytest.fixture
def memory():
    return Memory()


def note(memory, asked, model="m", at=0.0, answer=3):
    memory.note(asked, model, "r1", True, 0.05, answer, at, 7)


def test_a_label_finds_its_request_once(memory):
    note(memory, "a")
    assert memory.take("a") == Kept("a", "m", "r1", True, 0.05, 3, 0.0, 7)
    assert memory.take("a") is None
    assert memory.take("b") is None
    assert len(memory) == 0


def test_the_last_request_with_an_id_is_the_one_that_a_label_is_about(memory):
    note(memory, "a", answer=1)
    note(memory, "a", answer=2)
    assert memory.take("a").answer == 2
    assert memory.take("a") is None


def test_two_models_asked_under_one_id_have_a_label_each(memory):
    note(memory, "a", "first", at=1.0)
    note(memory, "a", "second", at=2.0)
    assert memory.take("a", "first").model == "first"
    assert memory.take("a", "first") is None
    assert memory.take("a", "third") is None
    assert memory.take("a").model == "second"


def test_a_label_that_names_no_model_is_about_the_last_one_asked(memory):
    note(memory, "a", "first", at=1.0)
    note(memory, "a", "second", at=2.0)
    assert [memory.take("a").model, memory.take("a").model] == ["second", "first"]


def test_the_oldest_go_where_there_are_many(memory, monkeypatch):
    monkeypatch.setattr(feedback, "MOST", 100)
    for at in range(250):
        note(memory, f"{at}", model=f"{at % 3}")
    assert len(memory) == 100
    assert memory.take("149") is None
    assert memory.take("150") is not None


def test_a_request_that_came_again_goes_when_its_last_one_does(memory, monkeypatch):
    monkeypatch.setattr(feedback, "MOST", 10)
    note(memory, "a", answer=1)
    for at in range(5):
        note(memory, f"{at}")
    note(memory, "a", answer=2)
    for at in range(5, 13):
        note(memory, f"{at}")
    assert memory.take("a").answer == 2


def test_what_is_older_than_a_day_goes(memory):
    for at in range(48):
        note(memory, f"{at}", at=at * 3600.0)
    assert len(memory) == 25
    assert memory.take("30", now=54 * 3600.0 + 1) is None
    assert memory.take("31", now=54 * 3600.0 + 1) is not None


def test_long_ids_and_none_are_not_kept(memory):
    note(memory, "")
    note(memory, "x" * (MOST_ID + 1))
    assert len(memory) == 0
    note(memory, "x" * MOST_ID)
    assert len(memory) == 1


def test_names_of_models_are_not_kept_longer_than_their_requests(memory):
    note(memory, "a", "gone")
    note(memory, "b", at=DAY + 1)
    assert list(memory._kept) == ["m"]
