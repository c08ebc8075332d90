"""Which URLs are inference, and of what: ``/v2/models/{m}[/versions/{v}]/infer``."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from penstock.core.errors import InvalidRequest
from penstock.core.terms import Role

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""A router takes ``/path`` and a line break for ``/path``, so that none may come to one."""


class Target(NamedTuple):
    """A model and a version that a URL names; an empty version is the newest."""

    model: str
    version: str


def parse(url: bytes) -> Target | None:
    """Percent-encoded names are decoded after the path is cut, so they may hold a slash."""
    match _raw_path(url).split("/"):
        case ["", "v2", "models", model, "infer"] if model:
            return Target(unquote(model), "")
        case ["", "v2", "models", model, "versions", version, "infer"] if model and version:
            return Target(unquote(model), unquote(version))
    return None


def path_of(url: bytes) -> str:
    """The path by which the other requests are routed, and by which their roles are known."""
    return unquote(_raw_path(url))


def role_of(method: bytes, url: bytes) -> Role | None:
    """The role that a request needs.

    None for health, which probes ask without a key, and for the page, which holds nothing by itself.
    Raises InvalidRequest for a path with control characters, whatever it would lead to.
    """
    path = path_of(url)
    if _CONTROL.search(path):
        raise InvalidRequest("a path must not have control characters in it, such as %0A or %00")
    if path.startswith(("/v2/health/", "/penstock/page/")) or path == "/":
        return None
    if path.startswith("/penstock/models/"):  # what others have asked a model
        return "admin"
    if path.startswith("/penstock/bill"):  # what others have used
        return "admin"
    if path.startswith("/penstock/rollouts/") and method not in (b"GET", b"HEAD"):
        return "infer" if _is_verdict(path) else "admin"
    return "admin" if path.startswith("/v2/repository/") and method != b"GET" else "infer"


def _is_verdict(path: str) -> bool:
    """A question in spite of its POST; the model may be called ``verdict`` itself."""
    match path.split("/"):
        case ["", "penstock", "rollouts", model, "verdict"]:
            return bool(model)
    return False


def _raw_path(url: bytes) -> str:
    """Without its query, and without scheme and host where the URL has them (as proxies are asked)."""
    path = url.split(b"?", 1)[0].decode("latin-1")
    if not path.startswith("/") and "://" in path:
        return "/" + path.split("://", 1)[1].partition("/")[2]
    return path
