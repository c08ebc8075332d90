"""Decisions on several models share what the machine has, and what each is told is why."""

from math import inf

import pytest
from msgspec.structs import replace

from penstock.metering.book import Book
from penstock.metering.ledger import Ledger
from penstock.scaling.controller import Controller, Look, Room
from penstock.scaling.demand import Demand
from penstock.scaling.series import Series
from penstock.scaling.share import Claim
from penstock.scaling.track import LONG, Track
from penstock.scaling.types import Seen, Terms
from penstock.serving.catalog import Catalog

START = 1_800_000_000


def busy(rate, seconds=120):
    series = Series()
    for second in range(seconds):
        series.add(START + second, rate)
    series.advance(START + seconds)
    return series


def look(model, rate, *, have=1, least=1, most=8, cores=1.0, size=0, **seen):
    facts = {"waiting": 0.0, "carries": 10.0, "wait_s": 0.2, "startup_s": 1.0, "starting": 0}
    looked = Seen(now=START + 120.0, series=busy(rate), ready=have, **(facts | seen))
    claim = Claim(name=model, have=have, least=least, want=have, cores=cores, bytes=size)
    return Look(looked, Terms(least=least, most=most, tick_s=1.0), claim)


def decide(looks, *others, cores=16.0, memory=inf):
    controller = Controller(Catalog(), None, Ledger())
    orders, _ = controller.decide((looks, others, Room(cores, memory)), {})
    return {model: decision for model, decision, _ in orders}


def test_each_gets_what_it_needs_where_there_is_room():
    found = decide({"a": look("a", 30.0), "b": look("b", 3.0)})
    assert found["a"].instances > 3
    assert found["b"].instances >= 1
    assert "limit" not in {each.by for each in found.values()}


def test_a_machine_that_is_too_small_is_shared_and_says_so():
    found = decide({"a": look("a", 60.0), "b": look("b", 60.0)}, cores=6.0)
    assert [found[name].instances for name in "ab"] == [3, 3]
    assert {each.by for each in found.values()} == {"limit"}
    assert found["a"].note == "8 wanted, and this machine has room for 3: each takes 1 cores"


def test_models_that_are_not_due_keep_what_they_have():
    other = Claim(name="b", have=3, least=3, want=3)
    assert decide({"a": look("a", 60.0)}, other, cores=5.0)["a"].instances == 2


def test_memory_bounds_what_is_added_and_not_what_is_there():
    there = decide({"a": look("a", 60.0, have=4, size=1 << 20)}, memory=1.5 * (1 << 20))
    assert there["a"].instances == 5
    assert there["a"].note.endswith("each takes 1 cores and 1 MiB")


def test_one_runs_however_little_there_is():
    assert decide({"a": look("a", 60.0)}, cores=0.0)["a"].instances == 1


def test_decisions_are_the_same_for_the_same_sight():
    looks = {"a": look("a", 42.0)}
    assert decide(looks) == decide(looks)


# -- what is counted ------------------------------------------------------------------------------


class Asked:
    def __init__(self, arrived=0):
        self.arrived = arrived


def test_rows_that_waited_for_a_cold_model_are_counted_when_they_came_and_once():
    demand, scheduler = Demand(), Asked()
    assert demand.rows([], cold=5) == 5
    scheduler.arrived = 7
    assert demand.rows([scheduler], cold=5) == 2
    scheduler.arrived = 10
    assert demand.rows([scheduler], cold=5) == 3


def test_rows_that_gave_up_on_a_cold_model_are_not_waited_for():
    demand, scheduler = Demand(), Asked()
    demand.rows([], cold=5)
    scheduler.arrived = 1
    assert demand.rows([scheduler], cold=5) == 0
    scheduler.arrived = 4
    assert demand.rows([scheduler], cold=5) == 3


def test_a_version_that_is_loaded_anew_counts_from_nothing():
    demand = Demand()
    assert demand.rows([Asked(9)], cold=0) == 9
    assert demand.rows([Asked(2)], cold=0) == 2


def test_what_missed_the_target_is_late_or_was_refused_for_want_of_time_or_room():
    demand, book = Demand(), Book("m", "1", lambda: 0.0)
    assert demand.outcome([book], 0.1) == (0.0, 0.0)
    book.served(3, 0.01, [0.0] * 3, [0.05, 0.09, 0.5])
    for reason in ("deadline", "overloaded", "invalid"):
        book.failed(reason, 0.0)
    assert demand.outcome([book], 0.1) == (3.0, 5.0)
    assert demand.outcome([book], 0.1) == (0.0, 0.0)
    assert demand.outcome([], 0.1) == (0.0, 0.0)


@pytest.mark.parametrize("late", [0.0, 0.7, 5.2])
def test_a_look_that_comes_late_makes_no_burst(late):
    track = Track("m", 10.0)
    track._looked = START - 1.0
    at = START + 0.0
    for turn in range(60):
        gap = 1.0 + (late if turn % 10 == 5 else 0.0)
        at += gap
        track._count(round(20 * gap), at)
    counts = track.series.seconds.last()[2:]
    assert counts.min() > 15
    assert counts.max() < 25


def test_after_a_long_sleep_nobody_knows_when_it_came():
    track = Track("m", 10.0)
    track._looked = START + 0.0
    track._count(500, START + 2 * LONG)
    track.series.advance(START + 2 * LONG + 1)
    assert track.series.seconds.last()[-1] == 500


def test_what_could_not_be_written_is_written_the_next_time():
    track = Track("m", 10.0)
    for second in range(30):
        track.series.add(START + second, 1.0)
    track.started(2.0, START)
    first = track.take(START + 30.0)
    assert first.starts == [(START, 2.0)]
    assert track.take(START + 30.0).starts == []
    track.give_back(first)
    again = track.take(START + 31.0)
    assert (again.starts, set(first.buckets) <= set(again.buckets)) == ([(START, 2.0)], True)


def test_a_tick_that_changes_nothing_is_no_line_of_the_log():
    decided = decide({"a": look("a", 30.0)})["a"]
    track = Track("a", 10.0)
    for at in range(3):
        track.decided(decided, START + at)
    track.decided(replace(decided, instances=decided.instances + 1), START + 9)
    assert [each.wanted for each in track.told] == [decided.instances + 1, decided.instances]
    assert len(track.history.at) == 4


def test_a_model_that_cannot_be_decided_upon_keeps_nobody_else_waiting(caplog):
    broken = replace(look("a", 30.0), terms=None)
    found = decide({"a": broken, "b": look("b", 30.0)})
    assert found.keys() == {"b"}
    assert "model a: nothing was decided" in caplog.text


def test_instances_that_load_have_been_given_their_memory():
    loading = Claim(name="b", have=3, least=3, want=3, bytes=1 << 20)
    found = decide({"a": look("a", 60.0, size=1 << 20)}, loading, memory=2 * (1 << 20))
    assert found["a"].instances == 3


def test_a_clock_that_is_set_back_begins_the_history_anew_and_makes_no_burst(caplog):
    track = Track("m", 10.0)
    track._looked = START - 1.0
    for second in range(30):
        track._count(10, START + second + 0.0)
    for second in range(30):
        track._count(10, START - 3600.0 + second)
    assert "the clock was set back" in caplog.text
    assert track.series.rate(20) == pytest.approx(10.0, rel=0.1)


def test_a_target_that_moves_makes_nobody_late_who_was_not():
    demand, book = Demand(), Book("m", "1", lambda: 0.0)
    book.served(1, 0.01, [0.0] * 1000, [0.45] * 1000)
    demand.outcome([book], 0.48)
    book.served(1, 0.01, [0.0] * 10, [0.1] * 10)
    assert demand.outcome([book], 0.40) == (0.0, 10.0)
