"""How a rollout looks: its stages in a line, a row for each guard, and what it waits for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.cli.bill_scale import duration
from penstock.cli.bill_table import EIGHTHS
from penstock.cli.models import number
from penstock.rollout.terms import PARTS
from penstock.rollout.words import Change, Guard, Stage, Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Cell: TypeAlias = Callable[[Guard], str]

ENDS = ("promoted", "rolled-back")
COLOURS = {
    "running": "yellow", "loading": "yellow", "paused": "cyan", "promoted": "green", "rolled-back": "red",
    "pass": "green", "fail": "red", "not yet": "yellow", "off": "dim",
}  # fmt: skip
BAR = 6
"""Columns of the terminal for whole evidence."""
LESSER = (
    "seen", "events", "requests", "passes\nunder", "fails\nover", "for", "against", "interval",
)  # fmt: skip
"""Columns that a narrow terminal goes without, the first one first."""
SAYS = 20
"""Columns of the terminal that a sentence needs to be worth beginning."""


def show(status: Status, console: "Console", now: float) -> None:
    """All there is to say; ``now`` in seconds since the epoch."""
    for part in parts(status, console, now):
        console.print(part, soft_wrap=isinstance(part, str) and not console.is_terminal)


def parts(status: Status, console: "Console", now: float) -> "Iterator[RenderableType]":
    """What ``show`` prints, line by line."""
    yield headline(status, now)
    if status.stages:
        yield stages(status)
    guards = [guard for guard in status.guards if guard.verdict != "off"]
    if guards:
        yield ""
        yield fitting(guards, console, () if status.phase not in ENDS else ("needs", "requests"))
    yield ""
    yield from sentences(status)


def headline(status: Status, now: float) -> str:
    """Model and versions, plan, and since when it is how it is."""
    from rich.markup import escape

    end = status.ended if status.ended is not None else now
    lasted = duration(max(0.0, end - status.began))
    phase = status.phase.replace("-", " ")
    since = f"after {lasted}" if status.ended is not None else f"for {lasted}"
    by = f", by {status.by}" if status.by else ""
    return (
        f"[bold]{escape(status.model)}[/]  {escape(status.stable)} → {escape(status.candidate)}  "
        f"{status.kind}, [{COLOURS[status.phase]}]{phase}[/] {since}{escape(by)}"
    )


def stages(status: Status) -> str:
    """``1 % ✓ → 5 % ● → 25 %``: done, at it, and to come; ✗ where it was taken back."""
    told = []
    for at, stage in enumerate(status.stages):
        name = weight(stage)
        if status.phase == "promoted" or at < status.stage:
            told.append(f"[green]{name} ✓[/]")
        elif at > status.stage:
            told.append(f"[dim]{name}[/]")
        elif status.phase == "rolled-back":
            told.append(f"[red]{name} ✗[/]")
        else:
            told.append(f"[bold]{name} ●[/]")
    return " → ".join(told)


def weight(stage: Stage) -> str:
    """Percent, or ``copies`` where no request goes to the new version."""
    return f"{stage.weight:g} %" if stage.weight else "copies"


def sentences(status: Status) -> Iterator[str]:
    """What it waits for, why each guard says what it says, and who answered."""
    from rich.markup import escape

    if status.says:
        yield escape(status.says)
    for guard in status.guards:
        if guard.why:
            off = "off, " if guard.verdict == "off" else ""
            yield f"[dim]{guard.name}: {off}{escape(guard.why)}[/]"
    yield escape(answered(status))


def answered(status: Status) -> str:
    """Who answered how many requests."""
    old, new = f"version {status.stable}", f"version {status.candidate}"
    both = f"V{old[1:]} answered {status.answered_stable:,} requests, {new} {status.answered_candidate:,}"
    told = [both]
    if status.saved:
        told.append(f"{status.saved:,} more failed on {new} and were answered by {old}")
    if status.mirrored:
        told.append(f"copies of {status.mirrored:,} ran on both")
    if status.phase not in ENDS:
        told.append(f"{number(status.rate)} requests a second now")
    return "; ".join(told) + "."


# -- guards --------------------------------------------------------------------------------------------


def fitting(guards: Sequence[Guard], console: "Console", without: Collection[str] = ()) -> "Table":
    """The fullest table that fits into the console, or the smallest there is; ``without`` names columns."""
    endless = console.options.update(width=10_000)
    for few in range(len(LESSER)):
        shown = table(guards, (*without, *LESSER[:few]))
        if console.measure(shown, options=endless).maximum <= console.width:
            return shown
    return table(guards, (*without, *LESSER))


def table(guards: Sequence[Guard], without: Collection[str] = ()) -> "Table":
    """One line a guard."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    kept = {head: cell for head, cell in CELLS.items() if head not in without}
    for head in kept:
        justify: Literal["left", "right"] = "left" if head in WORDS else "right"
        shown.add_column(head, justify=justify, no_wrap=True, vertical="bottom")
    for guard in guards:
        shown.add_row(*(cell(guard) for cell in kept.values()))
    return shown


def effect(guard: Guard) -> str:
    """New over old, or the part of answers that differ."""
    return _amount(guard, guard.effect)


def interval(guard: Guard) -> str:
    """Where the effect lies, whenever one looks."""
    low, high = guard.low, guard.high
    if low is None or high is None:
        known = low if high is None else high
        return "–" if known is None else f"{'≥' if high is None else '≤'} {_amount(guard, known)}"
    if guard.name in PARTS:
        return f"{number(100 * low)}–{number(100 * high)} %"
    return f"{number(low)}–{number(high)}"


def _amount(guard: Guard, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{number(100 * value)} %" if guard.name in PARTS else number(value)


def bar(part: float) -> str:
    """A part of BAR cells, to an eighth of one; what is lacking is dotted."""
    eighths = round(min(max(part, 0.0), 1.0) * BAR * 8)
    full = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return f"{full}[dim]{'·' * (BAR - len(full))}[/]"


def needs(guard: Guard) -> str:
    """What is lacking until it passes: time at today's traffic, or requests."""
    if guard.verdict != "not yet":
        return ""
    return duration(guard.needs_s) if guard.needs_s is not None else f"{requests(guard)} more"


def requests(guard: Guard) -> str:
    """More of the new version until it passes."""
    if guard.verdict != "not yet":
        return ""
    return "–" if guard.needs is None else f"{guard.needs:,}"


WORDS = ("guard", "verdict", "against", "for")
CELLS: Mapping[str, Cell] = {
    "guard": lambda guard: guard.name,
    "verdict": lambda guard: f"[{COLOURS[guard.verdict]}]{guard.verdict}[/]",
    "new/old": effect,
    "interval": interval,
    "fails\nover": lambda guard: _amount(guard, guard.alarm),
    "passes\nunder": lambda guard: _amount(guard, guard.target),
    "against": lambda guard: bar(guard.against),
    "for": lambda guard: bar(guard.for_),
    "seen": lambda guard: f"{guard.seen:,}",
    "events": lambda guard: f"{guard.events:,}",
    "needs": needs,
    "requests": requests,
}
"""By the head of its column; those of WORDS begin on the left."""


# -- lists ---------------------------------------------------------------------------------------------


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
        began = f"{duration(max(0.0, now - each.began))} ago"
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
