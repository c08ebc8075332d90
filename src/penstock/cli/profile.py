"""``penstock profile``: one version measured over layouts and batch sizes, as numbers to plan by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    found,
    gathered,
    interruptible,
    own_modules,
    write_json,
)
from penstock.core.sizes import show, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penstock.optimize.types import Profile


def command(
    model: Model,
    data: Data,
    labels: Labels = "",
    repository: Repository = Path("models"),
    rounds: Annotated[int, typer.Option(help="Times that each size is measured in each layout.", min=1)] = 10,
    memory: Memory = "",
    json: Json = "",
    url: LiveUrl = LOCAL,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Measure a version as it is, in each layout over this machine's cores.

    Labels are left aside: nothing is judged.
    """
    check_writable(json)
    own_modules()
    located = found(model, repository)
    with interruptible(located, resumes=False):
        samples = gathered(located, model, data, labels, url, key, ca)
        from penstock.optimize.profile import profile

        with bar() as watch:
            measured = profile(
                model,
                samples,
                repository=repository,
                memory=size(memory, "--memory"),
                rounds=rounds,
                watch=watch,
            )
    from rich.console import Console

    conclude(measured, Console(highlight=False, stderr=json == "-"))
    if json:
        write_json(json, measured)


@contextmanager
def bar() -> Iterator[Callable[[str, float], None]]:
    """On stderr, where that is a terminal; gives what tells it of progress, as a part of 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=1.0)

        def tell(doing: str, part: float) -> None:
            shown.update(task, description=doing, completed=part)

        yield tell


def conclude(measured: "Profile", console: "Console") -> None:
    """The table, and what holds for all of it."""
    console.print(table(measured))
    console.print(
        f"\n{measured.model} {measured.version} on {measured.device}: loaded in {measured.load_s:.2g} s, "
        f"takes up to {show(measured.memory_bytes)}, file {show(measured.file_bytes)}",
        soft_wrap=True,
        markup=False,
    )
    processor, cores = measured.machine.get("processor", ""), measured.machine.get("cores", "?")
    console.print(f"{processor}, {cores} cores", soft_wrap=True, markup=False)


def table(measured: "Profile") -> "Table":
    """One line a point; times in milliseconds."""
    from rich.table import Table

    energy = any(point.joules is not None for point in measured.points)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("layout", no_wrap=True)
    for head in ("rows", "run ms", "p99 ms", "rows/s", "CPU ms a row", *(["J a row"] if energy else [])):
        shown.add_column(head, justify="right", no_wrap=True)
    for point in measured.points:
        numbers = [point.run_ms, point.p99_ms, point.rows_per_s, point.cpu_ms, *([point.joules] * energy)]
        layout = f"{point.instances} × {point.threads}"
        shown.add_row(layout, str(point.rows), *(number(each) for each in numbers))
    return shown


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
