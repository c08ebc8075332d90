"""How the chosen variant of a report is made and run, and how all were measured."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from penstock.optimize.merit import NOISE
from penstock.optimize.report_table import original, percent
from penstock.optimize.types import Artefact, Outcome
from penstock.optimize.version import settings, toml


def recipe(outcome: Outcome) -> str:
    """How the winner is made, and how it is run; empty without one."""
    winner = outcome.choice.winner
    if winner is None or winner.artefact not in outcome.artefacts:
        return ""
    artefact = outcome.artefacts[winner.artefact]
    run = toml(settings(artefact, winner, outcome.choice, outcome.targets.p99_ms))
    made = f"<div><h3>Made by</h3>{_steps(artefact)}</div>"
    told = f"<div><h3>Run with this model.toml</h3><pre><code>{escape(run)}</code></pre></div>"
    return f'<div class="halves">{made}{told}</div>'


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


def measured(outcome: Outcome) -> str:
    """What was compared with what, by which rows, and where."""
    halves = (_comparison(outcome), _surroundings(outcome))
    return f'<div class="halves">{"".join(_list(each) for each in halves)}</div>'


def _list(told: Mapping[str, str]) -> str:
    lines = (f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in told.items() if words)
    return f"<dl>{''.join(lines)}</dl>"


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
        "Labels": base.agreement.doubt,
        "Turns": f"every candidate in turn with the original, {_range(rounds)} rounds; "
        "intervals are of 95 %, round by round",
        "Noise": f"the original against itself: {noise.mid:.2f} × ({noise.low:.2f}–{noise.high:.2f}); "
        f"gains below {NOISE * 100:g} % count as none",
    }


def _surroundings(outcome: Outcome) -> dict[str, str]:
    facts = outcome.machine
    packages = facts.get("packages")
    machine = f"{facts.get('processor', 'unknown')}, {facts.get('cores', '?')} cores, "
    return {
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


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
