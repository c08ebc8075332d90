"""The ``penstock`` command: its verbs by name, each imported only when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from penstock import __version__
from penstock.core.errors import BadSetting, PenstockError
from penstock.core.schema import nearest

VERBS = {
    "serve": ("penstock.cli.serve", "Serve a model, or a folder of models, over HTTP and gRPC."),
    "init": ("penstock.cli.init", "Write an example repository, trained on real data in seconds."),
    "models": ("penstock.cli.models", "Show a server's models: versions, states, where they run, how fast."),
    "infer": ("penstock.cli.infer", "Ask a model, and print its answer."),
    "bench": ("penstock.cli.bench", "Load a model, and show requests/s and latency percentiles."),
    "bill": ("penstock.cli.bill", "Show who used what, and what it cost in money and energy."),
    "optimize": ("penstock.cli.optimize", "Find the cheapest way to run a model that keeps its answers."),
    "profile": ("penstock.cli.profile", "Measure a version on this machine, over layouts and batch sizes."),
    "rollout": ("penstock.cli.rollout", "Bring a new version in by evidence, and take a bad one back."),
    "scale": ("penstock.cli.scale", "Show how many instances models have and should have, and why."),
    "k8s": ("penstock.cli.k8s", "Write manifests for Kubernetes, KServe and KEDA."),
    "scaler": ("penstock.cli.scaler", "Tell KEDA how many replicas the forecast wants."),
    "key": ("penstock.cli.key", "Make an API key, and the line for the settings that admits it."),
}
"""Module and one line of help by verb; the module's ``command`` is the verb, or has verbs of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit; an error of ours is one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in given if not word.startswith("-")), "")
    try:
        application(verb)(given, prog_name="penstock")
    except PenstockError as error:
        if "--debug" in given[: given.index(verb)]:
            raise
        typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
        typer.secho(str(error), fg="red", err=True)
        sys.exit(2)


def application(verb: str) -> typer.Typer:
    """The typer application, with the real command for ``verb`` and only help lines for others.

    Raises BadSetting for a verb that there is not.
    """
    if verb and verb not in VERBS:
        raise BadSetting(f"no verb {verb!r}; {nearest(verb, list(VERBS))}")
    app = typer.Typer(
        help="An inference server that holds its targets.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, (module, help_line) in VERBS.items():
        command = import_module(module).command if name == verb else _unused
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=help_line)
        else:
            app.command(name, help=None if name == verb else help_line, short_help=help_line)(command)
    return app


def _unused() -> None:
    """Stands for the verbs that were not called, so that help can list them."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")] = False,
) -> None:
    pass
