"""Which of the screened candidates are worth measuring fully, and which are ruled out: pure."""

from typing import TypeAlias

from penstock.optimize.merit import dishonest, worth
from penstock.optimize.orders import Known, Plan, Try
from penstock.optimize.types import Offer, Targets, Trial

NEAR = 0.75
"""A screened candidate is measured fully if it comes so near to the best: screens are that rough."""
LOSING = 0.97
"""A screened candidate that does worse than this beside the original will not beat it."""
FINALISTS = 3
"""Artefacts on an engine that are measured fully, at the most."""
REFILLS = 3
"""Whose answers turn out not to hold may give their place to their like; then to others, thrice as many."""
LOSSY = ("prune", "half", "int8", "weights", "careful")
"""Stages whose passes change answers by more than rounding."""

Key: TypeAlias = tuple[str, str]
"""An artefact on an engine: what gives the same answers in all layouts."""


def finalists(known: Known, plan: Plan) -> list[Key]:
    """Those that came near the best of all that may win; in the place of one that may not the next moves up.

    Where no other than the original may, the best one is measured all the same, to tell what it would take.
    """
    best: dict[Key, float] = {}
    for each in known.at("screen"):
        if promising(each, plan.targets):
            best[key_of(each)] = max(best.get(key_of(each), 0.0), value(each, plan.targets))
    out = ruled_out(known, plan)
    failed = {key_of(each) for each in known.at("full")} & out
    able = [key for key in best if key not in out]
    if len(failed) >= REFILLS:
        able = [key for key in able if not any(_like(known, plan, key, each) for each in failed)]
    usual = known.trial(Try(plan.baseline, "screen"))
    least = LOSING * value(usual, plan.targets) if usual else 0.0
    least = max(least, NEAR * max((best[key] for key in able), default=0.0))
    near = sorted((key for key in able if best[key] >= least), key=lambda key: -best[key])
    lone = not failed and set(able) <= {(plan.baseline.artefact, plan.baseline.engine)}
    hopeless = [max(best, key=lambda key: best[key])] if lone and best else []
    return [*near[: min(FINALISTS, max(0, FINALISTS * (REFILLS + 1) - len(failed)))], *hopeless]


def _like(known: Known, plan: Plan, key: Key, failed: Key) -> bool:
    """Whether it has what may have cost another on its engine the answers, and as much of such."""
    blamed, lossy = (_lossy(known, plan, artefact) for artefact in (failed[0], key[0]))
    return failed[1] == key[1] and bool(blamed & lossy) and len(lossy) >= len(blamed)


def _lossy(known: Known, plan: Plan, artefact: str) -> set[str]:
    steps = known.artefacts[artefact].steps
    return {Offer(step.name, step.options).label for step in steps if plan.stages.get(step.name) in LOSSY}


def ruled_out(known: Known, plan: Plan) -> set[Key]:
    """Those whose answers do not hold on all rows, wherever they were measured fully, or else screened."""
    usual = known.trial(Try(plan.baseline, "full"))
    rows = usual.agreement.rows if usual else 0
    found: dict[Key, bool] = {}
    for depth in ("screen", "full"):
        wrong: dict[Key, bool] = {}
        for each in known.at(depth):
            if depth == "full" or each.agreement.rows >= rows:
                wrong[key_of(each)] = wrong.get(key_of(each), True) and bool(dishonest(each, plan.targets))
        found |= wrong
    return {key for key, is_wrong in found.items() if is_wrong}


def key_of(trial: Trial) -> Key:
    return trial.candidate.artefact, trial.candidate.engine


def promising(trial: Trial, targets: Targets) -> bool:
    """A few rows cannot prove the floor, but their estimate can be within it."""
    return trial.agreement.drop <= targets.max_drop and trial.repeats


def value(trial: Trial, targets: Targets) -> float:
    """By the objective: larger is better, and twice as large is twice as good."""
    if targets.minimize == "latency":
        return trial.figures.speedup.mid
    batches = trial.figures.batches if trial.batched else trial.figures.batches[:1]
    return max(worth(batch, targets) for batch in batches)
