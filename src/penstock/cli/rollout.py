"""``penstock rollout``: bring a new version in by evidence, look at it, and decide otherwise."""

from time import time
from typing import Annotated, Any, TypeVar

import msgspec
import orjson
import typer
from typer.core import TyperGroup

from penstock.cli.options import LOCAL, AsJson, Ca, Key, Url, connect
from penstock.client import Client
from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.rollout.port import Verb
from penstock.rollout.terms import typed
from penstock.rollout.words import Change, Status

T = TypeVar("T")


class Verbs(TyperGroup):
    """The verbs of ``rollout``; for one that there is not, the nearest is named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            raise BadSetting(f"rollout has no verb {args[0]!r}; {nearest(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


command = typer.Typer(cls=Verbs, no_args_is_help=True, rich_markup_mode=None)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Its name.")]
AnyModel = Annotated[str, typer.Argument(metavar="[MODEL]", help="Its name; all of them if not given.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="For the audit log.")]


@command.command()
def start(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version that is to come in.")],
    plan: Annotated[
        str, typer.Option("--plan", metavar="canary|blue-green|shadow|ab|aa", help="How it comes in.")
    ] = "",
    steps: Annotated[
        str, typer.Option("--steps", metavar="1,5,25,100", help="Percent of the requests, stage by stage.")
    ] = "",
    guard: Annotated[
        list[str] | None,
        typer.Option("--guard", metavar="NAME=MARGIN", help="E.g. p99=1.2, or cost=off; may be repeated."),
    ] = None,
    hold: Annotated[
        str, typer.Option("--hold", metavar="TIME", help="The least that a stage lasts, e.g. 10m.")
    ] = "",
    patience: Annotated[
        str, typer.Option("--patience", metavar="TIME", help="The longest without a verdict, e.g. 1d.")
    ] = "",
    inconclusive: Annotated[
        str, typer.Option("--inconclusive", metavar="hold|rollback|promote", help="What then happens.")
    ] = "",
    sticky: Annotated[
        str, typer.Option("--sticky", metavar="BY", help="id, tenant, header:NAME or parameter:NAME.")
    ] = "",
    mirror: Annotated[
        float | None, typer.Option("--mirror", metavar="PART", help="Of the requests: run on both versions.")
    ] = None,
    compare: Annotated[
        str,
        typer.Option("--compare", metavar="HOW", help="exact, tolerance, top1, cosine or module:function."),
    ] = "",
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", metavar="PART", help="By which numbers may differ.")
    ] = None,
    differ: Annotated[
        float | None, typer.Option("--differ", metavar="PART", help="Of the answers: may differ.")
    ] = None,
    baseline: Annotated[
        bool | None,
        typer.Option("--baseline/--no-baseline", help="Judge against a fresh copy of the old one."),
    ] = None,
    slack: Annotated[
        float | None,
        typer.Option("--slack", metavar="MS", help="Latency that the new version may take more."),
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", metavar="PART", help="Chance to take a good version back.")
    ] = None,
    why: Why = "",
    force: Annotated[bool, typer.Option("--force", help="Even a version that is marked bad.")] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Stay and look on until it ends.")] = False,
    json: AsJson = False,
    url: Url = LOCAL,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Begin a rollout.

    What is not given is as model.toml says in [rollout], else by the plan and the traffic.
    """
    terms = typed(
        plan=plan, steps=steps, guards=guard or (), hold=hold, patience=patience, inconclusive=inconclusive,
        sticky=sticky, mirror=mirror, compare=compare, tolerance=tolerance, differ=differ,
        baseline=baseline, slack_ms=slack, risk=risk,
    )  # fmt: skip
    with connect(url, key, ca) as client:
        begun = client.start_rollout(model, version, why=why, force=force, **terms)
        if watching:
            _watch(client, model, begun["id"], json)
    _show(begun, json)


@command.command()
def status(model: AnyModel = "", json: AsJson = False, url: Url = LOCAL, key: Key = "", ca: Ca = "") -> None:
    """Show how rollouts stand: stages, guards, and what is still lacking."""
    with connect(url, key, ca) as client:
        if model:
            _show(client.rollout(model), json)
            return
        found, bad = client.rollouts(), [] if json else client.bad_versions()
    if json:
        _print(found)
    elif found:
        from penstock.cli import rollout_lists

        rollout_lists.show_all([read(each) for each in found], bad, _console(), time())
    else:
        typer.echo(f"no rollouts at {url}; `penstock rollout start MODEL VERSION` begins one")


@command.command()
def watch(model: Model, json: AsJson = False, url: Url = LOCAL, key: Key = "", ca: Ca = "") -> None:
    """Look on until a rollout ends: exit code 0 if the new version was promoted, 1 if taken back.

    Ctrl-C leaves it running.
    """
    with connect(url, key, ca) as client:
        _watch(client, model, "", json)


def _verb(verb: Verb, help_line: str) -> None:
    def run(
        model: Model, why: Why = "", json: AsJson = False, url: Url = LOCAL, key: Key = "", ca: Ca = ""
    ) -> None:
        with connect(url, key, ca) as client:
            _show(client.rollout_command(model, verb, why), json)

    command.command(verb, help=help_line)(run)


_verb("pause", "Stay in this stage; a guard that fails still takes the new version back.")
_verb("resume", "Go on after a pause.")
_verb("promote", "Let the new version answer everything, proven or not.")
_verb("rollback", "Take the new version back, and mark it bad.")


@command.command()
def history(
    model: AnyModel = "",
    limit: Annotated[int, typer.Option("--limit", help="Lines at most.", min=1, max=1000)] = 100,
    json: AsJson = False,
    url: Url = LOCAL,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Show who changed what, when and why."""
    with connect(url, key, ca) as client:
        found = client.rollout_history(model, limit)
    if json:
        _print(found)
    elif found:
        from penstock.cli import rollout_lists

        rollout_lists.show_changes([_read(each, Change) for each in found], _console())
    else:
        typer.echo("nothing has happened yet")


# -- what is shown -------------------------------------------------------------------------------------


def read(found: dict[str, Any]) -> Status:
    """Raises BadSetting for what a server says that this client does not know."""
    return _read(found, Status)


def _read(found: dict[str, Any], into: type[T]) -> T:
    try:
        return msgspec.convert(found, into)
    except msgspec.ValidationError as error:
        raise BadSetting(f"the server speaks of rollouts in other words ({error}); use its version") from None


def _show(found: dict[str, Any], json: bool) -> None:
    if json:
        _print(found)
        return
    from penstock.cli import rollout_table

    rollout_table.show(read(found), _console(), time())


def _watch(client: Client, model: str, id: str, json: bool) -> None:  # noqa: A002
    from penstock.cli import rollout_watch

    raise typer.Exit(rollout_watch.follow(client, model, id, json=json))


def _print(found: Any) -> None:
    typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
