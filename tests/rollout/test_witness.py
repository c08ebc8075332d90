"""What became of divided requests, as the judge is told: each once, in both arms alike."""

from math import inf, isnan
from typing import Any

import numpy as np
import pytest

from penstock.core.errors import DeadlineExceeded, EngineFailed, InstanceLost, PenstockError
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing
from penstock.rollout.columns import Rates
from penstock.rollout.evidence.requests import Requests
from penstock.rollout.witness import COLD, FULL, Witness
from penstock.serving.split import Relay

REPLY = Reply("m", "1", {}, Timing(0.0, 0.001, 1, 0.002))


class Stand:
    """A witness with a clock, and what it has told."""

    def __init__(self, *, warm: bool = True) -> None:
        self.now = 100.0
        self.rows: list[dict[str, Any]] = []
        self.alarms: list[str] = []
        self.answered: list[bool] = []
        self.witness = Witness(
            self._fold,
            lambda guard, why: self.alarms.append(guard),
            lambda ticket, reply, candidate, odds, unit: self.answered.append(candidate),
            lambda: self.now,
        )
        if warm:
            self.witness._tried = COLD

    def _fold(self, seen: Requests) -> None:
        names = seen.__struct_fields__
        self.rows += [{name: getattr(seen, name)[at].item() for name in names} for at in range(len(seen))]

    def told(self) -> list[dict[str, Any]]:
        self.witness.flush()
        return self.rows

    def stable(self, *, deadline: float = inf, unit: int = 0) -> Ticket:
        ticket = Ticket(Request(model="m", inputs={}), 1, self.now, deadline)
        self.witness.asked(ticket, 0.25, unit)
        return ticket

    def candidate(self, *, deadline: float = inf, unit: int = 0, beside: bool = False) -> Relay:
        relay = Relay(Request(model="m", inputs={}), 1, self.now, deadline)
        relay.odds, relay.unit, relay.witness, relay.beside = 0.25, unit, self.witness, beside
        self.witness.tried(relay)
        return relay

    def end(self, asked: Ticket, after: float, error: PenstockError | None = None) -> None:
        self.now += after
        if isinstance(asked, Relay):
            asked.ended = self.now
            asked.settle(None if error else REPLY, error)
        elif error is not None:
            asked.fail(error)
        else:
            asked.answer(REPLY)


@pytest.mark.parametrize("arm", ["stable", "candidate"])
def test_an_answer_is_told_with_its_arm_odds_latency_and_cost(arm):
    stand = Stand()
    stand.witness.rates = Rates(cpu=10.0, cpu_joules=5.0)
    stand.end(getattr(stand, arm)(), 0.5)
    assert stand.told() == [
        {
            "candidate": arm == "candidate", "odds": 0.25, "seconds": 0.5, "failed": False,
            "timed_out": False, "cost": 0.02, "joules": 0.01, "unit": 0, "cold": False,
        }
    ]  # fmt: skip
    assert (stand.witness.stable + stand.witness.candidate, stand.witness.flight) == (1, {})


@pytest.mark.parametrize("arm", ["stable", "candidate"])
@pytest.mark.parametrize(
    ("error", "failed", "timed_out"), [(EngineFailed("x"), True, False), (DeadlineExceeded("x"), False, True)]
)
def test_an_error_is_no_latency(arm, error, failed, timed_out):
    stand = Stand()
    stand.end(getattr(stand, arm)(), 0.5, error)
    (row,) = stand.told()
    assert (row["failed"], row["timed_out"], row["seconds"], isnan(row["cost"])) == (
        failed,
        timed_out,
        inf,
        True,
    )


@pytest.mark.parametrize("arm", ["stable", "candidate"])
def test_who_has_used_up_half_of_his_time_counts_as_out_of_time_in_both_arms(arm):
    """Once, though he is answered later."""
    stand = Stand()
    asked = getattr(stand, arm)(deadline=110.0)
    assert stand.witness.overdue(104.0, inf) == []
    half = stand.witness.overdue(106.0, inf)
    assert half == ([asked] if arm == "candidate" else [])
    if arm == "candidate":
        stand.end(asked, 6.0, DeadlineExceeded("given up"))
    else:
        stand.witness.overdue(107.0, inf)
        stand.end(asked, 8.0)
    (row,) = stand.told()
    assert (row["timed_out"], row["candidate"], row["seconds"]) == (True, arm == "candidate", inf)


@pytest.mark.parametrize("arm", ["stable", "candidate"])
@pytest.mark.parametrize("error", [None, EngineFailed("x")])
def test_who_runs_for_long_is_slow_now_and_not_again_when_it_ends(arm, error):
    stand = Stand()
    asked = getattr(stand, arm)()
    stand.witness.overdue(101.0, 0.5)
    stand.witness.overdue(102.0, 0.5)
    stand.end(asked, 3.0, error)
    rows = stand.told()
    assert [(row["seconds"], row["cold"]) for row in rows if not row["failed"]] == [(inf, False)]
    assert [row["cold"] for row in rows if row["failed"]] == [True] * (error is not None)


@pytest.mark.parametrize("arm", ["stable", "candidate"])
def test_the_first_requests_of_the_candidate_count_for_errors_alone(arm):
    """Also those that end when others no longer are first, and those of the other version."""
    stand = Stand(warm=False)
    first = getattr(stand, arm)()
    for _ in range(2 * COLD):
        stand.end(stand.candidate(), 0.0)
    stand.end(first, 4.0)
    rows = stand.told()
    assert [row["cold"] for row in rows if row["seconds"] == 4.0] == [True]
    assert sum(row["cold"] for row in rows) == COLD + (arm == "stable")


def test_a_caller_who_has_gone_is_told_of_nobody():
    stand = Stand()
    for asked in (stand.stable(), stand.candidate()):
        asked.cancel()
    assert (stand.told(), stand.witness.flight, stand.answered) == ([], {}, [])


def test_beside_a_baseline_the_stable_version_counts_for_errors_alone():
    stand = Stand()
    stand.witness.aside = True
    stand.end(stand.stable(), 1.0)
    stand.end(stand.candidate(beside=True), 2.0)
    stand.end(stand.candidate(), 3.0)
    told = {row["seconds"]: (row["candidate"], row["cold"]) for row in stand.told()}
    assert told == {1.0: (False, True), 2.0: (False, False), 3.0: (True, False)}


def test_a_crash_of_the_candidate_alone_acts_at_once():
    stand = Stand()
    stand.end(stand.stable(), 0.1, InstanceLost("it ended"))
    stand.end(stand.candidate(beside=True), 0.1, InstanceLost("it ended"))
    assert stand.alarms == []
    stand.end(stand.candidate(), 0.1, InstanceLost("it ended"))
    assert stand.alarms == ["crash"]


def test_what_has_gathered_is_handed_over_before_it_is_much():
    stand = Stand()
    for _ in range(FULL):
        stand.end(stand.stable(), 0.0)
    assert len(stand.rows) == FULL


def test_one_answer_in_so_many_is_handed_on():
    stand = Stand()
    stand.witness.every = 4
    for _ in range(40):
        stand.end(stand.stable(), 0.0)
        stand.end(stand.candidate(), 0.0)
    assert sorted(stand.answered) == [False] * 10 + [True] * 10


def test_the_unit_of_a_returning_caller_survives_as_a_double_holds_it():
    stand = Stand()
    stand.end(stand.candidate(unit=2**64 - 1), 0.0)
    (row,) = stand.told()
    assert np.float64(row["unit"]) == row["unit"] == 2**53 - 1
