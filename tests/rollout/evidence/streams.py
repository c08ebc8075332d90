"""Columns for the tests of evidence, and the statistics written out one request at a time."""

from math import exp, inf, log

import numpy as np

from penstock.rollout.evidence.judge import Bound, Judge
from penstock.rollout.evidence.label import DOWN, UP
from penstock.rollout.evidence.requests import Requests

GRID = {"up": UP, "down": DOWN}


def requests(candidate, odds, seconds, **columns):
    """Columns as they are given; what is left out says nothing."""
    count = len(candidate)
    plain = {
        "failed": np.zeros(count, bool),
        "timed_out": np.zeros(count, bool),
        "cost": np.full(count, np.nan),
        "joules": np.full(count, np.nan),
        "unit": np.zeros(count, np.uint64),
        "cold": np.zeros(count, bool),
    }
    return Requests(np.asarray(candidate, bool), np.broadcast_to(odds, count), seconds, **plain | columns)


def drawn(rng, count, odds, *, errors=(0.01, 0.01), slower=1.0):
    """Lognormal latencies; ``errors`` and ``slower``: stable's and the candidate's, the latter's factor."""
    candidate = rng.random(count) < odds
    seconds = 0.1 * np.exp(0.5 * rng.standard_normal(count)) * np.where(candidate, slower, 1.0)
    failed = rng.random(count) < np.where(candidate, errors[1], errors[0])
    return requests(
        candidate,
        odds,
        np.where(failed, np.inf, seconds),
        failed=failed,
        cost=seconds * 1e-4,
        joules=seconds * 2,
    )


def some(seen, chosen):
    return Requests(**{name: getattr(seen, name)[chosen] for name in Requests.__struct_fields__})


def chunks(seen, size):
    return [some(seen, slice(at, at + size)) for at in range(0, len(seen), size)]


def judge(risk=0.05, *, alarm=1.0, target=None, guards=("errors",), **kwargs):
    return Judge(dict.fromkeys(guards, Bound(alarm, target)), risk, **kwargs)


def said(made, rate=1.0):
    """Guards by name."""
    return {guard.name: guard for guard in made.verdicts(rate)}


def label_wealth(side, ratio, events):
    """Log wealth of the label e-process by its definition; ``events``: (of the candidate?, odds)."""

    def theta(rho, odds):
        return odds * rho / (odds * rho + 1 - odds)

    total = 0.0
    for bet in GRID[side]:
        wealth = 0.0
        for mine, odds in events:
            under, over = theta(ratio, odds), theta(ratio * bet, odds)
            wealth += log(over / under) if mine else log((1 - over) / (1 - under))
        total += exp(wealth) / len(GRID[side])
    return log(total) if total else -inf
