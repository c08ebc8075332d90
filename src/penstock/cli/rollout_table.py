"""How a rollout looks: its stages in a line, a row for each guard, and what it waits for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from penstock.cli.bill_scale import duration
from penstock.cli.bill_table import EIGHTHS
from penstock.cli.models import number
from penstock.rollout.words import Guard, Stage, Status

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
PARTS = ("answers", "outputs")
"""Guards whose effect is a part of the answers."""


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
    """What it waits for, what the table does not tell of the guards, and who answered."""
    from rich.markup import escape

    if status.says:
        yield escape(status.says)
    for why, names in reasons(status).items():
        yield f"[dim]{', '.join(names)}: {escape(why)}[/]"
    yield escape(answered(status))


def reasons(status: Status) -> dict[str, list[str]]:
    """The guards by what they say, where that is more than how much is lacking."""
    found: dict[str, list[str]] = {}
    for guard in status.guards:
        told = guard.needs is not None or status.phase in ENDS
        if guard.why and not (guard.verdict == "not yet" and told):
            why = f"off, {guard.why}" if guard.verdict == "off" else guard.why
            found.setdefault(why, []).append(guard.name)
    return found


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


def margin(guard: Guard, value: float | None) -> str:
    """A part for ``answers``, else a ratio: ``outputs`` fail by how much rarer or commoner a class is."""
    return _amount(guard, value) if value is None or guard.name == "answers" else number(value)


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
    lacking = requests(guard)
    if not lacking or guard.needs is None:
        return lacking
    return f"{lacking} more" if guard.needs_s is None else about(guard.needs_s)


def requests(guard: Guard) -> str:
    """More of the new version until it passes; nothing where it has, or need not."""
    if guard.verdict != "not yet" or guard.target is None:
        return ""
    return "–" if guard.needs is None else f"{guard.needs:,}"


def about(seconds: float) -> str:
    """In the unit in which it is a handful: an estimate has no more digits."""
    for size, name, least in ((86_400, "d", 2), (3600, "h", 2), (60, "min", 2)):
        if seconds >= size * least:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:.0f} s"


WORDS = ("guard", "verdict", "against", "for")
CELLS: Mapping[str, Cell] = {
    "guard": lambda guard: guard.name,
    "verdict": lambda guard: f"[{COLOURS[guard.verdict]}]{guard.verdict}[/]",
    "new/old": effect,
    "interval": interval,
    "fails\nover": lambda guard: margin(guard, guard.alarm),
    "passes\nunder": lambda guard: margin(guard, guard.target),
    "against": lambda guard: bar(guard.against),
    "for": lambda guard: bar(guard.for_),
    "seen": lambda guard: f"{guard.seen:,}",
    "events": lambda guard: f"{guard.events:,}",
    "needs": needs,
    "requests": requests,
}
"""By the head of its column; those of WORDS begin on the left."""
