"""Whether a request is the work of somebody else's web page, which a browser carries to a server near it.

Browsers say so by Sec-Fetch-Site where the page can be trusted (HTTPS, localhost), else by Origin; other
clients send neither. A page whose own name was made to lead here (DNS rebinding) is of the same origin as
we are, and only the name tells.
"""

import ipaddress

from penstock.core.errors import Forbidden
from penstock.doors.message import Headers


def refuse(headers: Headers, *, alone: bool) -> None:
    """Raises Forbidden for the request of another site's page.

    ``alone``: this machine alone reaches us and no keys are asked for, so that any name but its own is one
    that somebody has led here.
    """
    host = headers.get(b"host", b"").lower()
    if _from_elsewhere(headers, host):
        raise Forbidden(
            "a web page of another site asks for this, which only the server's own page may; where a proxy "
            "stands between, let it keep the Host header or send X-Forwarded-Host"
        )
    if alone and host and not _ours(host.decode("latin-1")):
        raise Forbidden(
            f"this is asked of the name {host.decode('latin-1')!r}, while the server is reached from this "
            "machine alone and without keys; ask localhost or 127.0.0.1, give it keys, or start it with "
            "--insecure"
        )


def _from_elsewhere(headers: Headers, host: bytes) -> bool:
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is None:
        return False
    # No page can send X-Forwarded-Host to another site unless that allows it, and we allow nobody.
    return origin.lower().partition(b"://")[2] not in (host, headers.get(b"x-forwarded-host", host).lower())


def _ours(host: str) -> bool:
    """An address, which no name server can lead elsewhere, or a name that is always this machine's."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
