"""Which URLs are inference, and of what: ``/v2/models/{m}[/versions/{v}]/infer``."""

from typing import NamedTuple
from urllib.parse import unquote

from penstock.doors.auth import Role


class Target(NamedTuple):
    """A model and a version that a URL names; an empty version is the newest."""

    model: str
    version: str


def parse(url: bytes) -> Target | None:
    """Percent-encoded names are decoded after the path is cut, so they may hold a slash."""
    path = url.split(b"?", 1)[0]
    if path.startswith((b"http://", b"https://")):
        path = b"/" + path.split(b"/", 3)[-1]
    parts = path.decode("latin-1").split("/")
    match parts:
        case ["", "v2", "models", model, "infer"] if model:
            return Target(unquote(model), "")
        case ["", "v2", "models", model, "versions", version, "infer"] if model and version:
            return Target(unquote(model), unquote(version))
    return None


def role_of(method: bytes, url: bytes) -> Role | None:
    """The role that a request needs; None for health, which probes ask without a key."""
    if url.startswith(b"/v2/health/"):
        return None
    return "admin" if url.startswith(b"/v2/repository/") and method != b"GET" else "infer"
