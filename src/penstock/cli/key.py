"""``penstock key``: a fresh API key, and the line by which the settings know it."""

import secrets
from typing import Annotated

import typer

from penstock.core.terms import Role
from penstock.doors.auth import digest


def key(role: Role) -> tuple[str, str]:
    """A random key (256 bits), and its line for ``[keys]`` in the settings."""
    fresh = f"ps_{secrets.token_urlsafe(32)}"  # known for a key, and never an option by a leading dash
    return fresh, f'"{digest(fresh)}" = "{role}"'


def command(
    admin: Annotated[
        bool, typer.Option("--admin", help="May also load and unload models, not only infer.")
    ] = False,
) -> None:
    """Print a fresh API key and the line that lets it in.

    The key itself is stored nowhere: hand it to the client now, and put the line under [keys].
    """
    fresh, line = key("admin" if admin else "infer")
    typer.echo(f"key (for the client, shown only now):\n  {fresh}\n")
    typer.echo(f"for penstock.toml:\n  [keys]\n  {line}\n")
    typer.echo("or for the environment:\n  " + _variable(line))


def _variable(line: str) -> str:
    return f"PENSTOCK_KEYS='{{{line}}}'"
