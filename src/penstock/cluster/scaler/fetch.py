"""GET and POST with an end to everything: time, bytes, and errors that say who did what."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.core.errors import Unavailable, one_line

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 64 << 20


def client(ca: str = "") -> "httpx.AsyncClient":
    """For everything that the scaler asks; ``ca`` is a PEM file to trust instead of the usual ones."""
    import ssl

    import httpx

    limits = httpx.Limits(max_connections=512, max_keepalive_connections=256)
    trusted = ssl.create_default_context(cafile=ca or None)
    return httpx.AsyncClient(trust_env=False, verify=trusted, limits=limits)


async def fetch(
    client: "httpx.AsyncClient",
    url: str,
    seconds: float,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    name: str = "",
) -> bytes:
    """The body of an answer that says 200; ``name`` is whose certificate it must be, if not the URL's host.

    Raises Unavailable.
    """
    import httpx

    extensions = {"sni_hostname": name} if name else {}
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(
                "POST" if form else "GET",
                url,
                data=form,
                headers=headers,
                extensions=extensions,
                timeout=seconds,
            ) as answer,
        ):
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise Unavailable(
                        f"{url} sends more than {MOST_BYTES >> 20} MiB; that is no page of metrics"
                    )
    except TimeoutError:
        raise Unavailable(f"{url} did not answer in {seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Unavailable(f"{url} cannot be asked: {one_line(error)}") from None
    if answer.status_code == 401:
        raise Unavailable(f"{url} wants a key (401); give the scaler --key, or --prometheus-token")
    if answer.status_code != 200:
        said = " ".join(body[:500].decode(errors="replace").split())[:200]
        raise Unavailable(f"{url} answered {answer.status_code}: {said}")
    return bytes(body)
