"""What the verbs that measure models share: options, sample data, Ctrl-C, and files of figures."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import connect
from penstock.core.errors import BadSetting

if TYPE_CHECKING:
    from penstock.optimize.samples import Samples
    from penstock.repository.locate import Located

LIVE = "live"
"""For ``--data``: the last requests that a running server has kept."""
INTERRUPTED = 130
"""Exit code, as shells have it for Ctrl-C."""

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


@contextmanager
def interruptible(located: "Located", *, fresh: bool = False, resumes: bool = True) -> Iterator[None]:
    """Turns Ctrl-C into a line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        again = f"the same command{' without --fresh' if fresh else ''} goes on from here"
        kept = resumes and located.spec.cache != "off"
        typer.echo(f"stopped; {again if kept else 'nothing is kept of it'}", err=True)
        raise typer.Exit(INTERRUPTED) from None


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
