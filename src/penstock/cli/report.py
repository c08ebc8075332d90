"""How a benchmark looks: progress, table, histograms, JSON."""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from penstock import __version__
from penstock.cli.measure import Row, draw
from penstock.core.machine import cores, processor

if TYPE_CHECKING:
    from rich.table import Table

LATE = 0.1
"""A generator whose own lateness is over this share of the p50 gets a warning."""


@contextmanager
def progress(seconds: float) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr for levels that take ``seconds`` altogether; gives what tells it of progress."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    done: dict[str, float] = {}
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=seconds)

        def tick(level: str, so_far: float) -> None:
            done[level] = so_far
            bar.update(task, description=level, completed=sum(done.values()), refresh=True)

        yield tick


def show(target: msgspec.Struct, rows: Sequence[Row], json: str) -> None:
    """Table and histograms, and the figures to the file ``json`` (``-``: stdout, and the table to stderr)."""
    from rich.console import Console

    console = Console(highlight=False, stderr=json == "-")
    console.print(table(rows))
    for row in rows:
        console.print(f"\n[bold]{load(row)}[/]{server(row)}", soft_wrap=True)
        for line in draw(row.histogram):
            console.print(line, markup=False, soft_wrap=True)
    for warning in filter(None, map(warn, rows)):
        console.print(f"[yellow]warning: {warning}[/]", soft_wrap=True)
    if json:
        text = msgspec.json.format(msgspec.json.encode(facts(target, rows))).decode() + "\n"
        print(text, end="") if json == "-" else Path(json).write_text(text)


def table(rows: Sequence[Row]) -> "Table":
    """One line a level; times in milliseconds."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    unanswered = any(row.unanswered for row in rows)
    heads = ["load", "requests/s", "errors", *(["unanswered"] if unanswered else [])]
    for head in [*heads, "p50 ms", "p90", "p99", "p99.9", "max"]:
        shown.add_column(head, justify="left" if head == "load" else "right", no_wrap=True)
    for row in rows:
        counts = [red(sum(row.errors.values())), *([red(row.unanswered)] if unanswered else [])]
        shown.add_row(load(row), throughput(row), *counts, *times(row))
    return shown


def load(row: Row) -> str:
    """The level in words."""
    return f"{row.level:g} at once" if row.mode == "concurrency" else f"{row.level:g}/s"


def throughput(row: Row) -> str:
    """Good answers a second."""
    return f"{row.requests_per_s:,.0f}" if row.requests_per_s >= 10 else f"{row.requests_per_s:.2f}"


def times(row: Row) -> list[str]:
    """The percentiles, with three digits."""
    found = (row.p50_ms, row.p90_ms, row.p99_ms, row.p99_9_ms, row.max_ms)
    return ["–" if ms is None else f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}" for ms in found]


def red(count: int) -> str:
    """A count that should be nought."""
    return f"[red]{count}[/]" if count else "0"


def server(row: Row) -> str:
    """What the server says of itself, where it says anything."""
    if row.server is None:
        return ""
    side = row.server
    return (
        f"  in the server: queue {side.queue_ms:.3g} ms, compute {side.compute_ms:.3g} ms, "
        f"{side.batch_rows:.3g} rows a batch"
    )


def warn(row: Row) -> str:
    """A sentence where the figures deserve less trust than they look; else nothing."""
    if row.mode == "rate" and row.requests_per_s < 0.95 * row.level:
        return (
            f"{load(row)}: only {row.requests_per_s:,.0f} good answers a second; "
            "the queue grew, so the percentiles grow with --duration"
        )
    if (
        row.late_p99_ms is not None
        and row.p50_ms is not None
        and row.late_p99_ms > max(LATE * row.p50_ms, 0.1)
    ):
        return (
            f"{load(row)}: the load generator itself was up to {row.late_p99_ms:.2g} ms late (p99), "
            "which is part of the latencies; give it a free core"
        )
    return ""


def facts(target: msgspec.Struct, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, for a file."""
    return {"machine": machine(), "target": target, "rows": rows}


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, system and versions."""
    return {
        "processor": processor(),
        "cores": len(cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "penstock": __version__,
    }
