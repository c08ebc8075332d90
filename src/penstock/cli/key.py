"""``penstock key``: a fresh API key, and the line by which the settings know it."""

import json
import secrets
import shlex
from typing import Annotated

import typer

from penstock.core.tenants import check
from penstock.core.terms import Role
from penstock.doors.auth import digest


def key(role: Role, tenant: str = "") -> tuple[str, str]:
    """A random key (256 bits), and its line for ``[keys]`` in the settings.

    Raises BadSetting where the tenant's name is none.
    """
    fresh = f"ps_{secrets.token_urlsafe(32)}"  # known for a key, and never an option by a leading dash
    terms = f'"{role}"'
    if tenant:
        name = json.dumps(check(tenant, "--tenant"), ensure_ascii=False)  # a basic string of TOML, too
        terms = f'{{ role = "{role}", tenant = {name} }}'
    return fresh, f'"{digest(fresh)}" = {terms}'


def command(
    admin: Annotated[
        bool, typer.Option("--admin", help="May also load and unload models, not only infer.")
    ] = False,
    tenant: Annotated[
        str, typer.Option(help="Whom its requests are charged to, in bills and budgets.", metavar="NAME")
    ] = "",
) -> None:
    """Print a fresh API key and the line that lets it in.

    The key itself is stored nowhere: hand it to the client now, and put the line under [keys].
    """
    fresh, line = key("admin" if admin else "infer", tenant)
    typer.echo(f"key (for the client, shown only now):\n  {fresh}\n")
    typer.echo(f"for penstock.toml:\n  [keys]\n  {line}\n")
    typer.echo("or for the environment:\n  " + _variable(line))


def _variable(line: str) -> str:
    return "PENSTOCK_KEYS=" + shlex.quote(f"{{{line}}}")
