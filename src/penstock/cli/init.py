"""``penstock init``: an example repository of real models, with requests to try on them."""

import shlex
import time
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import orjson
import typer
from msgspec import Struct
from numpy.typing import NDArray

from penstock.cli.digits import RECIPES, Digits, Recipe, accuracy, digits, samples, train
from penstock.cli.shell import program
from penstock.core.errors import BadSetting
from penstock.core.tensors import to_bytes

MODEL_TOML = """\
# How this model is served. Everything here is optional; what is commented out shows the default.

versions = "{versions}"{padding}# "latest", "latest N", "all", or a list: ["1", "2"]

# [batching]
# policy = "slo"              # none, fixed, aimd, slo
# max_rows = 0                # 0: the policy chooses

# [target]
# p99_ms = 0                  # latency to hold, in milliseconds; 0: none

# [instances]
# count = 0                   # batches at once; 0: by the cores there are
# threads = 0                 # compute threads of each; 0: by the cores there are

[parameters]
about = "Handwritten digits, 8 x 8 pixels of 0 to 16, from scikit-learn's bundled data."
"""


class Written(Struct, frozen=True):
    """One version that was written; ``accuracy`` is on held-out images, from the ONNX file."""

    model: str
    version: str
    kind: str
    accuracy: float
    size: int
    """Bytes."""
    seconds: float
    """Training, export and test."""


def init(
    directory: Path, force: bool = False, started: Callable[[Recipe], None] = lambda recipe: None
) -> list[Written]:
    """Write the example repository; each model's folder appears whole or not at all.

    ``started`` is told of every version before it is trained.
    Raises BadSetting when ``directory`` is in use and ``force`` is not given, or packages are missing.
    """
    _check(directory, force)
    data = digits()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return _write(directory, data, started)
    except OSError as error:
        raise BadSetting(f"{error.filename or directory} cannot be written: {error.strerror}") from None


def _write(directory: Path, data: Digits, started: Callable[[Recipe], None]) -> list[Written]:
    written: list[Written] = []
    with TemporaryDirectory(prefix=".init-", dir=directory) as temporary:
        for model, recipes in groupby(RECIPES, lambda recipe: recipe.model):
            folder = Path(temporary) / model
            written += [_version(folder, recipe, data, started) for recipe in recipes]
            _settings(folder, len({each.version for each in written if each.model == model}))
            _requests(folder / "requests", data)
            _place(folder, directory / model)
    return written


def _check(directory: Path, force: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise BadSetting(f"{directory} is a file; give a folder that is new or empty")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise BadSetting(
            f"{directory} is not empty; give another folder, or --force to replace the example's models in it"
        )


def _version(folder: Path, recipe: Recipe, data: Digits, started: Callable[[Recipe], None]) -> Written:
    started(recipe)
    begun = time.perf_counter()
    model = train(recipe, data)
    right = accuracy(model, data)
    (folder / recipe.version).mkdir(parents=True)
    (folder / recipe.version / "model.onnx").write_bytes(model)
    seconds = time.perf_counter() - begun
    return Written(recipe.model, recipe.version, recipe.kind, right, len(model), seconds)


def _settings(folder: Path, versions: int) -> None:
    policy = "all" if versions > 1 else "latest"
    text = MODEL_TOML.format(versions=policy, padding=" " * (17 - len(policy)))
    (folder / "model.toml").write_text(text)


def _requests(folder: Path, data: Digits) -> None:
    folder.mkdir()
    for digit, image in samples(data).items():
        (folder / f"digit-{digit}.json").write_bytes(as_json(f"digit-{digit}", image))
    header, tensor = as_binary("digit-7", samples(data)[7])
    (folder / "digit-7.bin").write_bytes(header + tensor)
    (folder / "digit-7.bin.headers").write_text(
        f"Content-Type: application/octet-stream\nInference-Header-Content-Length: {len(header)}\n"
    )


def as_json(name: str, image: NDArray[Any]) -> bytes:
    """A whole V2 infer request in JSON."""
    tensor = {"name": "image", "shape": image.shape, "datatype": "FP32", "data": image.ravel().tolist()}
    return orjson.dumps({"id": name, "inputs": [tensor]}, option=orjson.OPT_APPEND_NEWLINE)


def as_binary(name: str, image: NDArray[Any]) -> tuple[bytes, bytes]:
    """The same with the tensor as binary data: the JSON part and the raw part."""
    raw = bytes(to_bytes(image))
    size = {"binary_data_size": len(raw)}
    tensor = {"name": "image", "shape": image.shape, "datatype": "FP32", "parameters": size}
    return orjson.dumps({"id": name, "inputs": [tensor]}), raw


def _place(built: Path, target: Path) -> None:
    if target.exists():
        target.rename(built.parent / f"{built.name}.old")
    built.rename(target)


def next_steps(directory: Path) -> list[tuple[str, str]]:
    """What to try, each with its command line."""
    request = shlex.quote(str(directory / "digits-mlp/requests/digit-7.json"))
    url = "http://127.0.0.1:8000/v2/models/digits-mlp/infer"
    python = (
        "from penstock import Client; from sklearn.datasets import load_digits; "
        "print(Client().infer('digits-mlp', load_digits().data[:5].astype('float32'))['label'])"
    )
    return [
        ("serve it", f"{program('penstock')} serve {shlex.quote(str(directory))}"),
        ("ask from a shell", f"curl -s {url} -d @{request}"),
        ("ask from Python", f'{program("python")} -c "{python}"'),
    ]


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The repository to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the example's models in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not say what to try next.")] = False,
) -> None:
    """Write an example repository, trained on real data in seconds."""
    _check(directory, force)
    _show(_with_progress(directory, force), directory)
    for what, line in () if quiet else next_steps(directory):
        typer.echo(f"\n{what}:\n  {line}")


def _with_progress(directory: Path, force: bool) -> list[Written]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading the digits", total=len(RECIPES))

        def started(recipe: Recipe) -> None:
            progress.update(
                task,
                completed=RECIPES.index(recipe),
                description=f"training {recipe.model} {recipe.version}: {recipe.kind}",
            )

        return init(directory, force, started)


def _show(written: Iterable[Written], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{directory}: digits, accuracy on held-out images by ONNX Runtime", title_justify="left"
    )
    for heading in ("model", "version", "what it is"):
        table.add_column(heading)
    for heading in ("accuracy", "KiB", "seconds"):
        table.add_column(heading, justify="right")
    for each in written:
        numbers = (f"{each.accuracy:.1%}", f"{each.size / 1024:.1f}", f"{each.seconds:.2f}")
        table.add_row(each.model, each.version, each.kind, *numbers)
    Console().print(table)
