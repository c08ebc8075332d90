"""``penstock optimize``: the cheapest honest way to run a model on this machine."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import LOCAL, Ca, Key, connect
from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.sizes import size

if TYPE_CHECKING:
    from penstock.optimize.samples import Samples
    from penstock.optimize.types import Outcome, Progress, Targets
    from penstock.repository.locate import Located

OBJECTIVES = ("latency", "throughput", "cost", "energy")
LIVE = "live"
"""For ``--data``: the last requests that a running server has kept."""
INTERRUPTED = 130
"""Exit code, as shells have it for Ctrl-C."""
UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

Model = Annotated[
    str, typer.Argument(metavar="MODEL[@VERSION]", help="A name in the repository, or a folder or file.")
]
Data = Annotated[
    str,
    typer.Option(
        metavar="SAMPLES",
        help="Real rows: .npz, .npy, .csv, .json, .jsonl, 'module:function', or live.",
    ),
]
Labels = Annotated[str, typer.Option(metavar="FILE|NAME", help="The right answers, in a file or the data.")]
Repository = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the models are.")]
LiveUrl = Annotated[
    str, typer.Option("--url", metavar="URL", envvar="PENSTOCK_URL", help="Of --data live: the server.")
]
Memory = Annotated[str, typer.Option(metavar="SIZE", help="Most that a child process may take, e.g. 8GiB.")]
Json = Annotated[str, typer.Option("--json", metavar="FILE", help="Write all figures; - for stdout.")]


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
    located = found(model, repository)
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
    deliver(outcome, located, json, report, budget)


# -- what is asked ------------------------------------------------------------------------------------


def duration(text: str, option: str) -> float:
    """Seconds of ``20ms``, ``90s``, ``15m`` or ``1h``. Raises BadSetting."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower(), re.ASCII)
    factor = UNITS.get(match[2]) if match else None
    if match is None or factor is None or not float(match[1]):
        raise BadSetting(f"{option} {text!r} is no span of time; write e.g. 20ms, 90s, 15m or 1h")
    return float(match[1]) * factor


def wanted(minimize: str, max_drop: float, p99: str, metric: str) -> "Targets":
    """Raises BadSetting for what there is not, or cannot be measured here."""
    from penstock.optimize import metrics
    from penstock.optimize.types import Targets

    if minimize not in OBJECTIVES:
        raise BadSetting(f"--minimize {minimize!r}; {nearest(minimize, list(OBJECTIVES))}")
    if minimize == "energy":
        check_energy()
    if metric:
        own_modules()
        metrics.reads(metric)
    return Targets(
        minimize=minimize,  # type: ignore[arg-type]
        max_drop=max_drop,
        p99_ms=duration(p99, "--p99") * 1e3 if p99 else 0.0,
        metric=metric,
    )


def check_energy() -> None:
    """Raises BadSetting where nothing tells what is used."""
    from penstock.metering.energy import open_probe

    if open_probe().joules() is None:
        raise BadSetting(
            "--minimize energy: no energy counter is readable here (RAPL, which most systems show to root "
            "alone); --minimize cost, processor seconds a row, comes nearest"
        )


def check_writable(file: str) -> None:
    """A search of minutes should not end with a folder that is not there. Raises BadSetting."""
    folder = Path(file).parent
    if file not in ("", "-") and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise BadSetting(f"{file} cannot be written: {folder} is no folder that may be written to")


def own_modules() -> None:
    """Modules in the working directory can be imported, after all others, here and in child processes."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def found(model: str, repository: Path) -> "Located":
    """Raises BadSetting with what there is instead."""
    from penstock.repository.locate import locate

    return locate(model, repository)


def gathered(
    located: "Located", model: str, data: str, labels: str, url: str, key: str, ca: str
) -> "Samples":
    """What ``--data`` names, fit for the model."""
    from penstock.optimize.data import read, samples, signature_of

    if data != LIVE:
        return read(data, labels, signature_of(located))
    if labels:
        raise BadSetting("--labels goes with data of your own; requests that a server has kept have none")
    version = located.version if model.endswith(f"@{located.version}") else ""
    with connect(url, key, ca) as client:
        groups = client.samples(located.name, version)
    return samples(groups, signature_of(located), f"what {located.name} was asked at {url}")


class interruptible(AbstractContextManager[None]):  # noqa: N801 - used as a function
    """Turns Ctrl-C into a line and an exit code."""

    def __init__(self, located: "Located", *, fresh: bool = False, resumes: bool = True) -> None:
        self._kept = resumes and located.spec.cache != "off"
        self._fresh = fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not KeyboardInterrupt:
            return
        again = f"the same command{' without --fresh' if self._fresh else ''} goes on from here"
        typer.echo(f"stopped; {again if self._kept else 'nothing is kept of it'}", err=True)
        raise typer.Exit(INTERRUPTED)


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


def deliver(outcome: "Outcome", located: "Located", json: str, report: str, budget: str) -> None:
    """The end of it on the screen, and in the files that were asked for."""
    from rich.console import Console

    from penstock.cli.optimize_table import conclude

    console = Console(highlight=False, stderr=json == "-")
    conclude(outcome, console)
    for line in advice(outcome, located, budget):
        console.print(line, markup=False, soft_wrap=True)
    if report:
        from penstock.optimize.report import render

        write(report, render(outcome))
        console.print(f"report: {report}", markup=False, soft_wrap=True)
    if json:
        write_json(json, outcome)


def advice(outcome: "Outcome", located: "Located", budget: str) -> Sequence[str]:
    """What to do next."""
    lines: list[str] = []
    if not outcome.complete:
        lines.append(
            f"the budget of {budget} is used up (earlier runs count) and there is more to try: "
            "a larger --budget goes on from here"
        )
    if outcome.applied:
        lines.append(f"wrote {outcome.applied}")
        if located.folder is not None and Path(outcome.applied).parent == located.folder:
            lines.append("a running `penstock serve` brings it in by itself; remove the folder to go back")
    elif outcome.choice.winner is not None:
        how = "--apply" if located.folder is not None else "--out FOLDER"
        lines.append(f"to use it: the same command with {how}, which takes no new measurements")
    return lines


def write_json(file: str, value: "object") -> None:
    """All of a value, indented; ``-`` is stdout."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"
    if file == "-":
        typer.echo(text, nl=False)
    else:
        write(file, text)


def write(file: str, text: str) -> None:
    """Raises BadSetting where it cannot."""
    try:
        Path(file).write_text(text)
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror}") from None
