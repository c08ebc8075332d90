"""The three lines that explain a choice: what it gains, what became of the answers, what else there is."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor, log10

from msgspec.structs import replace

from penstock.optimize.bounds import rows_needed, unseen
from penstock.optimize.merit import NOISE, Score, allowed, best, dishonest, needed, obstacle, score
from penstock.optimize.types import Agreement, Targets, Trial

HIGHEST = 0.1
"""No floor above is proposed."""
TINY = 1e-6
"""Of a drop: rounding of floats, which is told as nothing."""
DAMPED = 1.05
"""Room that is left above what would just do, in a p99 that is proposed."""


def won(baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score) -> tuple[str, str, str]:
    """Of a winner among the ``field``."""
    gains = f"{winner.trial.candidate.label}: {gained(baseline, winner, targets)}"
    more = [*_second(baseline, field, targets, winner), *_takes(baseline, field, targets, winner)]
    return (
        gains,
        answers(winner.trial.agreement, targets),
        f"what else: {'; '.join(more) or 'nothing near it'}",
    )


def kept(baseline: Trial, field: Sequence[Trial], targets: Targets) -> tuple[str, str, str]:
    """Where the original stays as it is."""
    stays = f"{baseline.candidate.label} stays"
    if not allowed(baseline, targets):
        stays += (
            f", though its p99 is {needed(baseline, targets):.3g} ms: nothing holds {targets.p99_ms:g} ms"
        )
    elif any(each.depth != "screen" for each in field):
        stays += f": no other with good answers beats it by more than the noise ({NOISE * 100:g} %)"
    else:
        stays += ": nothing else was measured thoroughly"
    more = "; ".join(_takes(baseline, field, targets, None))
    takes = more or "nothing that was tried is faster, even with weaker targets"
    return stays, _nearest(baseline, field, targets), f"what it would take: {takes}"


# -- the single sentences -----------------------------------------------------------------------------


def gained(baseline: Trial, found: Score, targets: Targets) -> str:
    """E.g. ``2.6 × faster (2.4–2.8), 1.9 ms → 0.73 ms for one row``."""
    ratio = found.ratio
    span = f"({times(ratio.low)}–{times(ratio.high)})"
    batch, rows = found.batch, f"in batches of {found.batch.rows}"
    if targets.minimize == "latency":
        after = found.trial.figures.p50_ms
        before = found.trial.figures.beside_ms or baseline.figures.p50_ms
        return f"{_faster(ratio.mid)} {span}, {before:.3g} ms → {after:.3g} ms for one row"
    if targets.minimize == "throughput":
        after = batch.rows_per_s
        flow = f"{_count(after / ratio.mid)} → {_count(after)} a second"
        return f"{times(ratio.mid)} × as many rows {span}, {flow}, {rows}"
    after = batch.cpu_ms if targets.minimize == "cost" else (batch.joules or 0.0)
    what, unit = ("processor time", "ms") if targets.minimize == "cost" else ("energy", "J")
    return (
        f"{times(ratio.mid)} × less {what} {span}, {after * ratio.mid:.3g} → {after:.3g} {unit} a row, {rows}"
    )


def answers(agreement: Agreement, targets: Targets) -> str:
    """E.g. ``accuracy 0.987 → 0.986: a drop of 0.001, at most 0.006 at 95 % on 673 rows (floor 0.01)``."""
    values = ""
    if agreement.reference is not None and agreement.value is not None:
        values = f" {agreement.reference:.3g} → {agreement.value:.3g}"
    return (
        f"{agreement.metric}{values}: a drop of {part(agreement.drop)}, at most {part(agreement.upper)} "
        f"at 95 % on {agreement.rows} rows (floor {targets.max_drop:g})"
    )


def part(value: float) -> str:
    """Of one, two digits; what is less than a millionth is nothing."""
    return f"{value:.2g}" if abs(value) >= TINY else "0"


def _faster(ratio: float) -> str:
    """E.g. ``2.6 × faster``, or ``0.72 × as fast``."""
    return f"{times(ratio)} × {'faster' if ratio >= 1 else 'as fast'}"


def times(ratio: float) -> str:
    """Of a ratio the digits that mean something."""
    return f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _scores(baseline: Trial, trials: Iterable[Trial], targets: Targets) -> list[Score]:
    """The best first."""
    found = [score(baseline, each, targets) for each in trials]
    scores = [each for each in found if isinstance(each, Score)]
    return sorted(scores, key=lambda each: (-each.ratio.mid, each.trial.candidate))


def _second(baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score) -> Iterator[str]:
    """The best that is another file or runs on another engine."""
    taken = winner.trial.candidate
    others = [
        each
        for each in field
        if each.depth != "screen"
        and (each.candidate.artefact, each.candidate.engine) != (taken.artefact, taken.engine)
        and not dishonest(each, targets)
    ]
    for found in _scores(baseline, others, targets)[:1]:
        yield f"{_named(found)} would be {times(found.ratio.mid)} ×"


def _nearest(baseline: Trial, field: Sequence[Trial], targets: Targets) -> str:
    honest = [each for each in field if not dishonest(each, targets)]
    for found in _scores(baseline, honest, targets)[:1]:
        return f"nearest: {_named(found)}, {gained(baseline, found, targets)}"
    for found in _scores(baseline, field, targets)[:1]:
        why = dishonest(found.trial, targets)
        return f"nearest: {_named(found)}, {times(found.ratio.mid)} ×, but {why}"
    return "nearest: nothing else ran" if not field else "nearest: nothing else held the targets"


def _named(found: Score) -> str:
    candidate = found.trial.candidate
    told = f"{candidate.artefact} on {candidate.engine}"
    return f"{told} (screened only)" if found.trial.depth == "screen" else told


# -- what it would take -------------------------------------------------------------------------------


def _takes(baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score | None) -> list[str]:
    """What weaker targets or more samples would bring, each by choosing once more."""
    told = [
        (words, found)
        for words, found in (
            *_floors(baseline, field, targets, winner),
            *_rows(baseline, field, targets, winner),
            *_p99s(baseline, field, targets, winner),
        )
    ]
    return [
        f"with {words} {_named(found)} would win with {times(found.ratio.mid)} ×" for words, found in told
    ]


def _better(
    baseline: Trial, found: Score | None, field: Sequence[Trial], targets: Targets, winner: Score | None
) -> bool:
    """Whether it wins by what was let go, and is faster than what wins anyway."""
    if found is None:
        return False
    as_is = next(each for each in field if each.candidate == found.trial.candidate)
    if not obstacle(baseline, as_is, targets):
        return False
    return winner is None or found.ratio.mid > winner.ratio.mid * (1 + NOISE)


def _floors(
    baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score | None
) -> Iterator[tuple[str, Score]]:
    """The lowest other floor under which something wins."""
    for floor_ in sorted({up(each.agreement.upper) for each in field}):
        if not targets.max_drop < floor_ <= HIGHEST:
            continue
        found = best(baseline, field, replace(targets, max_drop=floor_))
        if found and _better(baseline, found, field, targets, winner):
            yield f"a floor of {floor_:g}", found
            return


def _rows(
    baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score | None
) -> Iterator[tuple[str, Score]]:
    """More samples, for those whose estimate is within the floor."""
    hopeful = {
        each.candidate: each
        for each in field
        if each.agreement.drop < targets.max_drop < each.agreement.upper
    }
    proven = [
        replace(each, agreement=replace(each.agreement, upper=max(0.0, each.agreement.drop), passed=True))
        for each in hopeful.values()
    ]
    found = best(baseline, proven, targets)
    if found and _better(baseline, found, field, targets, winner):
        agreement = hopeful[found.trial.candidate].agreement
        yield f"{enough(agreement, targets.max_drop)} rows to judge by instead of {agreement.rows}", found


def _p99s(
    baseline: Trial, field: Sequence[Trial], targets: Targets, winner: Score | None
) -> Iterator[tuple[str, Score]]:
    """The lowest other p99 under which something wins."""
    if not targets.p99_ms:
        return
    for limit in sorted({up(DAMPED * needed(each, targets)) for each in field}):
        found = best(baseline, field, replace(targets, p99_ms=limit)) if limit > targets.p99_ms else None
        if found and _better(baseline, found, field, targets, winner):
            yield f"a p99 of {limit:g} ms", found
            return


def enough(agreement: Agreement, max_drop: float) -> int:
    """Rows that would prove the floor if the drop is as estimated: bounds shrink with the root of rows."""
    if max_drop > 0 and agreement.upper <= unseen(agreement.rows) * (1 + 1e-9):  # no row differs
        return rows_needed(max_drop)
    return ceil(agreement.rows * ((agreement.upper - agreement.drop) / (max_drop - agreement.drop)) ** 2)


def up(number: float) -> float:
    """Rounded up to two digits."""
    if number <= 0:
        return 0.0
    unit: float = 10.0 ** (floor(log10(number)) - 1)
    return float(f"{ceil(number / unit - 1e-9) * unit:.3g}")
