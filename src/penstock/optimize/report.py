"""A search as one HTML page: what was chosen, what it gains, what else was tried, and how it was measured."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from msgspec.structs import replace

from penstock.optimize.merit import Score, allowed, needed, score
from penstock.optimize.plot import Kind, sign
from penstock.optimize.reasons import times
from penstock.optimize.report_how import measured, recipe
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
from penstock.optimize.types import Outcome

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
        _section("How the chosen one is made and run", recipe(outcome)),
        _section("How it was measured", measured(outcome)),
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
    return _banner("", big, f"{title}, {_answers(outcome, entry)}", _how(entry))


def _banner(kind: str, big: str, title: str, words: str) -> str:
    title = f"<h1>{title}</h1>" if title else ""
    return f'<div class="head {kind}"><div class="big">{big}</div><div>{title}<p>{words}</p></div></div>'


def _gained(outcome: Outcome, entry: Entry) -> tuple[str, str]:
    """The big number and what it is of; a gain, unless holding the p99 is what was gained."""
    targets, base = outcome.targets, original(outcome)
    if not allowed(base, targets):
        now, before = needed(entry.trial, targets), needed(base, targets)
        return f"{now:.3g} ms", f"p99, {targets.p99_ms:g} ms wanted, {before:.3g} ms with the original"
    return f"{times(entry.gain.mid) if entry.gain else '–'}\u00a0×", GAINS[targets.minimize]


def _answers(outcome: Outcome, entry: Entry) -> str:
    """What is proven of the answers, as few as words can be."""
    agreement = entry.trial.agreement
    within = percent(max(agreement.upper, 0.0))
    own = outcome.labelled and agreement.reference is not None
    what, falls = (escape(agreement.metric), "falls") if own else ("answers", "differ")
    return (
        f"{what} {falls} by at most {within}" if agreement.drop > 0 else f"{what} unchanged within {within}"
    )


def _how(entry: Entry) -> str:
    candidate, agreement = entry.trial.candidate, entry.trial.agreement
    layout = f"{_many(candidate.instances, 'instance')} of {_many(candidate.threads, 'thread')}"
    return (
        f"By {escape(candidate.artefact)} on {escape(candidate.engine)}, {layout}. "
        f"The bound holds at 95 % confidence, on {agreement.rows:,} rows."
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tiles(outcome: Outcome, rows: Sequence[Entry]) -> str:
    if outcome.choice.winner is None:
        return ""
    new = rows[0]
    old = next(each for each in rows if each.kind == "original")
    before, after = old.trial.figures, new.trial.figures
    beside = after.beside_ms or before.p50_ms  # in the same rounds
    found = score(old.trial, new.trial, replace(outcome.targets, minimize="throughput"))
    flow = found.batch.rows_per_s if isinstance(found, Score) else new.best.rows_per_s
    flowed = flow / found.ratio.mid if isinstance(found, Score) else old.best.rows_per_s
    told = (
        ("One row takes", f"{digits(after.p50_ms)} ms", f"{digits(beside)} ms"),
        ("Rows a second, at best", count(flow), count(flowed)),
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


def _legal(outcome: Outcome) -> str:
    return (
        f"{len(outcome.trials)} trials of {len(entries(outcome))} candidates from "
        f"{len(outcome.artefacts)} files. Figures hold for this machine."
    )
