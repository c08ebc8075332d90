"""The table of a report: every candidate at its deepest measurement, and what became of it."""

from collections.abc import Sequence
from html import escape
from math import floor, log10

from msgspec import Struct
from msgspec.structs import replace

from penstock.optimize.merit import Score, allowed, dishonest, obstacle, score
from penstock.optimize.pick import deepest
from penstock.optimize.plot import Kind, sign
from penstock.optimize.reasons import TINY, times
from penstock.optimize.types import Batch, Interval, Objective, Outcome, Trial

GAINS: dict[Objective, str] = {
    "latency": "faster",
    "throughput": "as many rows",
    "cost": "less processor time",
    "energy": "less energy",
}
FRONT = "on the front"
KINDS: tuple[Kind, ...] = ("chosen", "original", "front", "other", "rejected")


class Entry(Struct, frozen=True, kw_only=True):
    """A candidate in the report."""

    number: int
    trial: Trial
    kind: Kind
    verdict: str
    gain: Interval | None
    """By the objective, over the original; None where nobody knows."""
    best: Batch
    """The size with most rows a second among those that it may run in."""
    why: str = ""

    @property
    def name(self) -> str:
        return self.trial.candidate.label


def original(outcome: Outcome) -> Trial:
    """The baseline's own trial, by which the choice was made."""
    own = [each for each in outcome.trials if each.candidate == outcome.baseline]
    return next((each for each in own if each.depth == "full"), own[-1])


def entries(outcome: Outcome) -> list[Entry]:
    """The chosen first, then the original, then by gain; one for each candidate."""
    base = original(outcome)
    others = [each for each in deepest(outcome.trials) if each.candidate != outcome.baseline]
    made = [_entry(outcome, base, each) for each in [base, *others]]
    made.sort(key=lambda each: (KINDS.index(each.kind), -each.gain.mid if each.gain else 0.0))
    return [replace(each, number=at) for at, each in enumerate(made, 1)]


def _entry(outcome: Outcome, base: Trial, trial: Trial) -> Entry:
    free = replace(outcome.targets, p99_ms=0.0)
    found = score(base, trial, free)
    held = allowed(trial, outcome.targets) or allowed(trial, free)
    kind, verdict = _verdict(outcome, base, trial)
    return Entry(
        number=0,
        trial=trial,
        kind=kind,
        verdict=verdict,
        gain=found.ratio if isinstance(found, Score) else None,
        best=max(held, key=lambda batch: batch.rows_per_s),
        why=outcome.choice.rejected.get(trial.candidate.label, ""),
    )


def _verdict(outcome: Outcome, base: Trial, trial: Trial) -> tuple[Kind, str]:
    choice, candidate = outcome.choice, trial.candidate
    if candidate == choice.winner:
        return "chosen", "chosen"
    if candidate == outcome.baseline:
        return "original", "original" if choice.winner else "kept"
    if dishonest(trial, outcome.targets):
        return "rejected", "answers not held"
    if isinstance(score(base, trial, outcome.targets), str):
        return "rejected", "target missed"
    if candidate in choice.front:
        return "front", FRONT
    if obstacle(base, trial, outcome.targets):
        return "other", "no gain"
    return "other", "screened only" if trial.depth == "screen" else "beaten"


# -- as HTML ------------------------------------------------------------------------------------------


def table(outcome: Outcome, rows: Sequence[Entry]) -> str:
    """All entries, a row each."""
    what = GAINS[outcome.targets.minimize]
    heads = (
        ("text", "Candidate", "file; engine, instances × threads"),
        ("", "Gain", f"{what}, 95 %"),
        *(("", "p50", "ms, one row"), ("", "p99", "ms, one row")),
        *(("", "Rows/s", "best batch"), ("", "CPU", "ms a row")),
        *(("", "Memory", "MB"), ("", "File", "MB"), ("", "Load", "s")),
        ("", "Drop", "at most; seen"),
        ("text", "Verdict", "depth, rounds"),
    )
    head = "".join(f'<th class="{kind}">{name}<small>{unit}</small></th>' for kind, name, unit in heads)
    body = "".join(_row(each) for each in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(entry: Entry) -> str:
    trial, figures = entry.trial, entry.trial.figures
    candidate = trial.candidate
    layout = f"{candidate.engine}, {candidate.instances} × {candidate.threads}"
    cells = (
        gain(entry.gain),
        digits(figures.p50_ms),
        digits(figures.p99_ms),
        f"{count(entry.best.rows_per_s)}<small>of {entry.best.rows}</small>",
        digits(entry.best.cpu_ms),
        megabytes(figures.memory_bytes),
        megabytes(figures.file_bytes),
        digits(figures.load_s, 2),
        f"{percent(trial.agreement.upper)}<small>{percent(trial.agreement.drop)}</small>",
    )
    name = f"<b>{entry.number} {escape(candidate.artefact)}</b>"
    who = f"{sign(entry.kind)} {name}<small>{escape(layout)}</small>"
    return (
        f'<tr class="{entry.kind}"><td class="text who">{who}</td>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}"
        f'<td class="text">{tag(entry)}<small>{trial.depth}, {figures.rounds}</small></td></tr>'
    )


def tag(entry: Entry) -> str:
    """The verdict."""
    return f'<span class="tag {entry.kind}">{entry.verdict}</span>'


def gain(found: Interval | None) -> str:
    """With its interval below."""
    if found is None:
        return "–"
    return f"<b>{times(found.mid)} ×</b><small>{times(found.low)}–{times(found.high)}</small>"


def percent(part: float) -> str:
    """Of a part of one, two digits; what is less than a millionth is nothing."""
    part = part if abs(part) >= TINY else 0.0
    told = f"{100 * part + 0:.2g}" if abs(part) < 0.995 else f"{100 * part:,.0f}"
    return f"{told.replace('-', '−')}\u00a0%"


def megabytes(size: int) -> str:
    """In millions of bytes."""
    return digits(size / 1e6, 2)


def digits(value: float, least: int = 3) -> str:
    """So many that mean something, no more."""
    if value <= 0:
        return "0"
    places = max(0, least - 1 - floor(log10(value)))
    return f"{value:,.{places}f}"


def count(number: float) -> str:
    """Of things a second."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
