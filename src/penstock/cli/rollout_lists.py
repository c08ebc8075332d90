"""Rollouts in a line each, versions that are marked bad, and the audit log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.cli.rollout_table import COLOURS, ENDS, about
from penstock.rollout.words import Change, Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SAYS = 20
"""Columns of the terminal that a sentence needs to be worth beginning."""


def show_all(
    statuses: Sequence[Status], bad: Sequence[Mapping[str, Any]], console: "Console", now: float
) -> None:
    """One line a rollout, and the versions that are marked bad."""
    endless = console.options.update(width=10_000)
    room = console.width - console.measure(overview(statuses, now), options=endless).maximum - 2
    console.print(overview(statuses, now, room))
    if bad:
        console.print()
    for one in bad:
        line = f"marked bad: {one['model']} {one['version']}: {one['why']}"
        console.print(line, markup=False, soft_wrap=True)


def overview(statuses: Sequence[Status], now: float, room: int = 0) -> "Table":
    """One line a rollout; the sentence of each has ``room``, if that is enough to begin it."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("model", "versions", "plan", "state", "began"):
        shown.add_column(head, no_wrap=True)
    if room >= SAYS:
        shown.add_column("", no_wrap=True, max_width=room, overflow="ellipsis")
    for each in statuses:
        at = f" at {each.weight:g} %" if each.phase not in ENDS and each.weight else ""
        versions = f"{each.stable} → {each.candidate}"
        began = f"{about(max(0.0, now - each.began))} ago"
        phase = f"[{COLOURS[each.phase]}]{each.phase.replace('-', ' ')}[/]{at}"
        says = [escape(each.says)] if room >= SAYS else []
        shown.add_row(escape(each.model), escape(versions), each.kind, phase, began, *says)
    return shown


def show_changes(changes: Sequence[Change], console: "Console") -> None:
    """One line a change, the newest first; times are local."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("when", "model", "what", "by", "why"):
        shown.add_column(head, no_wrap=head == "when", overflow="fold")
    for each in changes:
        when = datetime.fromtimestamp(each.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(when, *map(escape, (each.model, each.what, each.by, each.why)))
    console.print(shown)
