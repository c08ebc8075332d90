"""The benchmark's simulation and rivals, where their rules can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.scaling_fluid import Line, Look, run
from benchmarks.scaling_real import predicted
from benchmarks.scaling_rivals import Hpa, Ours, RayServe, Tracking
from benchmarks.scaling_traces import Trace, made, requests
from penstock.scaling.types import Terms


def look(now: int, **facts: float) -> Look:
    return Look(
        now=now,
        counts=np.zeros(10),
        waiting=facts.get("waiting", 0.0),
        ready=int(facts.get("ready", 10)),
        starting=int(facts.get("starting", 0)),
        served=facts.get("served", 0.0),
        missed=0.0,
        asked=facts.get("asked", 0.0),
        carries=10.0,
        startup_s=30.0,
    )


def test_what_is_over_capacity_waits_and_is_late_once_the_line_is_longer_than_the_target():
    """Ten a step come and eight go, so two more wait each time; 16 can go within the target."""
    line = Line()
    served, late = line.pass_(np.full(20, 10, np.float32), 8.0)
    assert (served, line.waiting) == (160.0, 40.0)
    assert late == sum(min(10, max(0, 2 * k - 16)) for k in range(1, 21))
    assert line.pass_(np.zeros(5, np.float32), 8.0) == (40.0, 0.0)


def test_an_instance_that_starts_counts_from_its_beginning_and_serves_after_its_start_up():
    trace = Trace("t", "smooth", np.full(600, 10, np.float32))
    few = run(trace, lambda seen: 40, 20.0, 1, 50)
    assert few.counts.tolist() == [1, 40, 40, 40, 40, 40]
    assert few.hours == pytest.approx((1 + 5 * 40) * 10 / 3600)
    assert 0.3 < few.share < 0.9
    assert run(trace, lambda seen: 14, 0.0, 14, 20).share == 0.0


@pytest.mark.parametrize(
    ("busy", "ready", "starting", "expected"),
    [
        (0.7, 10, 0, 10),
        (0.76, 10, 0, 10),
        (0.84, 10, 0, 12),
        (1.0, 10, 0, 15),
        (1.0, 10, 5, 15),
        (0.35, 10, 0, 5),
    ],
)
def test_hpa_recommends_as_kubernetes_documents_it(busy, ready, starting, expected):
    assert Hpa()._recommended(busy, ready, starting) == expected


def test_hpa_goes_down_only_to_the_most_of_five_minutes():
    hpa = Hpa()
    seen = [look(now, served=700.0 if now < 100 else 350.0) for now in range(10, 700, 10)]
    counts = [hpa(each) for each in seen]
    assert counts[10:35] == [10] * 25
    assert counts[-1] == 5


def test_ray_goes_up_after_half_a_minute_and_down_after_ten():
    ray = RayServe()
    up = [ray(look(now, ready=10, waiting=60.0)) for now in range(10, 70, 10)]
    assert up == [10, 10, 10, 30, 30, 30]
    down = [ray(look(now, ready=30, waiting=0.0)) for now in range(70, 800, 10)]
    assert down[50] == 30
    assert down[-1] == 1


def test_tracking_waits_for_three_minutes():
    rule = Tracking()
    counts = [rule(look(now, ready=10, asked=10 * 140.0)) for now in range(10, 200, 10)]
    assert counts[16] == 10
    assert counts[17] == 20


def test_made_requests_have_the_dispersion_that_they_were_made_with():
    counts = requests(np.full(20_000, 50.0), 4.0, np.random.default_rng(1))
    assert counts.var() / counts.mean() == pytest.approx(4, rel=0.1)


def test_a_seed_makes_the_same_trace():
    assert (made("steps", 0.1, 3).counts == made("steps", 0.1, 3).counts).all()
    assert (made("steps", 0.1, 3).counts != made("steps", 0.1, 4).counts).any()


def test_ours_beats_a_reaction_where_rises_take_as_long_as_a_start():
    """A ramp of five minutes, every half hour; to be there when it comes is what the package is for."""
    at = np.arange(6 * 3600)
    rate = np.interp(at % 1800, (0, 600, 900, 1500, 1800), (50, 50, 200, 200, 50))
    trace = Trace("ramps", "steps", requests(rate, 1.0, np.random.default_rng(1)))
    ours = run(trace, Ours(Terms(most=100)), 60.0, 12, 100)
    reaction = run(trace, Ours(Terms(most=100, ahead=False, headroom=1.0)), 60.0, 12, 100)
    assert ours.share < reaction.share / 2


def test_one_line_before_several_instances_goes_to_the_first_that_is_free():
    assert predicted(np.array([0.0, 0.0, 0.1]), np.array([1.0, 0.5, 1.0]), 2) == pytest.approx(
        [1.0, 0.5, 1.4]
    )
