"""The names of tenants: what they may be, and what is left of one that a caller sends."""

import re
from hashlib import blake2b

from penstock.core.errors import BadSetting

LONGEST = 64
"""Characters."""


def check(name: str, where: str) -> str:
    """The name of a tenant in the settings; raises BadSetting where it is none."""
    if not name or name != cleaned(name):
        raise BadSetting(
            f"{where}: {name!r} cannot name a tenant; a name has 1 to {LONGEST} printable characters, "
            "and no space at its ends"
        )
    return name


def cleaned(text: str) -> str:
    """What can be a tenant's name of whatever a header holds; empty where nothing is left."""
    return "".join(filter(str.isprintable, text)).strip()[:LONGEST].strip()


def mark(text: str) -> str:
    """What stands for a caller by whatever a header holds, which may be a secret; empty for nothing."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest() if text else ""


_TAKEN = ("authorization", "proxy-authorization", "x-api-key", "cookie", "traceparent", "tracestate")
"""Headers that hold secrets, which a bill would tell, or what differs with each request."""


def check_header(name: str, where: str) -> None:
    """Raises BadSetting where a header of this name could not tell a tenant, over HTTP and gRPC alike."""
    lower = name.lower()
    if name and not (re.fullmatch(r"[a-z0-9_.-]+", lower) and not lower.endswith("-bin")):
        raise BadSetting(f"{where}: {name!r} cannot name a header; one such as 'X-Tenant' would do")
    if lower in _TAKEN:
        raise BadSetting(
            f"{where}: {name!r} cannot name a tenant, it means something else; take another header, "
            "such as 'X-Tenant'"
        )
