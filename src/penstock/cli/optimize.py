"""``penstock optimize``: the cheapest honest way to run a model on this machine."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import LOCAL, Ca, Key
from penstock.cli.samples import (
    Data,
    Json,
    Labels,
    LiveUrl,
    Memory,
    Model,
    Repository,
    check_writable,
    gathered,
    interruptible,
    own_modules,
)
from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.sizes import size
from penstock.core.spans import duration

if TYPE_CHECKING:
    from penstock.optimize.types import Progress, Targets

OBJECTIVES = ("latency", "throughput", "cost", "energy")


def command(
    model: Model,
    data: Data,
    labels: Labels = "",
    max_drop: Annotated[
        float, typer.Option(help="How much the answers may lose, at 95 % confidence.", min=0.0, max=1.0)
    ] = 0.01,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="How answers are judged; by labels and outputs if not given.")
    ] = "",
    minimize: Annotated[
        str, typer.Option(metavar="|".join(OBJECTIVES), help="What to spend least of.")
    ] = "latency",
    p99: Annotated[str, typer.Option(metavar="TIME", help="A latency to hold, e.g. 20ms.")] = "",
    budget: Annotated[str, typer.Option(metavar="TIME", help="How long to search, e.g. 90s, 1h.")] = "15m",
    repository: Repository = Path("models"),
    passes: Annotated[
        str, typer.Option(metavar="A,B", help="Passes to keep to, and your own as 'module:Class'.")
    ] = "",
    finetune: Annotated[
        str, typer.Option(metavar="MODULE:FUNCTION", help="Trains a pruned model again; prune needs it.")
    ] = "",
    memory: Memory = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write the winner as a new version.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the winner there instead.")
    ] = None,
    report: Annotated[str, typer.Option(metavar="FILE.html", help="Write a page to show to others.")] = "",
    json: Json = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs found out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing until the end.")] = False,
    url: LiveUrl = LOCAL,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Find the cheapest way to run a model here that keeps its answers.

    Variants are made and measured in turns with the original, and judged on rows that made none of them.
    What was done is kept: the same command goes on where it stopped, and is instant once it is through.
    """
    limit = duration(budget, "--budget")
    targets = wanted(minimize, max_drop, p99, metric)
    for file in (json, report):
        check_writable(file)
    own_modules()
    from penstock.optimize.start import start

    located, told = start(model, repository)
    if told and not quiet:
        typer.echo(told, err=True)
    with interruptible(located, fresh=fresh):
        samples = gathered(located, model, data, labels, url, key, ca)
        from penstock.optimize.run import optimize

        with watching(targets, quiet=quiet) as watch:
            outcome = optimize(
                model,
                samples,
                repository=repository,
                targets=targets,
                budget=limit,
                passes=[name.strip() for name in passes.split(",") if name.strip()],
                finetune=finetune,
                apply=apply,
                out=out,
                memory=size(memory, "--memory"),
                fresh=fresh,
                watch=watch,
            )
    from penstock.cli.optimize_end import deliver

    deliver(outcome, located, json, report, budget)


# -- what is asked ------------------------------------------------------------------------------------


def wanted(minimize: str, max_drop: float, p99: str, metric: str) -> "Targets":
    """Raises BadSetting for what there is not, or cannot be measured here."""
    from penstock.optimize import metrics
    from penstock.optimize.types import Targets

    if minimize not in OBJECTIVES:
        raise BadSetting(f"--minimize {minimize!r}; {nearest(minimize, list(OBJECTIVES))}")
    if minimize == "energy":
        check_energy()
    if metric:
        metrics.reads(metric)
    return Targets(
        minimize=minimize,  # type: ignore[arg-type]
        max_drop=max_drop,
        p99_ms=duration(p99, "--p99") * 1e3 if p99 else 0.0,
        metric=metric,
    )


def check_energy() -> None:
    """Raises BadSetting where nothing tells what is used."""
    from penstock.metering.energy.rapl import open_probe

    if open_probe().joules() is None:
        raise BadSetting(
            "--minimize energy: no energy counter is readable here (RAPL, which most systems show to root "
            "alone); --minimize cost, processor seconds a row, comes nearest"
        )


# -- what is shown ------------------------------------------------------------------------------------


def watching(targets: "Targets", *, quiet: bool) -> AbstractContextManager["Callable[[Progress], object]"]:
    """A live table on a terminal, a line for each trial elsewhere."""
    from contextlib import nullcontext

    from rich.console import Console

    from penstock.cli.optimize_table import Lines, Screen

    console = Console(stderr=True, highlight=False)
    if quiet:
        return nullcontext(lambda _: None)
    return Screen(console, targets) if console.is_terminal else nullcontext(Lines(console, targets))
