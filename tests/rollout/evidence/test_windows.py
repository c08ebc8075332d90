from math import log

import numpy as np
import pytest

from penstock.rollout.evidence.judge import Bound, Judge
from penstock.rollout.evidence.windows import STAKES, Window, paired
from tests.rollout.evidence.streams import requests, said


def test_wealth_is_that_of_the_definition_window_by_window():
    differences = np.random.default_rng(1).normal(0.1, 0.3, 30)
    made = paired(1.1, 1.5, 0.05)
    wealth, passing, size = np.ones(5), np.ones(5), 0.0
    for count, difference in enumerate(differences, 1):
        made.fold(difference)
        if size:
            wealth *= 1 + STAKES * np.tanh((difference - log(1.1)) / size)
            passing *= 1 - STAKES * np.tanh((difference - log(1.5)) / size)
        size += max(1 / count, 0.05) * (abs(difference) - size)
    assert np.exp(made.against.wealth()) == pytest.approx(0.4 * wealth.mean() + 0.6)
    assert np.exp(made.passing.wealth()) == pytest.approx(passing.mean())


def test_bursts_that_hit_one_replica_alone_do_not_take_a_good_version_back():
    """Each of both is three times as slow in a tenth of the windows."""
    rng = np.random.default_rng(2)
    runs, found = 60, 0
    for _ in range(runs):
        made = Judge({"p50": Bound(1.0, None)}, 0.05, control="baseline")
        for _ in range(40):
            candidate = rng.random(60) < 0.5
            slow = np.where(rng.random(2) < 0.1, 3.0, 1.0)[candidate.astype(int)]
            made.fold(requests(candidate, 0.5, rng.exponential(0.1, 60) * slow))
            made.tick()
        found += bool(made.alarmed())
    assert found / runs <= 0.05


def test_a_slow_version_is_found_and_a_good_one_passes():
    rng = np.random.default_rng(3)
    for factor, verdict in ((1.5, "fail"), (1.0, "pass")):
        made = Judge({"p50": Bound(1.1, 1.2), "cost": Bound(1.1, 1.2)}, 0.01, control="baseline")
        for _ in range(150):
            candidate = rng.random(200) < 0.5
            seconds = np.exp(0.5 * rng.standard_normal(200)) * np.where(candidate, factor, 1.0)
            made.fold(requests(candidate, 0.5, seconds, cost=seconds))
            made.tick()
        found = said(made)
        assert [verdict] * 2 == [found["p50"].verdict, found["cost"].verdict]
        assert found["p50"].low < factor < found["p50"].high


def test_windows_with_too_few_requests_are_passed_over():
    made = Judge({"p99": Bound(1.1, None)}, control="baseline")
    made.fold(requests(np.arange(20) % 2 == 0, 0.5, np.ones(20)))
    made.tick()
    assert said(made)["p99"].events == 0


def test_a_window_keeps_no_more_than_its_bound():
    made = Window()
    for _ in range(3):
        made.add(np.ones(5000), np.arange(5000) % 2 == 0)
    assert len(made.candidate) == len(made.control) == 4096


@pytest.mark.parametrize(("slow", "sign"), [(True, 1), (False, -1)])
def test_time_outs_in_one_arm_alone_are_a_great_difference(slow, sign):
    made = Window()
    candidate = np.arange(200) % 2 == 0
    made.add(np.where(candidate == slow, np.inf, 0.1), candidate)
    assert made.quantile(0.5) == pytest.approx(sign * log(100))
