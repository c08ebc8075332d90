"""Decisions on instances, by tables and a made-up clock."""

import numpy as np
import pytest

from penstock.scaling.decide import Memory, decide
from penstock.scaling.series import Series
from penstock.scaling.types import Decision, Seen, Terms

START = 1_700_000_000


def course(
    rates: list[float], terms: Terms, startup_s: float = 30.0, seed: int = 1, **seen: object
) -> list[Decision]:
    """Decisions at every tick of Poisson requests at these rates, one for each tick."""
    rng, series, memory = np.random.default_rng(seed), Series(), Memory()
    found: list[Decision] = []
    now, ready = START, 1
    for rate in rates:
        series.extend(now, rng.poisson(rate, 10).astype(float))
        now += 10
        series.advance(now)
        facts = {"waiting": 0.0, "starting": 0, "carries": 10.0, "wait_s": 0.2, **seen}
        look = Seen(now=now, series=series, ready=ready, startup_s=startup_s, **facts)  # type: ignore[arg-type]
        decision, memory = decide(look, memory, terms)
        ready = decision.instances
        found.append(decision)
    return found


def test_without_history_the_rate_now_counts_with_the_headroom_that_the_terms_state():
    first = course([100.0] * 6, Terms(most=100, headroom=1.5))[-1]
    assert (first.by, first.method) in {("reactive", "none"), ("hold", "none")}
    assert first.forecast == pytest.approx(1.5 * first.rate, rel=0.1)


def test_more_are_wanted_at_once_and_fewer_only_after_the_hold():
    rates = [20.0] * 30 + [200.0] * 6 + [20.0] * 20
    counts = [decision.instances for decision in course(rates, Terms(most=100, ahead=False))]
    assert counts[30] > 1.5 * counts[29]
    top = max(counts)
    assert counts[35:47] == [top] * 12
    assert counts[-1] < top / 3
