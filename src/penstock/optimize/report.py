"""A search as one HTML page: what was chosen, what it gains, what else was tried, and how it was measured."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from penstock.optimize.merit import NOISE, allowed, needed
from penstock.optimize.plot import Kind, sign
from penstock.optimize.reasons import times
from penstock.optimize.report_plots import plots
from penstock.optimize.report_style import CSS
from penstock.optimize.report_table import (
    FRONT,
    GAINS,
    KINDS,
    Entry,
    count,
    digits,
    entries,
    megabytes,
    original,
    percent,
    table,
)
from penstock.optimize.types import Artefact, Outcome
from penstock.optimize.version import settings, toml

KEY: Mapping[Kind, str] = {
    "chosen": "chosen",
    "original": "original",
    "front": "beaten by none in everything",
    "other": "good answers, but beaten or only screened",
    "rejected": "answers or target not held",
}


def render(outcome: Outcome) -> str:
    """A page that needs nothing from elsewhere; all text of the outcome is escaped."""
    rows = entries(outcome)
    model = f"{escape(outcome.model)}, version {escape(outcome.version)}"
    parts = (
        f'<p class="over">Penstock optimize · {model}</p>',
        _head(outcome, rows),
        _tiles(outcome, rows),
        f'<ul class="reasons">{_items(outcome.choice.reasons)}</ul>',
        _section("What was found", plots(outcome, rows) + _key()),
        _section("All candidates", table(outcome, rows)),
        _section("Rejected, and why", _rejected(rows) + _refused(outcome.refused)),
        _recipe(outcome),
        _section("How it was measured", _measured(outcome)),
        f"<footer>{escape(_legal(outcome))}</footer>",
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Penstock optimize: {model}</title><style>{CSS}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{escape(each)}</li>" for each in lines)


# -- what was chosen ----------------------------------------------------------------------------------


def _head(outcome: Outcome, rows: Sequence[Entry]) -> str:
    winner = outcome.choice.winner
    if winner is None:
        tried = len(rows) - 1
        words = f"None of {tried} other {'candidate' if tried == 1 else 'candidates'} honestly beats it."
        return _banner("kept", "Keep the original", "", words)
    entry = rows[0]
    big, title = _gained(outcome, entry)
    return _banner("", big, f"{title}, {_answers(outcome, entry)}", f"By {escape(winner.label)}.")


def _banner(kind: str, big: str, title: str, words: str) -> str:
    title = f"<h1>{title}</h1>" if title else ""
    return f'<div class="head {kind}"><div class="big">{big}</div><div>{title}<p>{words}</p></div></div>'


def _gained(outcome: Outcome, entry: Entry) -> tuple[str, str]:
    """The big number and what it is of; a gain, unless holding the p99 is what was gained."""
    targets, base = outcome.targets, original(outcome)
    if not allowed(base, targets):
        now, before = needed(entry.trial, targets), needed(base, targets)
        return f"{now:.3g} ms", f"p99, {targets.p99_ms:g} ms wanted, {before:.3g} ms with the original"
    return f"{times(entry.gain.mid) if entry.gain else '–'} ×", GAINS[targets.minimize]


def _answers(outcome: Outcome, entry: Entry) -> str:
    """What is proven of the answers, as few as words can be."""
    agreement = entry.trial.agreement
    within = percent(max(agreement.upper, 0.0))
    if not outcome.labelled or agreement.reference is None:
        return f"answers unchanged within {within}"
    return f"{escape(agreement.metric)} unchanged within {within}"


def _tiles(outcome: Outcome, rows: Sequence[Entry]) -> str:
    if outcome.choice.winner is None:
        return ""
    new = rows[0]
    old = next(each for each in rows if each.kind == "original")
    before, after = old.trial.figures, new.trial.figures
    told = (
        ("One row takes", f"{digits(after.p50_ms)} ms", f"{digits(before.p50_ms)} ms"),
        ("Rows a second, at best", count(new.best.rows_per_s), count(old.best.rows_per_s)),
        ("Memory", f"{megabytes(after.memory_bytes)} MB", f"{megabytes(before.memory_bytes)} MB"),
        ("File", f"{megabytes(after.file_bytes)} MB", f"{megabytes(before.file_bytes)} MB"),
    )
    tiles = "".join(
        f'<div class="tile"><span>{what}</span><b>{now}</b><span>was {was}</span></div>'
        for what, now, was in told
    )
    return f'<div class="tiles">{tiles}</div>'


def _key() -> str:
    told = "".join(f"<span>{sign(kind)}{words}</span>" for kind, words in KEY.items())
    return f'<p class="key">{told}</p>'


# -- what was not -------------------------------------------------------------------------------------


def _rejected(rows: Sequence[Entry]) -> str:
    groups: dict[str, list[tuple[str, str]]] = {}
    for each in sorted(rows, key=lambda row: (-KINDS.index(row.kind), row.number)):
        if each.why:
            groups.setdefault(each.verdict, []).append((f"{each.number} {each.name}", each.why))
    return "".join(_group(_titled(verdict), told) for verdict, told in groups.items())


def _titled(verdict: str) -> str:
    title = verdict[:1].upper() + verdict[1:]
    return f"{title}, but not the best by what was asked for" if verdict == FRONT else title


def _refused(refused: Mapping[str, str]) -> str:
    """Those with one reason together."""
    by: dict[str, list[str]] = {}
    for label, reason in refused.items():
        by.setdefault(re.sub(r"^pass '[^']*' ", "", reason), []).append(label)
    told = [("; ".join(labels), reason) for reason, labels in by.items()]
    return _group("Could not be made or measured", told) if told else ""


def _group(title: str, told: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f"<li><span>{escape(label)}</span><span>{escape(reason)}</span></li>" for label, reason in told
    )
    return f'<h3>{escape(title)} <span class="soft">({len(told)})</span></h3><ul class="why">{lines}</ul>'


# -- how ----------------------------------------------------------------------------------------------


def _recipe(outcome: Outcome) -> str:
    """How the winner is made, and how it is run."""
    winner = outcome.choice.winner
    if winner is None or winner.artefact not in outcome.artefacts:
        return ""
    artefact = outcome.artefacts[winner.artefact]
    run = toml(settings(artefact, winner, outcome.choice, outcome.targets.p99_ms))
    made = f"<div><h3>Made by</h3>{_steps(artefact)}</div>"
    told = f"<div><h3>Run with this model.toml</h3><pre><code>{escape(run)}</code></pre></div>"
    return _section("How the chosen one is made and run", f'<div class="halves">{made}{told}</div>')


def _steps(artefact: Artefact) -> str:
    if not artefact.steps:
        return "<p>No pass: the original's file, run otherwise.</p>"
    lines = "".join(
        f"<dt>{escape(step.name)}</dt><dd>{_pairs(step.options, ' = ') or 'no options'}"
        f'<br><span class="soft">{_pairs(step.versions, " ")}</span></dd>'
        for step in artefact.steps
    )
    return f"<dl>{lines}</dl>"


def _pairs(values: Mapping[str, Any], between: str) -> str:
    return escape(", ".join(f"{name}{between}{value}" for name, value in values.items()))


def _measured(outcome: Outcome) -> str:
    halves = (_comparison(outcome), _surroundings(outcome))
    return f'<div class="halves">{"".join(_list(each) for each in halves)}</div>'


def _list(told: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(words)}</dd>' for name, words in told.items())}</dl>"


def _comparison(outcome: Outcome) -> dict[str, str]:
    targets, base = outcome.targets, original(outcome)
    noise, rounds = base.figures.speedup, sorted({each.figures.rounds for each in outcome.trials})
    held = [f"{targets.metric or base.agreement.metric} may fall by {percent(targets.max_drop)}"]
    if targets.p99_ms:
        held.append(f"p99 of {targets.p99_ms:g} ms")
    return {
        "Least of": {"throughput": "time for many rows"}.get(targets.minimize, targets.minimize),
        "To be held": "; ".join(held),
        "Rows": f"{outcome.rows[0]} calibrated, {outcome.rows[1]} others judged, "
        f"{'with' if outcome.labelled else 'without'} labels",
        "Turns": f"every candidate in turn with the original, {_range(rounds)} rounds; "
        "intervals are of 95 %, round by round",
        "Noise": f"the original against itself: {noise.mid:.2f} × ({noise.low:.2f}–{noise.high:.2f}); "
        f"gains below {NOISE * 100:g} % count as none",
    }


def _surroundings(outcome: Outcome) -> dict[str, str]:
    facts = outcome.machine
    packages = facts.get("packages")
    machine = f"{facts.get('processor', 'unknown')}, {facts.get('cores', '?')} cores, "
    told = {
        "Machine": f"{machine}{facts.get('memory_gib', '?')} GiB",
        "System": f"{facts.get('system', 'unknown')}, Python {facts.get('python', '?')}",
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items())
        if isinstance(packages, Mapping)
        else "",
        "Time": f"{_span(outcome.seconds)} of work; "
        + ("the search came to its end" if outcome.complete else "the budget ended the search"),
        "Model": f"SHA-256 {outcome.digest}",
        "Written to": outcome.applied,
    }
    return {name: words for name, words in told.items() if words}


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _legal(outcome: Outcome) -> str:
    return (
        f"{len(outcome.trials)} trials of {len(entries(outcome))} candidates from "
        f"{len(outcome.artefacts)} files. Figures hold for this machine."
    )
