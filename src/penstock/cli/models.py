"""``penstock models``: what a server holds, in what state, where it runs and how fast."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import orjson
import typer

from penstock.cli.options import LOCAL, AsJson, Ca, Key, Url, connect

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WORDS = ("model", "version", "state", "engine", "runs in", "batches")
NUMBERS = ("MiB", "run ms", "p50 ms", "p99 ms")
LESSER = ("engine", "MiB", "p50 ms", "run ms", "batches", "runs in")
"""Columns that a narrow terminal goes without, the first one first."""
NAME_ROOM = 24
"""Columns of the terminal for a name, before others are left out for it; what is longer is folded."""
COLOURS = {"READY": "green", "COLD": "cyan", "LOADING": "yellow", "UNLOADING": "yellow", "UNAVAILABLE": "red"}

PIPELINE = "penstock_pipeline"


def command(url: Url = LOCAL, json: AsJson = False, key: Key = "", ca: Ca = "") -> None:
    """Show a server's models: versions, states, where they run, how fast.

    A star marks the live version: the one that answers requests which name none.
    """
    with connect(url, key, ca) as client:
        models = client.status()
    if json:
        typer.echo(orjson.dumps(models, option=orjson.OPT_INDENT_2))
        return
    from rich.console import Console

    if models:
        show(models, Console(highlight=False))
    else:
        typer.echo(f"no models at {url}; put one into its repository")


def show(models: list[dict[str, Any]], console: "Console") -> None:
    """The table, without what there is no room for where the terminal is narrow, and what is amiss below."""
    console.print(next(fitting(models, console)))
    reasons = [model for model in models if model.get("reason") and model.get("state") != "COLD"]
    if reasons:
        console.print()
    for model in reasons:
        who = f"{model['name']} {model['version']}".strip()
        console.print(f"{who}: {model['reason']}", markup=False, soft_wrap=True)


def fitting(models: list[dict[str, Any]], console: "Console") -> "Iterator[Table]":
    """Tables that fit into the console, the fullest first; the last one comes whether it fits or not."""
    endless = console.options.update(width=10_000)
    longest = max((len(model["name"]) for model in models), default=0)
    for few in range(len(LESSER)):
        shown = table(models, LESSER[:few])
        natural = console.measure(shown, options=endless).maximum
        if natural - max(longest - NAME_ROOM, 0) <= console.width:
            yield shown
    yield table(models, LESSER)


def table(models: list[dict[str, Any]], without: Collection[str] = ()) -> "Table":
    """One line a version; ``without`` names columns."""
    from rich.table import Table

    heads = [*WORDS, *NUMBERS]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    kept = [at for at, name in enumerate(heads) if name not in without]
    for at in kept:
        name = heads[at]
        justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        shown.add_column(name, justify=justify, no_wrap=at > 0, overflow="fold")
    for model in models:
        row = cells(model)
        shown.add_row(*(row[at] for at in kept))
    return shown


def cells(model: Mapping[str, Any]) -> list[str]:
    """The words for one version; what is not known (yet) is a dash."""
    from rich.markup import escape

    state = model.get("state", "")
    colour = COLOURS.get(state, "white")
    return [
        escape(model["name"]),
        f"{escape(model['version'])}{' *' if model.get('live') else ''}",
        f"[{colour}]{state}[/]",
        escape(model.get("platform") or "–"),
        where(model),
        batches(model),
        mebibytes(model),
        number(model.get("run_ms") or None),
        number(model.get("p50_ms")),
        p99(model),
    ]


def where(model: Mapping[str, Any]) -> str:
    """``inline``, or how many instances of how many threads, and the device where it is not the CPU."""
    if model.get("platform") == PIPELINE:
        return "its models"
    kind = model.get("isolation")
    if not kind or model.get("state") == "COLD":
        return "–"
    instances, threads = model.get("instances", 1), model.get("threads", 1)
    many = {"inline": "inline", "process": f"{instances} proc{'s' if instances != 1 else ''}"}
    words = many.get(kind, f"{instances}")
    if kind != "inline" or threads != 1:
        words += f" × {threads} thread{'s' if threads != 1 else ''}"
    device = model.get("device") or "cpu"
    return words if device == "cpu" else f"{words}, {device}"


def batches(model: Mapping[str, Any]) -> str:
    """The policy and its cap in rows, or why there is none."""
    if model.get("platform") == PIPELINE:
        return "by step"
    if not model.get("isolation") or model.get("state") == "COLD":
        return "–"
    if not model.get("batched"):
        return "no"
    return f"{model.get('policy', 'yes')} to {model.get('batch_cap', '?')}"


def mebibytes(model: Mapping[str, Any]) -> str:
    """Memory that it takes, in brackets while it is not loaded; ``~`` marks an estimate."""
    amount = model.get("memory_bytes", 0) / 2**20
    if not amount:
        return "–"
    amount_text = f"{amount:.0f}" if amount >= 10 else f"{max(amount, 0.1):.1f}"
    text = amount_text if model.get("memory_measured") else f"~{amount_text}"
    return f"({text})" if model.get("state") == "COLD" else text


def p99(model: Mapping[str, Any]) -> str:
    """The p99 beside its target, red when over."""
    value, target = model.get("p99_ms"), model.get("target_p99_ms")
    if not target:
        return number(value)
    text = f"{number(value)}/{number(target)}"
    return f"[red]{text}[/]" if value is not None and value > target else text


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
