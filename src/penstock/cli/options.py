"""Options that several verbs share, and the client that they describe."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.client import Client
from penstock.core.errors import BadSetting

Url = Annotated[
    str, typer.Option("--url", metavar="URL", envvar="PENSTOCK_URL", help="Where the server listens.")
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="KEY",
        envvar="PENSTOCK_API_KEY",
        help="API key, or @FILE to read it from a file, unseen by `ps`.",
    ),
]
Ca = Annotated[str, typer.Option("--ca", metavar="FILE", help="PEM file to trust, for https.")]
Version = Annotated[str, typer.Option("--version", help="Version of the model; the live one if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LOCAL = "http://127.0.0.1:8000"


def connect(url: str, key: str, ca: str, timeout: float = 30.0) -> Client:
    """A client for the server that the options name; ``timeout`` in seconds."""
    return Client(url, api_key=secret(key) or None, timeout=timeout, verify=ca or True)


def secret(key: str) -> str:
    """The key itself, or what the file after ``@`` holds. Raises BadSetting where there is no such file."""
    return read(key[1:]).decode().strip() if key.startswith("@") else key


def read(path: str) -> bytes:
    """What a file holds. Raises BadSetting that says why it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadSetting(f"{path!r} cannot be read: {error.strerror}") from None
