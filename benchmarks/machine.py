"""The machine's facts, and the one way in which every benchmark reports."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LIBRARIES = ("penstock", "onnxruntime", "numpy", "uvloop", "httptools", "orjson", "grpcio", "starlette")

Row = Mapping[str, Any]
"""One line of the table: values by column."""
Aim = Mapping[str, Any]
"""``name``, ``aim`` (what was wanted, in words or a number), ``got``, and ``met`` (bool)."""


def facts() -> dict[str, Any]:
    """What a figure depends on: processor, cores, those we may use, system, Python, libraries, date."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "os": platform.platform(),
        "python": sys.version.split()[0],
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def report(
    rows: Sequence[Row], aims: Sequence[Aim] = (), json_path: Path | str | None = None, title: str = ""
) -> bool:
    """Prints the rows and the aims as tables, writes both with the machine's facts; are all aims met?"""
    machine = facts()
    console = Console() if sys.stdout.isatty() else Console(width=170)
    cores = ",".join(map(str, machine["affinity"]))
    console.print(f"{machine['cpu']} · cores {cores} · Python {machine['python']} · {machine['date']}")
    console.print(_table(title, rows))
    if aims:
        console.print(_table("aims", [{**aim, "met": "yes" if aim["met"] else "NO"} for aim in aims]))
    if json_path is not None:
        content = {"machine": machine, "title": title, "rows": list(rows), "aims": list(aims)}
        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
        Path(json_path).write_bytes(orjson.dumps(content, option=options))
    return all(aim["met"] for aim in aims)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title or None, title_justify="left")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        number = all(isinstance(row.get(column, 0), int | float) for row in rows)
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
