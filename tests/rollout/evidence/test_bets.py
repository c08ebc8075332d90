from math import log

import numpy as np
import pytest

from penstock.rollout.evidence.bets import alarm, part, proof, restart, until


def test_parts_of_all_stages_add_up_to_the_capital():
    assert sum(part(stage) for stage in range(200)) == pytest.approx(1.0)


def test_restarts_are_the_mean_of_processes_that_began_with_each_stage():
    """With the capital of stages to come lying idle."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 0.5, (3, 4))
    bets = alarm(4, 0.01)
    for stage, step in enumerate(steps):
        if stage:
            restart(bets, stage, alone=False)
        bets.add(step)
    processes = [part(at) * np.exp(steps[at:].sum(axis=0)).mean() for at in range(3)]
    idle = 1 - sum(part(at) for at in range(3))
    assert bets.wealth() == pytest.approx(log(sum(processes) + idle))


def test_stages_by_themselves_keep_only_their_own_part():
    bets = alarm(4, 0.01)
    bets.add(np.full(4, 2.0))
    restart(bets, 1, alone=True)
    assert bets.wealth() == pytest.approx(log(part(1)))


def test_what_is_settled_stays_settled():
    bets = alarm(4, 0.01)
    bets.add(np.full(4, 10.0))
    bets.add(np.full(4, -50.0))
    restart(bets, 1, alone=False)
    assert bets.settled
    assert bets.progress() == 1.0


def test_a_fault_that_begins_late_is_found_almost_as_soon_as_an_early_one():
    """Ten thousand steps of loss before it do not count."""
    bets = alarm(4, 0.01)
    bets.add(np.full(4, -1000.0))
    restart(bets, 1, alone=False)
    bets.add(np.full(4, 6.1))
    assert bets.settled


def test_steps_until_settled_are_those_of_the_fastest_bet():
    bets = proof(2)
    bets.logs = np.array((0.0, -1.0))
    assert until(bets, np.array((0.1, 0.5))) == pytest.approx((bets.limit + 1) / 0.5)
    assert until(bets, np.array((-0.1, 0.0))) == np.inf
