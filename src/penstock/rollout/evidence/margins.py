"""How far a new version may be off before it is taken back, and how near it has to be proven, by traffic."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from penstock.core.spec import Rollout as Terms
from penstock.rollout.words import GUARDS, Kind

Targets: TypeAlias = dict[str, float | None]

ALARMS = {
    "errors": 1.25,
    "timeouts": 1.25,
    "p50": 1.1,
    "p95": 1.1,
    "p99": 1.1,
    "cost": 1.1,
    "energy": 1.25,
    "outputs": 1.5,
    "accuracy": 1.1,
}
"""Ratios over which a guard fails; ``answers`` by the terms.

Over the noise between replicas (about 3 %), so that a good version on a slower core is not taken back.
"""


class Tier(NamedTuple):
    """What so much traffic can certify, stage by stage (simulated)."""

    rate: float
    """Requests a second from which it holds."""
    steps: tuple[float, ...]
    hold_s: float
    errors: tuple[float, ...]
    p99: tuple[float | None, ...]
    p95: tuple[float | None, ...]


TIERS = (
    Tier(300.0, (1, 5, 25, 50), 300.0, (5, 3, 2, 1.5), (2, 1.5, 1.2, 1.1), (1.5, 1.3, 1.2, 1.1)),
    Tier(30.0, (1, 5, 25, 50), 900.0, (5, 3, 2, 2), (2, 1.5, 1.2, 1.2), (1.5, 1.3, 1.2, 1.1)),
    Tier(1.0, (10, 50), 1800.0, (5, 3), (2, 1.5), (1.5, 1.2)),
    Tier(0.0, (25, 50), 3600.0, (5, 5), (None, None), (2, 1.5)),
)
P50 = 1.1
"""Half a thousand requests of the candidate certify that, whatever the share."""
COST = (1.25, 1.2, 1.15, 1.1)
ACCURACY = (None, None, 1.5, 1.25)
"""Ratio of wrong answers; labels come late, so the first stages do not wait for them."""
ANSWERS = (3.0, 2.0, 1.5, 1.0)
"""Of the part that may differ."""
EXACT = 0.005
"""Least part of differing answers that a pass has to exclude: some 600 pairs without a difference."""


class Plan(NamedTuple):
    """Percent of the requests by stage, the least that each lasts, targets for each of them, alarms."""

    steps: tuple[float, ...]
    hold_s: float
    targets: tuple[Targets, ...]
    alarms: dict[str, float]


def defaults(kind: Kind, rate: float, terms: Terms | None = None) -> Plan:
    """The plan for a model with so many requests a second, with what ``terms`` set in place of the defaults.

    A number for a guard is the ratio that is still good enough: to be proven in the last stage (in earlier
    ones at least as wide), and also where the alarm begins, even if that is wider than by default; what is
    good enough is not taken back.
    At 100 % there is nothing to compare with, so such a stage has no targets.
    """
    terms = terms or Terms()
    tier = next(tier for tier in TIERS if rate >= tier.rate)
    steps = (
        terms.steps
        or {
            "canary": (*tier.steps, 100.0),
            "blue-green": (0.0, 100.0),
            "shadow": (0.0,),
            "ab": (50.0,),
            "aa": (50.0,),
        }[kind]
    )
    judged = [at for at, step in enumerate(steps) if step < 100]
    targets: list[Targets] = [dict.fromkeys(GUARDS) for _ in steps]
    for place, at in enumerate(judged):
        targets[at] = _targets(tier, place - len(judged), terms)
    alarms = {
        name: alarm for name, alarm in _alarms(terms).items() if terms.guards.get(name, True) is not False
    }
    return Plan(
        tuple(map(float, steps)),
        tier.hold_s if terms.hold_s is None else terms.hold_s,
        tuple({name: wanted.get(name) for name in alarms} for wanted in targets),
        alarms,
    )


def _alarms(terms: Terms) -> dict[str, float]:
    found = {**ALARMS, "answers": terms.differ, **_numbers(terms.guards)}
    return {name: found[name] for name in GUARDS}


def _targets(tier: Tier, place: int, terms: Terms) -> Targets:
    """``place``: -1 in the last stage, -2 in the one before."""

    def at(wanted: tuple[float | None, ...]) -> float | None:
        return wanted[max(place, -len(wanted))]

    found: Targets = {
        "errors": at(tier.errors),
        "timeouts": at(tier.errors),
        "p50": P50,
        "p95": at(tier.p95),
        "p99": at(tier.p99),
        "cost": at(COST),
        "accuracy": at(ACCURACY),
        "answers": max(EXACT, terms.differ * (at(ANSWERS) or 1.0)),
    }
    for name, wanted in _numbers(terms.guards).items():
        if name == "answers":
            found[name] = max(EXACT, wanted * (at(ANSWERS) or 1.0))
        elif name != "outputs":
            found[name] = wanted if place == -1 else max(wanted, found.get(name) or wanted)
    return found


def _numbers(guards: Mapping[str, float | bool]) -> dict[str, float]:
    return {name: float(value) for name, value in guards.items() if not isinstance(value, bool)}
