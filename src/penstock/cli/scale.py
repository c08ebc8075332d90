"""``penstock scale``: how many instances models have and should have, and why."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
import typer

from penstock.cli.models import number
from penstock.cli.options import LOCAL, AsJson, Ca, Key, Url, connect
from penstock.core.errors import BadSetting
from penstock.scaling.words import Standing, Told

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIXED = {
    "fixed": "the number is fixed; with min or max under [instances] in model.toml it follows the traffic",
    "inline": "it is so quick that it runs in the event loop, in one instance",
    "pipeline": "a pipeline has no instances of its own; its steps' models have",
    "absent": "it is not in memory",
    "unseen": "it has not been looked at yet, or [scaling] enabled is false in the server's settings",
}
LESSER = ("over target", "start-up", "burst")
"""Columns that a narrow terminal goes without, the first one first."""


def command(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Its name; all of them if not given.")] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what was seen and expected, and how it was decided.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, max=100, help="Decisions to show, with --explain.")
    ] = 10,
    url: Url = LOCAL,
    key: Key = "",
    ca: Ca = "",
    as_json: AsJson = False,
) -> None:
    """Show how many instances models have and should have, and why."""
    if explain and not model:
        raise BadSetting("--explain says it of one model; name it: penstock scale MODEL --explain")
    with connect(url, key, ca) as client:
        if model:
            _one(client.scale(model, limit if explain or as_json else 1), explain=explain, as_json=as_json)
        else:
            _all(client.scales(), as_json=as_json)


def _all(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.console import Console

    console = Console(highlight=False)
    standings = msgspec.convert(found, list[Standing])
    if not standings:
        console.print("The server has no models.")
        return
    console.print(fitting(standings, console))


def _one(found: dict[str, Any], *, explain: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.console import Console

    console = Console(highlight=False)
    standing, told = msgspec.convert(found, Standing), msgspec.convert(found["decisions"], list[Told])
    console.print(fitting([standing], console))
    if standing.fixed:
        console.print(f"\n{standing.model}: {FIXED[standing.fixed]}.", markup=False, soft_wrap=True)
    if not explain:
        return
    for line in reasons(standing):
        console.print(line, markup=False, soft_wrap=True)
    if told:
        console.print()
        console.print(log(told))


def fitting(standings: list[Standing], console: "Console") -> "Table":
    """The fullest table that fits into the console, or the smallest there is."""
    endless = console.options.update(width=10_000)
    for few in range(len(LESSER)):
        shown = table(standings, LESSER[:few])
        if console.measure(shown, options=endless).maximum <= console.width:
            return shown
    return table(standings, LESSER)


def table(standings: list[Standing], without: tuple[str, ...] = ()) -> "Table":
    """One line a model; rates are rows a second."""
    from rich.markup import escape
    from rich.table import Table

    cells: dict[str, Callable[[Standing], str]] = {
        "model": lambda one: escape(one.model),
        "instances": instances,
        "of": lambda one: "" if one.fixed else f"{one.least} to {one.most}",
        "now": lambda one: "" if one.fixed else number(one.rate),
        "expected": lambda one: "" if one.fixed else number(one.forecast),
        "one carries": lambda one: "" if one.carries is None else number(one.carries),
        "burst": lambda one: "" if one.fixed else number(one.burst),
        "over target": lambda one: "" if one.missed is None else f"{number(100 * one.missed)} %",
        "start-up": lambda one: f"{number(one.startup_s)} s" if one.startup_s else "",
        "by": lambda one: one.by or one.fixed,
    }
    shown = Table(box=None, pad_edge=False, header_style="bold")
    kept = {head: cell for head, cell in cells.items() if head not in without}
    for head in kept:
        shown.add_column(
            head, justify="left" if head in ("model", "instances", "by") else "right", no_wrap=True
        )
    for one in standings:
        shown.add_row(*(cell(one) for cell in kept.values()))
    return shown


def instances(one: Standing) -> str:
    """``2``, ``2 → 4`` while they are on their way, ``none`` for what is unloaded."""
    if one.fixed == "absent" or (not one.fixed and not one.ready and not one.wanted):
        return "none"
    return str(one.ready) if one.ready == one.wanted else f"{one.ready} → {one.wanted}"


def reasons(one: Standing) -> list[str]:
    """What is known of a model's capacity, and of the last decision."""
    said = [""]
    if one.carries is not None:
        within = f"its target of {number(one.target_ms)} ms" if one.target_ms else "what it may take at all"
        alone = f"; by itself it holds 99 % in time up to {number(one.alone)} rows/s" if one.alone else ""
        said.append(
            f"An instance works off {number(one.carries)} rows/s in batches that leave "
            f"{number(one.wait_ms)} ms for the queue within {within}{alone}."
        )
        if abs(one.corrected - 1) > 0.01:
            said.append(
                f"What happened under load has corrected that to {one.corrected:.0%} of what run times say."
            )
    if one.starts and one.startup_s:
        said.append(
            f"An instance takes up to {number(one.startup_s)} s to start (19 of 20; {one.starts} measured)."
        )
    if one.line:
        said += ["", f"Last decision: {one.line}"]
    elif one.note:
        said += ["", one.note]
    return said


def log(decisions: list[Told]) -> "Table":
    """What was decided, the newest first; times are local."""
    from datetime import datetime

    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("when", "had", "wanted", "why"):
        shown.add_column(
            head,
            no_wrap=head != "why",
            overflow="fold",
            justify="right" if head in ("had", "wanted") else "left",
        )
    for each in decisions:
        when = datetime.fromtimestamp(each.at).astimezone().strftime("%m-%d %H:%M:%S")
        shown.add_row(when, str(each.had), str(each.wanted), escape(each.line))
    return shown
