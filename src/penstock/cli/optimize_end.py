"""How a search ends: the front, the reasons, what came to nothing, what to do next, and files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.optimize_table import clock, fitting
from penstock.cli.samples import write, write_json
from penstock.optimize.merit import dishonest
from penstock.optimize.report_table import original
from penstock.optimize.types import Outcome, Trial

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.repository.locate import Located

REFUSED = 8
"""Reasons why something came to nothing that are shown."""


def deliver(outcome: Outcome, located: "Located", json: str, report: str, budget: str) -> None:
    """On the screen, and in the files that were asked for."""
    from rich.console import Console

    console = Console(highlight=False, stderr=json == "-")
    conclude(outcome, console)
    for line in advice(outcome, located, budget):
        say(line, console)
    if report:
        from penstock.optimize.report import render

        write(report, render(outcome))
        say(f"report: {report}", console)
    if json:
        write_json(json, outcome)


def conclude(outcome: Outcome, console: "Console") -> None:
    """The front and the original, the three reasons, and what came to nothing."""
    trials = shown(outcome)
    winner = outcome.choice.winner
    console.print(fitting(trials, trials[0], winner, outcome.targets, console))
    console.print()
    for line in outcome.choice.reasons:
        say(line, console)
    doubt = trials[0].agreement.doubt
    if doubt:
        say(f"look at the labels: {doubt}", console, "bold yellow")
    console.print()
    say(
        f"{outcome.model} {outcome.version}: {len(outcome.trials)} trials of "
        f"{len({each.candidate.artefact for each in outcome.trials})} artefacts in "
        f"{clock(outcome.seconds)} of work, judged on {outcome.rows[1]} rows"
        f"{' with labels' if outcome.labelled else ''}",
        console,
        "dim",
    )
    for line in refusals(wrong(outcome)):
        console.print(line, markup=False, no_wrap=True, overflow="ellipsis", style="dim")


def say(line: str, console: "Console", style: str = "") -> None:
    """Wrapped between words on a terminal, and nowhere else."""
    console.print(line, markup=False, soft_wrap=not console.is_terminal, style=style or None)


def shown(outcome: Outcome) -> list[Trial]:
    """The original, then the front from the fastest on."""
    told = {each.candidate: each for each in outcome.trials if each.depth != "screen"}
    front = [told[each] for each in outcome.choice.front if each in told and each != outcome.baseline]
    return [original(outcome), *sorted(front, key=lambda each: -each.figures.speedup.mid)]


def wrong(outcome: Outcome) -> Mapping[str, str]:
    """What could not be made or measured, or answered wrongly: reasons by label."""
    odd = {each.candidate.label for each in outcome.trials if dishonest(each, outcome.targets)}
    rejected = {label: why for label, why in outcome.choice.rejected.items() if label in odd}
    return {**outcome.refused, **rejected}


def refusals(refused: Mapping[str, str]) -> Iterator[str]:
    """Their number, and a line for each reason."""
    if not refused:
        return
    yield f"could not be made or measured, or answered wrongly: {len(refused)}"
    counts = Counter(refused.values())
    firsts = {reason: label for label, reason in reversed(list(refused.items()))}
    for reason in list(counts)[:REFUSED]:
        more = f" (and {counts[reason] - 1} more)" if counts[reason] > 1 else ""
        yield f"  {firsts[reason]}{more}: {reason}"
    if len(counts) > REFUSED:
        yield f"  … and {len(counts) - REFUSED} more reasons, all of them in --json and --report"


def advice(outcome: "Outcome", located: "Located", budget: str) -> Sequence[str]:
    """What to do next."""
    lines: list[str] = []
    if not outcome.complete:
        lines.append(
            f"the budget of {budget} is used up (earlier runs count) and there is more to try: "
            "a larger --budget goes on from here"
        )
    applied = Path(outcome.applied)
    beside = bool(outcome.applied) and applied.parent == located.folder
    if beside and applied.name in located.versions:
        lines.append(f"{applied} is that already")
    elif outcome.applied:
        lines.append(f"wrote {applied}")
        if beside:
            lines.append("a running `penstock serve` brings it in by itself; remove the folder to go back")
    elif outcome.choice.winner is not None:
        how = "--apply" if located.folder is not None else "--out FOLDER"
        lines.append(f"to use it: the same command with {how}, which takes no new measurements")
    return lines
