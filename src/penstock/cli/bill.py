"""``penstock bill``: who used what of the machine, and what it cost in money and energy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from penstock.cli.options import LOCAL, AsJson, Ca, Key, Url, connect
from penstock.core.errors import BadSetting

if TYPE_CHECKING:
    from rich.console import Console


def command(
    by: Annotated[
        str, typer.Option("--by", metavar="WHAT", help="Any of model, version, tenant and site, by commas.")
    ] = "model,version",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How long ago (90m, 24h, 7d), or a date.")
    ] = "24h",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Likewise; now if not given.")] = "",
    model: Annotated[str | None, typer.Option("--model", help="Of this model alone.")] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Of this tenant alone; '' is who names none.")
    ] = None,
    json: AsJson = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with units in the names of columns.")
    ] = False,
    file: Annotated[
        str, typer.Option("--file", metavar="DB", help="Read the books from this file, without a server.")
    ] = "",
    url: Url = LOCAL,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Show who used what, and what it cost in money and energy.

    The cost is full: what the machine cost while idle is borne by those who used it.
    The marginal cost is that of their busy time alone.
    """
    if json and csv:
        raise BadSetting("--json and --csv: only one of them can be printed; leave one out")
    if file:
        from penstock.cli.bill_file import kept

        bill = kept(Path(file), by, since, until, model, tenant)
    else:
        with connect(url, key, ca) as client:
            bill = client.bill(by, since, until, model=model, tenant=tenant)
    if json:
        typer.echo(orjson.dumps(bill, option=orjson.OPT_INDENT_2))
    elif csv:
        from penstock.doors.bill_form import as_csv

        typer.echo(as_csv(bill), nl=False)
    else:
        from rich.console import Console

        show(bill, Console(highlight=False))


def show(bill: dict[str, Any], console: "Console") -> None:
    """The table and what is to be said of it; sentences alone where nobody used anything."""
    from penstock.cli import bill_notes, bill_table

    if bill["lines"]:
        bill_table.show(bill, console)
        console.print()
        bill_notes.show(bill_notes.notes(bill), console)
    else:
        bill_notes.show(bill_notes.nothing(bill), console)
