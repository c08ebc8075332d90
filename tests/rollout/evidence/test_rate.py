import numpy as np
import pytest

from penstock.rollout.evidence.rate import WIDEST, rate
from penstock.rollout.evidence.requests import Coins
from tests.rollout.evidence.streams import label_wealth

NONE = np.zeros(0, bool)


def fold(made, events, candidate, odds):
    made.fold(np.asarray(events, bool), Coins(candidate, np.full(len(candidate), odds)), None, None)


def clean(made, count, odds=0.5):
    """Requests without an event, half of them the candidate's."""
    fold(made, np.zeros(count), np.arange(count) % 2 == 0, odds)


def test_a_clean_record_passes_without_an_error_to_compare():
    """ln(2/0.05) / 0.002 requests of the candidate, and a little for the mixture."""
    made = rate(1.25, 3.0, 0.01)
    while not made.passed:
        clean(made, 20)
    assert 1800 <= made.counted.totals[3] <= 2600


def test_wrong_answers_have_no_clean_record():
    made = rate(1.1, 1.5, 0.01, slight=0.0)
    clean(made, 100_000)
    assert not made.passed


def test_a_record_at_the_slight_rate_passes_less_often_than_allowed():
    """Beside a stable version without errors, so that the ratio is beyond all bounds."""
    rng = np.random.default_rng(1)
    runs, passed = 300, 0
    for _ in range(runs):
        made = rate(99.0, 3.0, 0.01)
        for _ in range(10):
            candidate = rng.random(1000) < 0.5
            fold(made, candidate & (rng.random(1000) < 0.002), candidate, 0.5)
        passed += made.passed
    assert passed / runs <= 0.05


@pytest.mark.parametrize(
    ("events", "ratio"), [(0, WIDEST), (9, 1 + 0.002 * 10_000 / 10), (99, 1.5), (999, 1.5)]
)
def test_a_pass_excludes_a_ratio_or_a_slight_difference(events, ratio):
    """The wider of both, by the errors of stable so far."""
    made = rate(1.25, 1.5, 0.01)
    fold(made, np.arange(10_000) < events, np.zeros(10_000, bool), 0.5)
    clean(made, 2)
    assert made.ratio == pytest.approx(min(ratio, WIDEST))


def test_few_requests_widen_no_proof():
    made = rate(1.25, 1.5, 0.01)
    clean(made, 200)
    clean(made, 200)
    assert made.ratio == 1.5


def test_pass_is_the_label_process_beside_a_clean_record():
    rng = np.random.default_rng(2)
    made = rate(1.25, 3.0, 0.01, slight=0.0)
    candidate, events = rng.random(400) < 0.5, rng.random(400) < 0.3
    fold(made, events, candidate, 0.5)
    expected = label_wealth("down", 3.0, [(mine, 0.5) for mine in candidate[events]])
    assert made.passing.wealth() == pytest.approx(expected)


def test_effect_and_interval_hold_the_ratio_over_stages_of_other_shares():
    """While the rate of both triples with the share, which pooled arms would take for a fault."""
    rng = np.random.default_rng(3)
    made = rate(1.25, None, 0.01)
    for odds, base in ((0.02, 0.02), (0.5, 0.06)):
        candidate = rng.random(60_000) < odds
        events = rng.random(60_000) < np.where(candidate, 1.5 * base, base)
        fold(made, events, candidate, odds)
    stand = made.stand(0.5)
    assert stand.effect == pytest.approx(1.5, rel=0.1)
    assert 1.2 < stand.low < 1.5 < stand.high < 1.9


def test_interval_covers_whenever_one_looks():
    rng = np.random.default_rng(4)
    runs, missed = 100, 0
    for _ in range(runs):
        made = rate(99.0, None, 0.01)
        out = False
        for _ in range(12):
            candidate = rng.random(400) < 0.3
            fold(made, rng.random(400) < np.where(candidate, 0.15, 0.1), candidate, 0.3)
            stand = made.stand(0.3)
            out |= (stand.low or 0) > 1.5 or (stand.high or 99) < 1.5
        missed += out
    assert missed / runs <= 0.05
