"""What to make and to measure next, from what is known: pure, so a search that was cut off goes on."""

from collections.abc import Iterator, Sequence

from penstock.optimize.finalists import NEAR, finalists, key_of, promising, ruled_out, value
from penstock.optimize.merit import obstacle
from penstock.optimize.orders import Known, Make, Order, Plan, Try, child
from penstock.optimize.origin import SOURCE
from penstock.optimize.passes import STAGES
from penstock.optimize.pick import pick
from penstock.optimize.types import Candidate, Choice, Trial

PARENTS = 2
"""Artefacts that a stage starts from, beside the original."""
AGAIN = 2
"""Offers of a stage that are tried on other artefacts when it comes again."""
LAYOUTS = 3
"""In which each of them is measured, at the most."""
CONFIRMED = 3
"""Winners by these targets that may fail to be confirmed before the original is kept."""
DEEP = 0.4
"""Of the budget, which is kept for measuring fully and confirming, at the most."""
FULLER = 8.0
"""How many times as long as a screening a full trial takes, before one is known."""
LAST = 2.5
"""How many times as long as a full trial one more takes, and confirming it."""
CAREFUL = "int8-nncf"
"""Quantization whose missing the floor is what the careful kind is for."""


def decide(known: Known, plan: Plan, left: float) -> Order | None:
    """The next order, with ``left`` seconds of the budget; None at the end.

    The winner is confirmed even where the budget is used up.
    """
    basis = [Try(plan.baseline, "screen"), Try(plan.baseline, "full")]
    for first in basis:
        if known.trial(first) is None:
            return first
    wide = _first(known, _explore(known, plan)) if left > _reserve(known, plan) else None
    if wide is not None:
        return wide
    deep = _first(known, _deepen(known, plan)) if left > 0 and not plan.exhaustive else None
    if deep is not None:
        return deep
    if left > LAST * _full(known):  # what the deep part has left over
        wide = _first(known, _explore(known, plan))
    return wide or _confirm(known, plan)


def _first(known: Known, orders: Iterator[Order]) -> Order | None:
    """The first that was not carried out yet."""
    return next((order for order in orders if not known.done(order)), None)


def choose(known: Known, plan: Plan) -> Choice:
    """From what is known at the end; a winner that could not even be confirmed is none."""
    baseline = known.trial(Try(plan.baseline, "full"))
    assert baseline is not None  # noqa: S101 - it comes first
    refused = {label.partition(": ")[2] for label in known.refused if label.startswith("confirm: ")}
    return pick(
        baseline, [each for each in known.trials if each.candidate.label not in refused], plan.targets
    )


# -- wide: every stage from the best so far ----------------------------------------------------------


def _explore(known: Known, plan: Plan) -> Iterator[Order]:
    """All orders of the wide part in their order, done or not, as far as what is known tells them."""
    pool = [SOURCE]
    yield from _screens(known, plan, SOURCE, free=True)
    tried: set[str] = set()
    for stage in STAGES:
        if stage == "careful" and not _missed(known, plan):
            continue
        fresh: list[str] = []
        best = _best_offers(known, plan, pool, stage) if stage in tried and not plan.exhaustive else None
        for parent in _parents(known, plan, pool, stage):
            for offer in known.artefacts[parent].offers:
                if plan.stages.get(offer.name) != stage or child(parent, offer) in pool:
                    continue
                if best is not None and offer.label not in best:
                    continue
                yield Make(parent, offer)
                name = child(parent, offer)
                if name in known.artefacts:
                    fresh.append(name)
                    yield from _screens(known, plan, name, free=False)
        tried.add(stage)
        pool += [name for name in fresh if name not in pool]


def _parents(known: Known, plan: Plan, pool: Sequence[str], stage: str) -> list[str]:
    """The original, and the best of those to which something can be done in this stage.

    Halves come last in a chain, as they are settings, or files that nothing else starts from.
    """
    able = [
        name
        for name in pool
        if any(plan.stages.get(offer.name) == stage for offer in known.artefacts[name].offers)
        and not any(plan.stages.get(step.name) == "half" for step in known.artefacts[name].steps)
    ]
    if plan.exhaustive:
        return able
    ranked = sorted((name for name in able if name != SOURCE), key=lambda name: -_worth(known, plan, name))
    honest = [name for name in ranked if _worth(known, plan, name) > 0]
    return [*(name for name in able if name == SOURCE), *honest[:PARENTS]]


def _best_offers(known: Known, plan: Plan, pool: Sequence[str], stage: str) -> list[str]:
    """Labels of what did best when the stage was tried before; the best first."""
    made = [name for name in pool if plan.stages.get(_last(known, name)) == stage]
    ranked = sorted(made, key=lambda name: -_worth(known, plan, name))
    labels = [name.rpartition("+")[2] for name in ranked if _worth(known, plan, name) > 0]
    return list(dict.fromkeys(labels))[:AGAIN]


def _last(known: Known, name: str) -> str:
    """The pass that made it."""
    steps = known.artefacts[name].steps
    return steps[-1].name if steps else ""


def _worth(known: Known, plan: Plan, name: str) -> float:
    """The best of an artefact's screenings; 0 where its answers are too far off, or it does not run."""
    found = (
        each for each in known.trials if each.candidate.artefact == name and promising(each, plan.targets)
    )
    return max((value(each, plan.targets) for each in found), default=0.0)


def _screens(known: Known, plan: Plan, name: str, *, free: bool) -> Iterator[Try]:
    """On every engine that reads it; in all layouts where that is free, else in the engine's best."""
    for engine in known.artefacts[name].engines:
        if _absent(known, engine):
            continue
        best = [] if free or plan.exhaustive else _ranked_layouts(known, plan, engine)[:1]
        for instances, threads in best or plan.layouts:
            order = Try(Candidate(name, engine, instances, threads), "full" if plan.exhaustive else "screen")
            yield order
            if order.label in known.refused:
                break


def _absent(known: Known, engine: str) -> bool:
    """Whether a framework turned out not to be installed."""
    return any(f"engine {engine!r} needs" in reason for reason in known.refused.values())


def _ranked_layouts(known: Known, plan: Plan, engine: str) -> list[tuple[int, int]]:
    """Those in which an engine's first artefact came near its best, the best first.

    What else the engine runs will hardly want another; empty where it has run nothing yet.
    """
    ran = [each for each in known.at("screen") if each.candidate.engine == engine]
    first = {
        (each.candidate.instances, each.candidate.threads): value(each, plan.targets)
        for each in ran
        if each.candidate.artefact == ran[0].candidate.artefact
    }
    top = max(first.values(), default=0.0)
    near = [layout for layout, value in first.items() if value >= NEAR * top]
    return sorted(near, key=lambda layout: -first[layout])


def _missed(known: Known, plan: Plan) -> bool:
    """Whether plain quantization was tried, and nothing of it is within the floor, as far as is known."""
    ran = [each for each in known.trials if CAREFUL in _passes(known, each)]
    surely = [each for each in ran if each.depth != "screen"] or ran
    out = ruled_out(known, plan)
    return bool(ran) and not any(promising(each, plan.targets) and key_of(each) not in out for each in surely)


def _passes(known: Known, trial: Trial) -> list[str]:
    return [step.name for step in known.artefacts[trial.candidate.artefact].steps]


# -- deep: the best of them, thoroughly --------------------------------------------------------------


def _deepen(known: Known, plan: Plan) -> Iterator[Order]:
    """Full trials of those that came near the best, in the layouts that suit their engine."""
    for artefact, engine in finalists(known, plan):
        for instances, threads in _ranked_layouts(known, plan, engine)[:LAYOUTS]:
            yield Try(Candidate(artefact, engine, instances, threads), "full")


def _confirm(known: Known, plan: Plan) -> Try | None:
    """The best of those that were measured fully, unless it is confirmed; what failed in it is out.

    What was confirmed for other targets, or before there was a better one, settles nothing and is no
    try of these.
    """
    baseline = known.trial(Try(plan.baseline, "full"))
    assert baseline is not None  # noqa: S101 - it comes first
    confirmed = {each.candidate: each for each in known.at("confirm") if each.candidate != plan.baseline}
    rest = [each for each in known.at("full") if Try(each.candidate, "confirm").label not in known.refused]
    for _ in range(CONFIRMED):
        winner = pick(baseline, rest, plan.targets).winner
        if winner is None:
            return None
        if winner not in confirmed:
            return Try(winner, "confirm")
        if not obstacle(baseline, confirmed[winner], plan.targets):
            return None
        rest = [each for each in rest if each.candidate != winner]
    return None


def _reserve(known: Known, plan: Plan) -> float:
    """Seconds to keep for the deep part, by how long trials took so far."""
    if plan.exhaustive:
        return 0.0
    return min(_full(known) * (2 + min(LAYOUTS, len(plan.layouts))), plan.budget * DEEP)


def _full(known: Known) -> float:
    """Seconds that a full trial takes."""
    screen = max((each.seconds for each in known.at("screen")), default=0.0)
    return max((each.seconds for each in known.at("full")), default=screen * FULLER)
