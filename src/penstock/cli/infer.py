"""``penstock infer``: one question from the command line."""

from typing import Annotated, Any

import numpy as np
import orjson
import typer

from penstock.cli.options import LOCAL, AsJson, Ca, Key, Url, Version, connect, read
from penstock.client import Client, Result
from penstock.client.calls import infer_body
from penstock.core.errors import BadSetting
from penstock.core.tensors import Array, datatype_of

Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        "-i",
        metavar="[NAME=]VALUE",
        help="An input: FILE.npy, JSON, or @FILE.json; the name may be left out where there is only one.",
    ),
]


def command(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    inputs: Inputs = [],  # noqa: B006 - typer reads it
    request: Annotated[str, typer.Option(metavar="FILE", help="A whole V2 request as JSON.")] = "",
    output: Annotated[list[str], typer.Option(help="An output to ask for; all if not given.")] = [],  # noqa: B006
    version: Version = "",
    url: Url = LOCAL,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 30.0,
    json: AsJson = False,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Ask a model, and print its answer."""
    if bool(inputs) == bool(request):
        raise BadSetting("give the inputs by --input, or a whole request by --request FILE")
    if request and output:
        raise BadSetting("--output goes with --input; a request names its outputs itself")
    with connect(url, key, ca, timeout) as client:
        if request:
            result = saved(client, model, version, read(request))
        else:
            result = client.infer(model, parse(inputs), version=version, outputs=output)
    typer.echo(as_json(result) if json else as_text(result))


def saved(client: Client, model: str, version: str, body: bytes) -> Result:
    """The answer to a ready request."""
    return client.send(infer_body(model, version, {"Content-Type": "application/json"}, body))


def parse(inputs: list[str]) -> Any:
    """What the client takes: values by name, or one value without a name."""
    pairs = [split(text) for text in inputs]
    if len(pairs) == 1 and not pairs[0][0]:
        return value(pairs[0][1])
    if any(not name for name, _ in pairs):
        raise BadSetting("with several inputs each needs its name: --input NAME=VALUE")
    return {name: value(text) for name, text in pairs}


def split(text: str) -> tuple[str, str]:
    """Name and value of ``NAME=VALUE``; JSON and @FILE may hold a ``=`` of their own."""
    name, equals, rest = text.partition("=")
    if not equals or name[:1] in ("[", "{", '"', "@"):
        return "", text
    return name, rest


def value(text: str) -> Any:
    """An array from FILE.npy, or plain values from JSON or @FILE.json. Raises BadSetting."""
    if text.endswith(".npy"):
        return array(text)
    source = read(text[1:]) if text.startswith("@") else text
    try:
        return orjson.loads(source)
    except ValueError as error:
        raise BadSetting(
            f"{text[:60]!r} is no JSON ({error}); give JSON, @FILE.json or FILE.npy, as in --input x=[[1,2]]"
        ) from None


def array(path: str) -> Array:
    """The array in a .npy file. Raises BadSetting; pickled objects are refused, as they could run code."""
    try:
        loaded: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path!r} cannot be read as .npy: {error}") from None
    return loaded


def as_text(result: Result) -> str:
    """Each output under a line with its name, datatype and shape; long arrays are shortened."""
    who = f"{result.model} version {result.version}" if result.version else result.model
    return "\n".join([who, *(block(name, output) for name, output in result.items())])


def block(name: str, output: Array) -> str:
    """One output."""
    values = np.vectorize(_text, otypes=[object])(output) if output.dtype == object else output
    if output.dtype.name == "bfloat16":
        values = output.astype(np.float32)
    body = np.array2string(values, threshold=64, precision=6, suppress_small=True, max_line_width=100)
    return f"{name}  {datatype_of(output.dtype)} {list(output.shape)}\n{body}"


def as_json(result: Result) -> str:
    """A V2 answer; bytes that are no text are shown with their escapes, NaN is null."""
    outputs = [
        {
            "name": name,
            "datatype": datatype_of(output.dtype),
            "shape": output.shape,
            "data": plain(output),
        }
        for name, output in result.items()
    ]
    answer = {"model_name": result.model, "model_version": result.version, "outputs": outputs}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2).decode()


def plain(output: Array) -> Any:
    """Flat values that JSON can carry."""
    if output.dtype == object:
        return [_text(text) for text in output.ravel()]
    if output.dtype.itemsize == 2 and output.dtype.kind not in "iu":
        return output.astype(np.float32).ravel()
    return np.ascontiguousarray(output).reshape(-1)


def _text(value: Any) -> str:
    return bytes(value).decode(errors="backslashreplace")
