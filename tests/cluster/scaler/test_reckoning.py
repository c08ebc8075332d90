"""Looks in, replicas out, on made-up time: a ramp, replicas that are lost, and what cannot be decided."""

from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from penstock.cluster.scaler.reckoning import Reckoning, nudged
from penstock.cluster.scaler.trigger import read
from penstock.core.errors import Unavailable, UnknownModel
from tests.cluster.scaler.replica import point
from tests.cluster.scaler.test_flow import look

CARRIES = 10.0
METADATA = {
    "model": "m", "replicas": "x:1", "most": "50", "target": "200", "carries": "10", "startupSeconds": "30",
}  # fmt: skip


def reckoning(**changed):
    return Reckoning(read(METADATA | {key: str(value) for key, value in changed.items()}))


def run(made, rates, replicas=2, every=1, start=0):
    """Wanted after each second of traffic at these rates, shared by so many replicas."""
    random, found, sums = np.random.default_rng(1), [], np.zeros(replicas)
    for second, rate in enumerate(rates, start):
        sums = sums + random.poisson(rate / replicas, replicas)
        if second % every == 0:
            points = {f"r{i}": point(second, float(each), target_s=0.0) for i, each in enumerate(sums)}
            made.note(look(second, every=every, **points))
        found.append(made.wanted)
    return found


def test_a_ramp_is_met_before_it_comes():
    """Replicas that are asked for a start-up earlier would have been there when the rate was."""
    made = reckoning()
    rates = [20.0] * 600 + [20 + (second * 0.2) for second in range(600)]
    wanted = run(made, rates)
    late = [
        second
        for second in range(640, 1200)
        if max(wanted[second - 120 : second - 45]) < ceil(rates[second] / CARRIES)
    ]
    assert len(late) < 0.02 * 560
    assert wanted[-1] <= 2 * rates[-1] / CARRIES  # and not by wanting any number


def test_steady_traffic_wants_a_steady_number():
    wanted = run(reckoning(), [50.0] * 900)[600:]
    assert min(wanted) >= 6
    assert max(wanted) <= 12
    assert len([1 for a, b in pairwise(wanted) if a != b]) <= 6


@pytest.mark.parametrize("every", [5, 15])
def test_scrapes_that_are_far_between_want_nearly_as_many(every):
    fine = max(run(reckoning(), [50.0] * 900)[600:])
    coarse = max(run(reckoning(), [50.0] * 900, every=every)[600:])
    assert abs(coarse - fine) <= 2


def test_late_counts_are_no_idle_time():
    """Where scrapes are far between, the newest of them are no sign that traffic has ended."""
    rare = {"serverAddress": "http://x", "demand": "x", "least": "0", "idleSeconds": "5"}
    made = Reckoning(read({key: value for key, value in METADATA.items() if key != "replicas"} | rare))
    for second in range(0, 300, 15):
        points = [point(second - ago, 50.0 * (second - ago)) for ago in (24, 9)]
        made.note(look(second, every=15, demand=50.0, r0=points))
        assert made.wanted > 0 or second < 30


NONE = {"serverAddress": "http://x", "demand": "x", "least": "0", "idleSeconds": "20", "holdSeconds": "10"}


def test_from_none_at_all_one_is_wanted_as_soon_as_somebody_asks():
    made = Reckoning(read({"model": "m", "most": "9"} | NONE))
    for second in range(60):
        made.note(look(second, demand=0.0))
    assert made.wanted == 0
    for second in range(60, 80):
        made.note(look(second, demand=50.0))
    assert made.wanted == 1  # what one carries nobody has said yet


def test_what_replicas_said_holds_while_there_are_none():
    made = Reckoning(read({"model": "m", "most": "9", "target": "200"} | NONE))
    for second in range(30):
        made.note(look(second, demand=50.0, r0=point(second, carries=10.0)))
    assert made.wanted > 4
    for second in range(30, 120):
        made.note(look(second, demand=0.0))
    assert made.wanted == 0
    for second in range(120, 150):
        made.note(look(second, demand=50.0))
    assert made.wanted > 4


def test_nothing_to_do_wants_the_least():
    assert run(reckoning(least=2), [0.0] * 300)[-1] == 2


def test_no_fewer_while_one_that_carried_traffic_says_nothing():
    made = reckoning(holdSeconds=0, staleSeconds=60)
    before = run(made, [50.0] * 300)[-1]
    for second in range(300, 340):
        made.note(look(second, silent=["r1"], r0=point(second, 25.0 * second)))
    assert made.wanted >= before
    for second in range(340, 500):
        made.note(look(second, silent=["r1"], r0=point(second, 25.0 * second)))
    assert made.wanted < before  # one that stays silent does not hold it for ever


def test_a_scaler_that_has_just_been_started_takes_nobody_away():
    made = reckoning(holdSeconds=60)
    for second in range(50):
        made.note(look(second, **{f"r{i}": point(second) for i in range(9)}))
        assert made.wanted == 9
    for second in range(50, 90):
        made.note(look(second, **{f"r{i}": point(second) for i in range(9)}))
    assert made.wanted == 1


def test_what_replicas_carry_is_theirs_to_say_where_the_metadata_does_not():
    made = Reckoning(read({key: value for key, value in METADATA.items() if key != "carries"}))
    for second in range(120):
        made.note(look(second, r0=point(second, 50.0 * second, carries=100.0, startup_s=7.0)))
    assert made.decision.carries == 100
    assert made.wanted < 3


def test_the_lead_is_start_up_and_the_autoscalers_own_delay():
    from penstock.cluster.scaler.standing import standing

    made = reckoning(startupSeconds=30)
    assert made.startup_s(standing(look(0, a=point(0)))) == 45
    assert made.startup_s(standing(look(0, a=point(0, startup_s=80.0)))) == 95


def test_an_unknown_model_is_said():
    with pytest.raises(UnknownModel, match="no replica has a model 'm'"):
        reckoning().note(look(0, r0=point(0, known=False, ready=False)))


@pytest.mark.parametrize(
    ("key", "sentence"), [("target", "has no target to hold"), ("carries", "give carries")]
)
def test_what_nobody_says_must_be_given(key, sentence):
    made = Reckoning(read({name: value for name, value in METADATA.items() if name != key}))
    with pytest.raises(Unavailable, match=sentence):
        made.note(look(0, r0=point(0)))


# -- what the autoscaler ignores ------------------------------------------------------------------


def autoscaled(current, metric, tolerance=0.1):
    return current if abs(metric / current - 1) <= tolerance else ceil(metric)


@pytest.mark.parametrize("more", [1, 2, 3, 9])
def test_growth_is_asked_for_so_that_the_autoscaler_acts(more):
    for there in range(1, 60):
        got = autoscaled(there, nudged(there + more, there, 0.1, 1000))
        assert there + more <= got <= max(there + more, there * 1.1 + 1)


def test_nothing_else_is_changed():
    assert nudged(20, 20, 0.1, 99) == 20
    assert nudged(19, 20, 0.1, 99) == 19
    assert nudged(3, 0, 0.1, 99) == 3
    assert nudged(21, 20, 0.0, 99) == 21
    assert nudged(21, 20, 0.1, 21) == 21  # there are no more to be had
