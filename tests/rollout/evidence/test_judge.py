from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.rollout.evidence.judge import WEIGHTS, Bound, Judge
from penstock.rollout.evidence.margins import defaults
from penstock.rollout.evidence.once import MOST
from penstock.rollout.evidence.requests import Requests
from tests.rollout.evidence.streams import chunks, drawn, judge, label_wealth, requests, said, some

EVERY = tuple(WEIGHTS)
TIMED = ("errors", "p50", "p95", "p99", "cost")


def everything(**kwargs):
    plan = defaults("canary", 1000.0)
    bounds = {name: Bound(alarm, plan.targets[0][name]) for name, alarm in plan.alarms.items()}
    return Judge(bounds, **kwargs)


# -- promises -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odds", [0.05, 0.5])
def test_a_good_version_is_taken_back_less_often_than_promised(odds):
    """No margins at all, so that the promise is what holds; four stages, a look each 128 requests."""
    rng = np.random.default_rng(11)
    runs, found = 80, 0
    for _ in range(runs):
        made = judge(0.05, guards=TIMED)
        for stage in range(3):
            if stage:
                made.begin({})
            for seen in chunks(drawn(rng, 1280, odds, errors=(0.05, 0.05)), 128):
                made.fold(seen)
        found += bool(made.alarmed())
    assert found / runs <= 0.05


def test_a_version_at_its_target_passes_less_often_than_allowed():
    rng = np.random.default_rng(12)
    runs, passed = 150, dict.fromkeys(("errors", "p50"), 0)
    for _ in range(runs):
        made = Judge({"errors": Bound(99.0, 2.0), "p50": Bound(99.0, 1.2)}, 0.01)
        for seen in chunks(drawn(rng, 2560, 0.2, errors=(0.05, 0.1), slower=1.2), 256):
            made.fold(seen)
        for name, guard in said(made).items():
            passed[name] += guard.verdict == "pass"
    assert max(passed.values()) / runs <= 0.05


def test_a_failing_version_is_found_within_a_hundred_requests():
    rng = np.random.default_rng(13)
    made = everything()
    seen = 0
    while not made.alarmed():
        chunk = drawn(rng, 512, 0.01, errors=(0.001, 0.1))
        made.fold(chunk)
        seen += chunk.candidate.sum()
    assert "errors" in made.alarmed()
    assert seen <= 100
    assert said(made)["errors"].verdict == "fail"


def test_a_slow_version_is_found_by_its_latency():
    rng = np.random.default_rng(14)
    made = everything()
    for seen in chunks(drawn(rng, 40_000, 0.1, slower=1.4), 500):
        made.fold(seen)
    found = said(made)
    assert found["p50"].verdict == "fail"
    assert found["p50"].low < 1.4 < found["p50"].high
    assert found["p50"].effect == pytest.approx(1.4, rel=0.1)
    assert found["errors"].verdict != "fail"


def test_a_good_version_passes():
    rng = np.random.default_rng(15)
    made = everything()
    for seen in chunks(drawn(rng, 120_000, 0.05, errors=(0.0, 0.0)), 4000):
        made.fold(seen)
    made.compared([False] * 800, [False] * 800)
    found = said(made)
    wanted = ("errors", "timeouts", "p50", "p95", "p99", "cost", "answers")
    assert dict.fromkeys(wanted, "pass") == {name: found[name].verdict for name in wanted}


def test_a_slow_day_for_both_is_no_fault():
    """The whole machine is three times as slow while the candidate has most of the traffic."""
    rng = np.random.default_rng(16)
    made = judge(0.01, guards=TIMED)
    for odds, slower in ((0.01, 1.0), (0.25, 3.0), (0.5, 3.0)):
        calm = drawn(rng, 20_000, odds)
        slow = requests(
            calm.candidate, odds, calm.seconds * slower, failed=calm.failed, cost=calm.cost * slower
        )
        for seen in chunks(slow, 500):
            made.fold(seen)
        made.begin({})
    assert made.alarmed() == ()


# -- arithmetic ---------------------------------------------------------------------------------------


def test_errors_are_judged_by_the_label_process():
    rng = np.random.default_rng(21)
    made = judge(0.01, alarm=1.25)
    seen = drawn(rng, 3000, 0.05, errors=(0.05, 0.06))
    for chunk in chunks(seen, 512):
        made.fold(chunk)
    events = [(mine, 0.05) for mine in seen.candidate[seen.failed]]
    wealth = np.exp(label_wealth("up", 1.25, events))
    expected = np.log(0.4 * wealth + 0.6) / np.log(1 / 0.01)
    assert said(made)["errors"].against == pytest.approx(max(0.0, expected))


@pytest.mark.parametrize("size", [1, 7, 512])
def test_chunks_do_not_change_what_is_said(size):
    """As long as no threshold is due to be read anew."""
    rng = np.random.default_rng(22)
    whole, parted = everything(), everything()
    for each in (whole, parted):
        for seen in chunks(drawn(np.random.default_rng(1), 4200, 0.3), 700):
            each.fold(seen)
    seen = drawn(rng, 600, 0.3)
    whole.fold(seen)
    for chunk in chunks(seen, size):
        parted.fold(chunk)
    for one, other in zip(whole.verdicts(1.0), parted.verdicts(1.0), strict=True):
        assert one.verdict == other.verdict
        assert one.events == other.events
        assert one.against == pytest.approx(other.against)
        assert one.for_ == pytest.approx(other.for_)


def test_a_threshold_is_not_the_doing_of_those_it_judges():
    """A chunk of very slow requests is judged by what was seen before it."""
    rng = np.random.default_rng(23)
    made = judge(guards=("p50",))
    made.fold(drawn(rng, 600, 0.3, errors=(0, 0)))
    assert made.threshold() == inf
    made.fold(drawn(rng, 1, 0.3, errors=(0, 0)))
    before = made.threshold()
    assert before == pytest.approx(0.1, rel=0.1)
    slow = drawn(rng, 600, 0.3, errors=(0, 0))
    made.fold(requests(slow.candidate, 0.3, slow.seconds * 100))
    assert said(made)["p50"].events >= 600


def test_requests_past_every_threshold_count_as_slow():
    rng = np.random.default_rng(24)
    made = everything()
    for seen in chunks(drawn(rng, 6000, 0.3), 500):
        made.fold(seen)
    limit, other = made.threshold(), Judge.load(made.dump())
    seen = drawn(rng, 2000, 0.3)
    made.fold(seen)
    other.fold(
        requests(
            seen.candidate,
            0.3,
            np.where(seen.seconds > limit, inf, seen.seconds),
            failed=seen.failed,
            cost=seen.cost,
            joules=seen.joules,
        )
    )
    assert [guard.against for guard in made.verdicts(1)] == [guard.against for guard in other.verdicts(1)]


def test_cold_requests_count_for_errors_alone():
    rng = np.random.default_rng(25)
    made = everything()
    seen = drawn(rng, 5000, 0.3)
    for chunk in chunks(
        requests(
            seen.candidate, 0.3, seen.seconds, failed=seen.failed, cost=seen.cost, cold=np.ones(5000, bool)
        ),
        500,
    ):
        made.fold(chunk)
    found = said(made)
    assert found["errors"].events == seen.failed.sum()
    assert (found["p50"].seen, found["cost"].seen) == (0, 0)
    assert found["cost"].verdict == "off"


def test_odds_of_none_and_all_tell_nothing_but_the_threshold():
    made = judge(guards=("errors", "p50"), alarm=1.1)
    for odds in (0.0, 1.0):
        for _ in range(3):
            made.fold(
                requests(
                    np.full(500, odds == 1),
                    odds,
                    np.full(500, 0.2 if odds else 0.1),
                    failed=np.ones(500, bool) * (odds == 1),
                )
            )
    assert made.alarmed() == ()
    assert said(made)["errors"].events == 0
    assert made.threshold() == inf
    made.fold(drawn(np.random.default_rng(1), 1, 0.5))
    assert made.threshold() == pytest.approx(0.11, rel=0.02)


# -- stages -------------------------------------------------------------------------------------------


def test_a_stage_begins_its_proofs_anew_with_its_own_targets():
    rng = np.random.default_rng(31)
    made = judge(guards=("p50",), alarm=1.2, target=1.2)
    for seen in chunks(drawn(rng, 10_000, 0.3), 500):
        made.fold(seen)
    assert said(made)["p50"].verdict == "pass"
    made.begin({"p50": 1.1})
    now = said(made)["p50"]
    assert (now.verdict, now.target, now.for_) == ("not yet", 1.1, 0.0)
    made.begin({})
    assert said(made)["p50"].why == "it watches for an alarm alone"


def test_an_alarm_outlives_the_stage():
    rng = np.random.default_rng(32)
    made = judge()
    made.fold(drawn(rng, 2000, 0.3, errors=(0.0, 0.5)))
    made.begin({})
    assert made.alarmed() == ("errors",)


def test_risk_is_split_over_the_guards_that_are_watched():
    alone, beside = judge(0.01), judge(0.01, guards=("errors", "p99"))
    for made in (alone, beside):
        made.fold(requests(np.ones(3, bool), 0.2, np.full(3, inf), failed=np.ones(3, bool)))
    ratio = said(beside)["errors"].against / said(alone)["errors"].against
    whole = WEIGHTS["errors"] + WEIGHTS["p99"]
    assert ratio == pytest.approx(np.log(100) / np.log(100 * whole / WEIGHTS["errors"]))


# -- returning callers --------------------------------------------------------------------------------


def callers(rng, count, odds, people=300):
    """A few callers whose every request fails, each always on the same arm."""
    arms, broken = rng.random(people) < odds, rng.random(people) < 0.05
    who = rng.integers(0, people, count)
    units = rng.integers(1, 1 << 63, people).astype(np.uint64)
    return requests(
        arms[who], odds, rng.exponential(0.1, count), failed=broken[who], unit=units[who], cost=np.ones(count)
    )


def test_a_returning_caller_counts_once():
    unit = np.full(400, 77, np.uint64)
    made = judge(0.05, sticky=True)
    for chunk in chunks(
        requests(np.ones(400, bool), 0.05, np.full(400, inf), failed=np.ones(400, bool), unit=unit), 9
    ):
        made.fold(chunk)
    wealth = 0.4 * np.exp(label_wealth("up", 1.0, [(True, 0.05)]))
    assert said(made)["errors"].against == pytest.approx(max(0, np.log(wealth) / np.log(20)))
    assert said(made)["errors"].seen == 1
    made.begin({})
    made.fold(requests([True], 0.05, np.array([inf]), failed=np.array([True]), unit=unit[:1]))
    assert said(made)["errors"].seen == 1


def test_independent_requests_always_count():
    made = judge(0.05, sticky=True)
    unit = np.array([5] * 3 + [0] * 6, np.uint64)
    made.fold(requests(np.ones(9, bool), 0.5, np.full(9, inf), failed=np.ones(9, bool), unit=unit))
    wealth = np.exp(label_wealth("up", 1.0, [(True, 0.5)] * 7))
    assert said(made)["errors"].against == pytest.approx(np.log(0.4 * wealth + 0.6) / np.log(20), rel=0.4)


def test_callers_who_always_fail_do_not_take_a_good_version_back():
    """Counted by the request they would, in a fifth of the runs."""
    found = {True: 0, False: 0}
    for sticky in found:
        rng = np.random.default_rng(41)
        for _ in range(60):
            made = judge(0.05, sticky=sticky)
            for seen in chunks(callers(rng, 4000, 0.2), 500):
                made.fold(seen)
            found[sticky] += bool(made.alarmed())
    assert found[True] <= 3
    assert found[False] >= 12


def test_callers_are_counted_up_to_a_bound():
    made = judge(0.05, sticky=True, guards=("errors", "cost"))
    rng = np.random.default_rng(42)
    for _ in range(6):
        unit = rng.integers(1, 1 << 63, 50_000).astype(np.uint64)
        made.fold(
            requests(
                rng.random(50_000) < 0.5, 0.5, np.full(50_000, inf), failed=np.ones(50_000, bool), unit=unit
            )
        )
    assert len(made.dump()) < 1_000_000
    assert said(made)["errors"].seen <= (MOST + 50_000) / 2 * 1.02


# -- what is said -------------------------------------------------------------------------------------


def test_no_traffic_is_no_evidence():
    for guard in judge(guards=("errors", "p99"), alarm=1.1, target=1.5).verdicts(0.0):
        assert guard.verdict == "not yet"
        assert "no traffic is no evidence" in guard.why
        assert guard.needs_s is None


def test_what_cannot_be_certified_in_a_day_is_said_with_its_figure():
    made = judge(guards=("p99",), alarm=1.1, target=1.1)
    guard = said(made, rate=0.1)["p99"]
    assert (
        guard.why
        == "p99 within 10 % needs some 37,000 requests of the new version: 4 days at today's 0.1 a second"
    )
    assert guard.needs_s == pytest.approx(363_000, rel=0.01)


def test_needs_tells_about_how_many_requests_it_takes():
    """Of fifty runs, the median lies within a factor of two of what was said early on."""
    taken, said_early = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        made = judge(guards=("p95",), alarm=1.5, target=1.2)
        mine = 0
        while said(made)["p95"].verdict != "pass" and mine < 20_000:
            seen = drawn(rng, 2000, 0.1, errors=(0, 0))
            made.fold(seen)
            mine += seen.candidate.sum()
            if len(said_early) == seed and mine > 400:
                said_early.append(mine + (said(made)["p95"].needs or 0))
        taken.append(mine)
    assert 0.5 < np.median(taken) / np.median(said_early) < 2


def test_guards_come_in_their_order_and_only_those_asked_for():
    made = judge(guards=("p99", "errors", "answers"), alarm=0.1)
    assert [guard.name for guard in made.verdicts(1)] == ["errors", "p99", "answers"]


def test_an_unknown_guard_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no guard 'p98'; have errors, timeouts, p50"):
        judge(guards=("p98",))


# -- state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["stable", "baseline"])
@pytest.mark.parametrize("sticky", [False, True])
def test_state_goes_on_where_it_was(control, sticky):
    """Dumped and loaded after each step, beside one that is not."""
    rng = np.random.default_rng(51)
    whole, parted = (everything(sticky=sticky, control=control) for _ in range(2))
    for step in range(12):
        seen = callers(rng, 700, 0.5)
        for made in (whole, parted):
            made.fold(seen)
            made.compared([False, True], [False, False])
            made.answered(np.arange(300) % 7, seen.candidate[:300], seen.odds[:300], seen.unit[:300])
            made.labelled(seen.failed[:50], seen.candidate[:50], seen.odds[:50])
            if step % 3 == 2:
                made.tick()
            if step == 6:
                made.begin({"errors": 1.5, "p50": 1.1})
        parted = Judge.load(parted.dump())
        assert whole.verdicts(2.0) == parted.verdicts(2.0)
        assert whole.dump() == parted.dump()
        assert whole.threshold() == parted.threshold()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80", b"\x81\xa7version\x01"])
def test_what_is_no_state_is_refused(data):
    with pytest.raises(ValueError, match="evidence"):
        Judge.load(data)


def test_the_state_of_another_layout_is_refused():
    made = judge()
    made._state.version = 99
    with pytest.raises(ValueError, match="layout 99"):
        Judge.load(made.dump())


# -- odd columns --------------------------------------------------------------------------------------

ODD = st.sampled_from([0.0, 1e-300, 1e-12, 0.01, 1.0, 1e9, 1e300, inf, float("nan")])
ROWS = st.tuples(
    st.booleans(),
    st.sampled_from([0.0, 1e-300, 1e-12, 0.01, 0.5, 1 - 1e-12, 1.0]),
    ODD,
    st.booleans(),
    st.booleans(),
    ODD,
    ODD,
    st.integers(0, 3),
    st.booleans(),
)


def wild(rows):
    kinds = (bool, float, float, bool, bool, float, float, np.uint64, bool)
    return Requests(
        *(np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(ROWS, min_size=1, max_size=12), st.integers(1, 120)), max_size=4),
    st.booleans(),
)
def test_odd_columns_do_not_break_the_arithmetic(steps, sticky):
    """Nothing but numbers comes out, and no warning, whatever is measured."""
    made = everything(sticky=sticky)
    for rows, repeats in steps:
        made.fold(wild(rows * repeats))
        made.fold(some(wild(rows), slice(0, 0)))
        made.begin(dict.fromkeys(EVERY, 1.5 if repeats % 2 else None) | {"answers": 0.02})
    for guard in made.verdicts(1.0):
        for value in (guard.effect, guard.low, guard.high, guard.against, guard.for_, guard.needs_s):
            assert value is None or np.isfinite(value)
        assert 0 <= guard.against <= 1
        assert 0 <= guard.for_ <= 1
    assert Judge.load(made.dump()).verdicts(1.0) == made.verdicts(1.0)


def test_all_may_fail():
    made = everything()
    for _ in range(20):
        count = 600
        made.fold(
            requests(
                np.random.default_rng(0).random(count) < 0.01,
                0.01,
                np.full(count, inf),
                failed=np.ones(count, bool),
            )
        )
    assert made.alarmed() == ()


@pytest.mark.parametrize("errors", [0.002, 0.05])
def test_callers_who_meet_errors_in_either_arm_do_not_hide_that_there_are_twice_as_many(errors):
    runs, passed = 60, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        arms = rng.random(1000) < 0.2
        units, who = rng.integers(1, 1 << 63, 1000).astype(np.uint64), rng.integers(0, 1000, 20_000)
        failed = rng.random(20_000) < np.where(arms[who], 2 * errors, errors)
        made = judge(guards=("errors",), alarm=99.0, target=2.0, sticky=True)
        for seen in chunks(requests(arms[who], 0.2, np.ones(20_000), failed=failed, unit=units[who]), 512):
            made.fold(seen)
        passed += said(made)["errors"].verdict == "pass"
    assert passed / runs <= 0.05
