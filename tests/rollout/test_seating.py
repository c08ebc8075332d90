"""What rollouts keep of models between and beside them."""

import logging

from msgspec.structs import replace

from penstock.core.spec import Rollout
from penstock.repository.layout import ModelFolder
from penstock.rollout.seating import Seating
from penstock.rollout.words import Bad, Pin
from penstock.serving.catalog import Catalog
from tests.rollout.test_seats import bad, folder


def seating(pins: list[Pin] | None = None) -> Seating:
    return Seating(Catalog(), lambda model: None, (pins if pins is not None else []).append)


def with_terms(**terms: object) -> ModelFolder:
    there = folder("1", "2")
    assert there.spec is not None
    return replace(there, spec=replace(there.spec, rollout=Rollout(**terms)))  # type: ignore[arg-type]


def test_what_is_wrong_with_the_terms_is_said_once_before_any_version_comes(caplog):
    kept = seating()
    wrong = with_terms(plan="canary", guards={"p98": 1.2})
    with caplog.at_level(logging.ERROR, "penstock.rollout"):
        for _ in range(3):
            kept.direct({"m": wrong})
        kept.direct({"m": with_terms(plan="canary", guards={"p99": 1.2})})
        kept.direct({"m": wrong})
    said = "model m: no guard 'p98'; did you mean 'p95'?; no version is rolled out by itself"
    assert [record.message.replace("p99'", "p95'") for record in caplog.records] == [said, said]


def test_a_version_that_was_taken_back_says_why_until_its_files_change():
    kept = seating()
    there = folder("1", "2", plan="canary")
    kept.direct({"m": there})
    kept.mark(Bad("m", "2", 5.0, "slow", bad(there, "2")["2"]))
    assert (kept.why_bad("m", "2"), kept.why_bad("m", "1")) == ("slow", "")
    assert [each.version for each in kept.bad("m")] == ["2"]
    kept.mark(Bad("m", "2", 6.0, "slow", "other files"))
    assert kept.why_bad("m", "2") == ""
    assert kept.forgive("m", "2")
    assert not kept.forgive("m", "2")


def test_the_version_of_the_last_rollout_answers_and_the_next_one_is_due():
    kept = seating()
    kept.restore([Pin("m", "1", "latest", ("1",))], [])
    kept.direct({"m": folder("1", "2", plan="canary")})
    assert kept.next() == [("m", "2")]
    kept.direct({"m": folder("1", "2")})
    assert kept.next() == []
