"""Turns of entrants that write down what they were asked, and take as long as they are told to."""

from itertools import pairwise

import pytest

from penstock.metering.energy.probe import NullProbe
from penstock.optimize.measure import LONGEST, MOST, SIZES, SLOWER, Rounds, compare, figures, pace, sizes
from penstock.optimize.messages import Spun
from penstock.optimize.types import Candidate

ROUNDS = Rounds(10, 0.12, (1, 4))


class Fake:
    """Takes ``row`` seconds for each row of a batch, and begins no run after its limit."""

    def __init__(self, name, row, asked, instances=1, alone=False):
        self.name, self.row, self.asked, self.alone = name, row, asked, alone
        self.candidate = Candidate(name, "onnx", instances, 1)

    def one(self, rows, runs, start, limit):
        return self.spin("one", rows, runs, start, limit)

    def all(self, rows, runs, start, limit):
        return self.spin("all", rows, runs, start, limit)

    def spin(self, how, rows, runs, start, limit):
        self.asked.append((self.name, how, rows, runs, start))
        each, done = self.row * rows, 1
        while done < runs and done * each <= limit:
            done += 1
        return Spun((each,) * done, rows * done, each * done, each * done, 0)


def course(row=0.001, candidate=0.0005, rounds=ROUNDS, unit=1, **options):
    """(what was asked once both were warm, the turns of both)."""
    asked = []
    pair = Fake("old", row, asked), Fake("new", candidate, asked, **options)
    turns = compare(*pair, rounds, unit, NullProbe())
    return asked[-2 * rounds.count * len(turns[0]) :], asked, turns


def test_both_take_turns_on_the_same_rows_and_who_begins_alternates():
    asked, _, _ = course()
    pairs = list(zip(asked[::2], asked[1::2], strict=True))
    assert all({one[0], other[0]} == {"old", "new"} for one, other in pairs)
    assert all(one[1:] == other[1:] for one, other in pairs)
    rounds = [pairs[at : at + 3] for at in range(0, len(pairs), 3)]
    assert [{one[0] for one, _ in each} for each in rounds] == [{"new"}, {"old"}] * 5


def test_every_round_has_every_size_and_goes_on_where_the_last_one_ended():
    asked, _, turns = course()
    assert [(how, rows) for name, how, rows, _, _ in asked if name == "old"] == [
        ("one", 1),
        ("all", 1),
        ("all", 4),
    ] * ROUNDS.count
    alone = [(start, runs) for name, how, _, runs, start in asked if (name, how) == ("old", "one")]
    assert all(start + runs == after for (start, runs), (after, _) in pairwise(alone))
    assert [len(each) for each in turns[1].values()] == [ROUNDS.count] * 3


def test_the_candidate_is_warm_at_each_size_before_any_round():
    asked, everything, _ = course()
    before = everything[: -len(asked)]
    assert {(how, rows) for name, how, rows, _, _ in before if name == "new"} == {
        ("one", 1),
        ("all", 1),
        ("all", 4),
    }


def test_a_candidate_that_is_much_slower_is_cut_off_in_its_turn_and_told_as_it_is():
    _, _, turns = course(candidate=0.1, rounds=Rounds(6, 0.12, ()))
    ran = [len(each.spun.seconds) for each in turns[1][0]]
    assert [len(each.spun.seconds) for each in turns[0][0]] == [120] * 6
    assert max(ran) * 0.1 <= SLOWER * 0.12 + 0.1
    assert figures(*turns, 0.0, 0, 0).speedup.mid == pytest.approx(0.01)


def test_a_turn_has_as_many_runs_as_it_takes_and_no_more_than_tell_something():
    assert pace(Fake("old", 0.01, []), 0, 1, 0.12)[0] == 12
    assert pace(Fake("old", 1e-6, []), 0, 1, 0.12)[0] == MOST
    assert pace(Fake("old", 5.0, [], instances=2), 1, 1, 0.12)[0] == 4


def test_batches_that_would_take_too_long_are_not_measured():
    assert sizes(Fake("old", LONGEST / 20, []), SIZES, 1) == [0, 1, 4, 16]
    assert sizes(Fake("old", 2 * LONGEST, []), SIZES, 1) == [0, 1]


@pytest.mark.parametrize(
    ("unit", "alone", "expected"), [(8, False, [0, 8]), (0, False, [0, 1]), (1, True, [0, 1])]
)
def test_what_cannot_be_batched_otherwise_has_one_size(unit, alone, expected):
    assert expected == sizes(Fake("old", 1e-4, []), SIZES, unit, alone=alone)


def test_figures_are_of_the_rounds_of_both():
    _, _, turns = course()
    found = figures(*turns, 1.5, 7, 9)
    assert (found.rounds, found.load_s, found.memory_bytes, found.file_bytes) == (10, 1.5, 7, 9)
    assert (found.p50_ms, found.beside_ms) == (pytest.approx(0.5), pytest.approx(1.0))
    assert [(each.rows, round(each.gain.mid, 9)) for each in found.batches] == [(1, 2.0), (4, 2.0)]
    assert found.batches[0].joules is None
