"""What both clients share around httpx: the address, the headers, and its errors in our words."""

from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx

from penstock import __version__
from penstock.client.calls import Answer
from penstock.client.errors import ServerError
from penstock.core.errors import BadSetting

Verify: TypeAlias = bool | str | SSLContext
"""True: the usual authorities; a path: trust that PEM file; False: trust anybody."""


def address(url: str) -> str:
    """A base URL; ``http://`` may be left out. Raises BadSetting for what is none."""
    whole = url if "://" in url else f"http://{url}"
    parts = urlsplit(whole)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting(f"{url!r} is no address of a server; it should look like http://127.0.0.1:8000")
    return whole.rstrip("/")


def options(url: str, api_key: str | None, timeout: float | None, verify: Verify) -> dict[str, Any]:
    """Arguments for either httpx client."""
    headers = {"User-Agent": f"penstock/{__version__}"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": url, "headers": headers, "timeout": timeout, "verify": context(url, verify)}


def transport(url: str, verify: Verify) -> dict[str, Any]:
    """Arguments for either httpx transport: as many connections as there are calls at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return {"retries": 1, "verify": context(url, verify), "limits": limits}


def context(url: str, verify: Verify) -> SSLContext | bool:
    """What httpx should verify with; for plain HTTP nothing, which saves it 40 ms of reading CAs."""
    if not url.startswith("https"):
        return False
    if isinstance(verify, str):
        from ssl import create_default_context

        try:
            return create_default_context(cafile=verify)
        except OSError as error:
            raise BadSetting(f"{verify!r} cannot be read as PEM certificates: {error}") from None
    return verify


def answer(response: httpx.Response) -> Answer:
    """Ours of httpx's; its header names are case-blind already, but ours are plain lower case."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def explain(error: httpx.HTTPError, url: str) -> ServerError:
    """One sentence for a call that got no answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        if "CERTIFICATE" in str(error):
            return ServerError(f"the certificate of {url} is not trusted ({error}); name the CA's PEM file")
        return ServerError(
            f"nobody answers at {url} ({error or 'time-out'}); start a server with `penstock serve`, "
            "or give another URL"
        )
    if isinstance(error, httpx.TimeoutException):
        return ServerError(f"no answer from {url} in time; the server is busy, or the time-out too short")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return ServerError(f"what listens at {url} does not speak HTTP/1.1 ({error}); is it the gRPC port?")
    return ServerError(f"the connection to {url} broke: {error or type(error).__name__}")


def datatypes(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Datatypes by input name, of a model's metadata."""
    return {spec["name"]: spec["datatype"] for spec in metadata.get("inputs", ())}
