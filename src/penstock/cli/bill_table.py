"""A bill as a table: who used what, what it cost, what was idle, and the sum."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

from penstock.cli.bill_scale import GRAMS, JOULES, Units, column, money, ratios, unit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Record: TypeAlias = Mapping[str, Any]

LESSER = ("share", "sci", "energy_1000", "carbon", "gpu_s", "cpu_s", "marginal", "energy", "cost_1000")
"""Columns that a narrow terminal goes without, the first one first."""
NAME_ROOM = 20
"""Columns of the terminal for a name, before others are left out for it; what is longer is folded."""
GAP = 2
"""Between two columns."""
BAR = 10
"""Columns of the terminal for the longest bar."""
NOBODY = "(none)"
"""The tenant of requests that name none."""
STYLES = {"idle": "dim", "total": "bold"}
EIGHTHS = " ▏▎▍▌▋▊▉"


class Column(Struct, frozen=True):
    """Cells for each record; ``key`` is what LESSER calls it."""

    key: str
    head: str
    unit: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """Of the terminal."""
        return max(len(self.head), len(self.unit), *map(len, self.cells))


def show(bill: Record, console: "Console") -> None:
    """The table, without what there is no room for where the terminal is narrow."""
    columns = numbers(bill)
    console.print(table(bill, fitting(bill, columns, console.width)))


def fitting(bill: Record, columns: Sequence[Column], width: int) -> list[Column]:
    """The most columns that fit; the fewest where even they do not."""
    from rich.cells import cell_len

    named = 0
    for key in bill["by"] or ("",):
        longest = max((cell_len(each[key]) for each in bill["lines"] if key), default=0)
        named += max(len(key), len(NOBODY), min(longest, NAME_ROOM)) + GAP
    for few in range(len(LESSER) + 1):
        kept = [each for each in columns if each.key not in LESSER[:few]]
        if named + sum(each.width + GAP for each in kept) - GAP <= width:
            break
    return kept


def table(bill: Record, columns: Sequence[Column]) -> "Table":
    """One line a group, then what was idle, then the sum."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for key in bill["by"] or ("",):
        shown.add_column(f"{key}\n", overflow="fold")
    for each in columns:
        side: Literal["left", "right"] = "left" if each.key == "share" else "right"
        shown.add_column(f"{each.head}\n[not bold dim]{each.unit}[/]", justify=side, no_wrap=True)
    for at, row in enumerate(records(bill)):
        if at == len(bill["lines"]):
            shown.add_row()
        figures = [each.cells[at] for each in columns]
        if any(figures):
            shown.add_row(*words(row, bill["by"]), *figures, style=STYLES.get(row.get("name", "")))
    return shown


def words(record: Record, by: Sequence[str]) -> list[str]:
    """The first cells of a row: what it is for."""
    from rich.markup import escape

    if "name" in record:
        return [record["name"], *[""] * (len(by) - 1)]
    return [escape(record[key]) or NOBODY for key in by] or ["all"]


def records(bill: Record) -> list[Record]:
    """The lines, what was idle, and the sum: all that the machine cost; of some lines, only their sum."""
    total = {**bill["total"], "name": "total"}
    if bill.get("only") or not bill.get("machine"):
        return [*bill["lines"], total]
    idle = _idle(bill)
    return [*bill["lines"], idle, total | {key: _sum(total, idle, key) for key in idle if key != "name"}]


def _idle(bill: Record) -> dict[str, Any]:
    machine = bill["machine"]
    idle = {**bill.get("idle", {}), "name": "idle"}
    idle["cpu_s"] = max(machine["cpu_s"] - machine["cpu_busy_s"], 0.0)
    if "gpu_s" in machine:
        idle["gpu_s"] = max(machine["gpu_s"] - machine["gpu_busy_s"], 0.0)
    return idle


def _sum(total: Record, idle: Record, key: str) -> float:
    return float(total.get(key) or 0.0) + float(idle[key])


def numbers(bill: Record) -> list[Column]:
    """Every column of figures for which something is known."""
    rows = records(bill)
    known = {key for row in rows for key, value in row.items() if value is not None}
    columns = [Column("queries", "queries", "", [_count(row) for row in rows]), *_times(rows, known)]
    if "cost" in known or "cost_marginal" in known:
        columns += _money(rows, bill.get("currency", ""))
    if "energy_j" in known or "energy_marginal_j" in known:
        columns += _energy(rows, "cost" in known)
    if "carbon_g" in known:
        columns += _carbon(rows)
    return [*columns, Column("share", "share", "", _shares(bill["lines"], len(rows)))]


def _times(rows: Sequence[Record], known: Collection[str]) -> Iterator[Column]:
    for key, name in (("cpu_s", "core-s"), ("gpu_s", "GPU-s")):
        if key in known:
            yield Column(key, "time", name, _column(rows, [row.get(key) for row in rows]))


def _money(rows: Sequence[Record], currency: str) -> Iterator[Column]:
    yield from (
        _amounts("cost", "cost", rows, "cost", money(currency)),
        _amounts("marginal", "marginal", rows, "cost_marginal", money(currency)),
        _per_1000("cost_1000", rows, "cost_per_1000", money(currency)),
    )


def _energy(rows: Sequence[Record], priced: bool) -> Iterator[Column]:
    """Its marginal part only where there is no money to tell the same."""
    yield _amounts("energy", "energy", rows, "energy_j", JOULES)
    if not priced:
        yield _amounts("marginal", "marginal", rows, "energy_marginal_j", JOULES)
    yield _per_1000("energy_1000", rows, "energy_per_1000_j", JOULES)


def _carbon(rows: Sequence[Record]) -> Iterator[Column]:
    """What making the machine emitted is in it, where that is known."""
    of_both = [
        {"g": row["carbon_g"] + row.get("embodied_g", 0.0), **row} if "carbon_g" in row else row
        for row in rows
    ]
    yield _amounts("carbon", "CO2e", of_both, "g", GRAMS)
    yield _per_1000("sci", rows, "sci_g_per_1000", GRAMS)


def _amounts(key: str, head: str, rows: Sequence[Record], field: str, units: Units) -> Column:
    values = [row.get(field) for row in rows]
    size, name = unit(values, units)
    fewest = 2 if field.startswith("cost") and size == 1 else 0
    return Column(key, head, name, _column(rows, values, size, fewest))


def _per_1000(key: str, rows: Sequence[Record], field: str, units: Units) -> Column:
    values = [row.get(field) for row in rows]
    size, name = unit(values, units)
    return Column(key, "per 1,000", name, _blank(rows, ratios(values, size)))


def _column(
    rows: Sequence[Record], values: Sequence[float | None], size: float = 1.0, fewest: int = 0
) -> list[str]:
    lines = sum("name" not in row for row in rows)
    return _blank(rows, column(values, size, fewest, lines))


def _blank(rows: Sequence[Record], cells: Sequence[str]) -> list[str]:
    """Nothing instead of a dash for what is idle: it is not unknown, there is none."""
    return [
        "" if cell == "–" and row.get("name") == "idle" else cell
        for row, cell in zip(rows, cells, strict=True)
    ]


def _count(row: Record) -> str:
    return f"{row['queries']:,}" if "queries" in row else ""


def _shares(lines: Sequence[Record], rows: int) -> list[str]:
    largest = max((line["share"] for line in lines), default=0.0)
    drawn = [f"{bar(line['share'], largest):<{BAR}} {100 * line['share']:3.0f} %" for line in lines]
    return drawn + [""] * (rows - len(lines))


def bar(share: float, largest: float) -> str:
    """A bar of at most BAR cells, to an eighth of a cell."""
    eighths = round(share / largest * BAR * 8) if largest else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
