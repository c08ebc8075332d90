"""What is to be run, from what was measured and what is wanted: pure, and it explains itself."""

from collections.abc import Iterable, Sequence

from penstock.optimize import merit
from penstock.optimize.merit import Score, best, obstacle
from penstock.optimize.reasons import kept, won
from penstock.optimize.types import Choice, Depth, Targets, Trial

DEPTHS: tuple[Depth, ...] = ("screen", "full", "confirm")


def pick(baseline: Trial, trials: Sequence[Trial], targets: Targets) -> Choice:
    """The best honest trial that beats the baseline by more than the noise, or none.

    Only the deepest trials compete, and screened ones never win.
    ``trials`` may hold those of the baseline, and several of a candidate, in any order.
    """
    field = deepest(each for each in trials if each.candidate != baseline.candidate)
    depth = max((DEPTHS.index(each.depth) for each in field), default=0)
    competing = [each for each in field if depth and each.depth == DEPTHS[depth]]
    winner = best(baseline, competing, targets)
    lines = won(baseline, field, targets, winner) if winner else kept(baseline, field, targets)
    honest = [each for each in field if _honest(baseline, each, targets)]
    front = merit.front(baseline, [baseline, *honest], targets)
    if winner and winner.trial not in front:  # a trial that was not confirmed looked better
        front.append(winner.trial)
    return Choice(
        winner=winner.trial.candidate if winner else None,
        max_rows=winner.most if winner else 0,
        reasons=lines,
        front=tuple(each.candidate for each in front),
        rejected={
            each.candidate.label: sentence
            for each in field
            if (sentence := _rejected(baseline, each, targets, competing))
        },
    )


def deepest(trials: Iterable[Trial]) -> list[Trial]:
    """One of each candidate, the deepest; in the order of the candidates."""
    found: dict[str, Trial] = {}
    for each in trials:
        label = each.candidate.label
        if label not in found or _rank(each) > _rank(found[label]):
            found[label] = each
    return sorted(found.values(), key=lambda each: each.candidate)


def _rank(trial: Trial) -> tuple[int, float]:
    return DEPTHS.index(trial.depth), -trial.figures.speedup.mid


def _honest(baseline: Trial, trial: Trial, targets: Targets) -> bool:
    """Whether it belongs into the comparison: measured thoroughly, good answers, targets held."""
    if trial.depth == "screen" or merit.dishonest(trial, targets):
        return False
    return isinstance(merit.score(baseline, trial, targets), Score)


def _rejected(baseline: Trial, trial: Trial, targets: Targets, competing: Sequence[Trial]) -> str:
    why = obstacle(baseline, trial, targets)
    if why or trial in competing:
        return why
    found = merit.score(baseline, trial, targets)
    told = f"at {found.ratio.mid:.2f} × " if isinstance(found, Score) else ""
    return f"screened {told}only" if trial.depth == "screen" else f"measured {told}but not confirmed"
