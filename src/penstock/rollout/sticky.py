"""Who counts as the same caller, so that he stays on his version."""

from collections.abc import Callable

from penstock.core.types import Request

HEADER = "header:"
PARAMETER = "parameter:"


def key_of(sticky: str) -> Callable[[Request], str] | None:
    """What tells callers apart, by ``terms.sticky``; None: nothing does. Pure.

    A request that lacks it gives an empty key and is divided by lot.
    """
    if sticky == "id":
        return lambda request: request.id
    if sticky == "tenant":
        return lambda request: request.tags.get("tenant", "")
    if sticky.startswith(HEADER):
        tag = sticky.lower()
        return lambda request: request.tags.get(tag, "")
    if sticky.startswith(PARAMETER):
        name = sticky.removeprefix(PARAMETER)
        return lambda request: str(request.parameters.get(name, ""))
    return None


def header_of(sticky: str) -> str:
    """The header that doors have to hand on, in lower case; empty where it is none."""
    return sticky.removeprefix(HEADER).lower() if sticky.startswith(HEADER) else ""
