"""What the benchmark counts as met."""

from benchmarks.optimize import aims
from benchmarks.optimize_models import SUBJECTS

DONE = {"model": "x", "latency ×": 9.0, "served ×": 1.5, "fresh drop": 0.001}


def missed(row):
    return [each["aim"] for each in aims([row], SUBJECTS[:1]) if not each["met"]]


def test_a_model_that_was_served_and_is_faster_meets_its_aims():
    assert missed(DONE) == []


def test_every_model_has_an_aim_and_one_that_failed_has_missed_it():
    failed = [{"model": subject.name, "winner": "failed: no memory"} for subject in SUBJECTS]
    found = aims(failed, SUBJECTS)
    assert {each["name"] for each in found} == {subject.name for subject in SUBJECTS}
    assert not any(each["met"] for each in found)


def test_the_original_alone_or_a_slower_version_is_no_success():
    assert "served and faster" in missed({"model": "x", "latency ×": 1.0})
    assert "served and faster" in missed(DONE | {"served ×": 0.9})
