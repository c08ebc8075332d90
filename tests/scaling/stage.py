"""Made-up traffic and a clock for tests of scaling."""

from typing import Any

import numpy as np

from penstock.scaling.decide import Memory, decide
from penstock.scaling.series import Series
from penstock.scaling.types import Decision, Seen, Terms

START = 1_700_006_400
"""A midnight."""


def series(counts: Any, start: int = START) -> Series:
    """Of 10 s counts, spread over their seconds."""
    found = Series()
    for k, count in enumerate(counts):
        found.extend(start + 10 * k, spread(count))
    found.advance(start + 10 * len(counts))
    return found


def spread(count: float) -> np.ndarray:
    """Whole requests over ten seconds, as even as can be."""
    return np.diff(np.floor(np.arange(11) * count / 10 + 1e-9))


def restored(counts: Any, start: int = START) -> Series:
    """The same as a database gives it back, in far less time."""
    found = Series()
    found.restore((start + 10 * k, 10, float(count)) for k, count in enumerate(counts))
    found.advance(start + 10 * len(counts))
    return found


def seen(of: Series, now: float | None = None, **more: Any) -> Seen:
    facts = {"waiting": 0.0, "ready": 1, "starting": 0, "carries": 10.0, "wait_s": 0.2, "startup_s": 30.0}
    return Seen(now=of.seconds.open if now is None else now, series=of, **{**facts, **more})


def course(rates: Any, terms: Terms, seed: int = 1, **more: Any) -> list[Decision]:
    """Decisions at every tick of Poisson requests at these rates, one rate for each tick."""
    rng, of, memory = np.random.default_rng(seed), Series(), Memory()
    found: list[Decision] = []
    for k, rate in enumerate(rates):
        of.extend(START + 10 * k, rng.poisson(rate, 10).astype(float))
        of.advance(START + 10 * (k + 1))
        ready = found[-1].instances if found else 1
        decision, memory = decide(seen(of, ready=ready, **more), memory, terms)
        found.append(decision)
    return found
