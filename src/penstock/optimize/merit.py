"""What a trial is worth over the baseline, what stands in its way, and the best of several: pure."""

from collections.abc import Sequence
from typing import NamedTuple

from penstock.optimize.accuracy import FINITE
from penstock.optimize.types import Agreement, Batch, Candidate, Interval, Targets, Trial

NOISE = 0.03
"""A gain below is none: two processes of one file differ by so much, by where their memory came to lie.

Intervals are of rounds within one pair of processes and cannot show it.
"""


class Score(NamedTuple):
    """A trial by the objective."""

    trial: Trial
    ratio: Interval
    """Over the baseline at its best; above 1 is better."""
    batch: Batch
    """The size at which it is best; of latency that of one row."""
    most: int
    """Rows of the largest batch that holds the p99; 0: any."""


# -- numbers ------------------------------------------------------------------------------------------


def score(baseline: Trial, trial: Trial, targets: Targets) -> Score | str:
    """What it is worth, or the sentence that says which target it misses.

    Gains were measured round by round against the baseline at the same size.
    Where the baseline is best at another of those in which the trial was measured (one that may not be
    batched is held against all), they are multiplied by what its own sizes make of it, so that
    a machine which was slower during one trial does not count.
    Processor time and joules have no rounds of their own; their intervals are as wide as the gain's.
    """
    held = allowed(trial, targets)
    if not held:
        return f"its p99 is {needed(trial, targets):.3g} ms; {targets.p99_ms:g} ms is wanted"
    most = 0 if trial.batched and not targets.p99_ms else max(batch.rows for batch in held)
    if targets.minimize == "latency":
        return Score(trial, trial.figures.speedup, held[0], most)
    best = max(held, key=lambda batch: worth(batch, targets))
    if not worth(best, targets):
        return "no energy counter told what it takes"
    usual = _common(allowed(baseline, targets) or baseline.figures.batches, trial)
    top = max(worth(batch, targets) for batch in usual)
    if not top:
        return "no energy counter told what the original takes"
    beside = _sized(baseline, best.rows)
    mid = worth(best, targets) / top
    if targets.minimize == "throughput" and beside is not None:
        mid = best.gain.mid * worth(beside, targets) / top
    return Score(trial, _around(mid, best.gain), best, most)


def allowed(trial: Trial, targets: Targets) -> Sequence[Batch]:
    """The sizes in which it may run and that hold the p99; for latency all if one row alone holds it."""
    batches = trial.figures.batches if trial.batched else trial.figures.batches[:1]
    if not targets.p99_ms:
        return batches
    if targets.minimize == "latency":
        if trial.figures.p99_ms > targets.p99_ms:
            return ()
        return [batch for batch in batches if batch.p99_ms <= targets.p99_ms] or batches[:1]
    return [batch for batch in batches if batch.p99_ms <= targets.p99_ms]


def needed(trial: Trial, targets: Targets) -> float:
    """The least p99 in milliseconds that it would hold."""
    if targets.minimize == "latency":
        return trial.figures.p99_ms
    return min(batch.p99_ms for batch in trial.figures.batches)


def worth(batch: Batch, targets: Targets) -> float:
    """Rows a second, or for a second of processor time, or for a joule; 0 where nobody knows."""
    if targets.minimize == "cost":
        return 1e3 / max(batch.cpu_ms, 1e-9)
    if targets.minimize == "energy":
        return 1 / batch.joules if batch.joules else 0.0
    return batch.rows_per_s


def _common(batches: Sequence[Batch], trial: Trial) -> Sequence[Batch]:
    """Those of a size that the trial had, too: a screening has few. All for one that runs rows alone."""
    if not trial.batched:
        return batches
    rows = {batch.rows for batch in trial.figures.batches}
    return [batch for batch in batches if batch.rows in rows] or batches


def _sized(trial: Trial, rows: int) -> Batch | None:
    return next((batch for batch in trial.figures.batches if batch.rows == rows), None)


def _around(mid: float, like: Interval) -> Interval:
    return Interval(mid * like.low / like.mid, mid, mid * like.high / like.mid)


# -- who may win --------------------------------------------------------------------------------------


def dishonest(trial: Trial, targets: Targets) -> str:
    """Why its answers cannot be relied on; empty where they can."""
    if not trial.repeats:
        return "the same rows gave different answers twice"
    agreement = trial.agreement
    if agreement.upper > targets.max_drop:
        if agreement.why and targets.max_drop == agreement.max_drop:
            return agreement.why
        return f"the drop may be {agreement.upper:.3g} at 95 %, more than {targets.max_drop:g}"
    return "" if within(agreement, targets.max_drop) else agreement.why or "its answers were not accepted"


def within(agreement: Agreement, floor: float) -> bool:
    """Whether it holds a floor, which may be another than it was judged by."""
    proven = agreement.passed or agreement.upper > agreement.max_drop
    return agreement.upper <= floor and proven and agreement.metric != FINITE


def obstacle(baseline: Trial, trial: Trial, targets: Targets) -> str:
    """Why it cannot win; empty where it can.

    Where the original itself misses the p99, whatever holds it may win, faster or not.
    """
    wrong = dishonest(trial, targets)
    if wrong:
        return wrong
    found = score(baseline, trial, targets)
    if isinstance(found, str):
        return found
    if allowed(baseline, targets) and not (found.ratio.low > 1 and found.ratio.mid > 1 + NOISE):
        ratio = found.ratio
        told = "slower" if ratio.high < 1 else "no more than the noise"
        return f"{ratio.mid:.2f} × ({ratio.low:.2f}–{ratio.high:.2f}) is {told}"
    return ""


def best(baseline: Trial, trials: Sequence[Trial], targets: Targets) -> Score | None:
    """The best of those that can win and are on their front, or the simplest of those as good."""
    able = [each for each in trials if not obstacle(baseline, each, targets)]
    scores = [found for each in front(baseline, able, targets) if (found := _scored(baseline, each, targets))]
    if not scores:
        return None
    top = max(each.ratio.mid for each in scores)
    return min((each for each in scores if each.ratio.mid * (1 + NOISE) >= top), key=_simplicity)


def _scored(baseline: Trial, trial: Trial, targets: Targets) -> Score | None:
    found = score(baseline, trial, targets)
    return None if isinstance(found, str) else found


def _simplicity(found: Score) -> tuple[int, int, int, float, Candidate]:
    """Fewer passes, fewer threads, less memory; at last the faster, and any order that is one."""
    candidate = found.trial.candidate
    threads = candidate.instances * candidate.threads
    return steps(candidate), threads, found.trial.figures.memory_bytes, -found.ratio.mid, candidate


def steps(candidate: Candidate) -> int:
    """Passes that made its file."""
    return 0 if candidate.artefact == "source" else candidate.artefact.count("+") + 1


def front(baseline: Trial, trials: Sequence[Trial], targets: Targets) -> list[Trial]:
    """Those that no other is at least as good as in everything, and better in something by more than noise.

    In latency, throughput and the objective over the baseline, in the bound of the drop, and in memory.
    """
    told = [(each, _merits(baseline, each, targets)) for each in trials]
    return [each for each, mine in told if not any(_beats(other, mine) for _, other in told)]


def _merits(baseline: Trial, trial: Trial, targets: Targets) -> tuple[float, ...]:
    """Larger is better."""
    found = [
        _scored(baseline, trial, Targets(minimize=minimize, p99_ms=targets.p99_ms))
        for minimize in ("latency", "throughput", targets.minimize)
    ]
    ratios = (each.ratio.mid if each else 0.0 for each in found)
    return (*ratios, -trial.agreement.upper, -trial.figures.memory_bytes)


def _beats(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    pairs = list(zip(left, right, strict=True))
    return all(a >= b for a, b in pairs) and any(a - b > NOISE * max(abs(a), abs(b)) for a, b in pairs)
