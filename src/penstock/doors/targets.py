"""Which URLs are inference, and of what: ``/v2/models/{m}[/versions/{v}]/infer``."""

from urllib.parse import unquote

from msgspec import Struct

from penstock.doors.auth import Role


class Target(Struct, frozen=True):
    """A model and a version that a URL names; an empty version is the newest."""

    model: str
    version: str


_REMEMBERED = 1024
_LONGEST = 512


class Targets:
    """Remembers the URLs that it has read: a client sends the same few again and again."""

    def __init__(self) -> None:
        self._known: dict[bytes, Target | None] = {}

    def find(self, url: bytes) -> Target | None:
        """None for every URL that is not inference."""
        try:
            return self._known[url]
        except KeyError:
            target = parse(url)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if len(url) <= _LONGEST:
                self._known[url] = target
            return target


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
