"""The page's routes: itself, its files, its events, and a model's history."""

from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import time
from typing import TypeAlias

import orjson
from msgspec import Struct
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from penstock.core.errors import UnknownPath
from penstock.dashboard.history import History
from penstock.dashboard.stream import HEADERS, Hub, Stream
from penstock.dashboard.words import Hello, May
from penstock.metering.window import window

Greet: TypeAlias = Callable[[May], Hello]
MayOf: TypeAlias = Callable[[Mapping[str, str]], May]
"""What the key in a request's headers allows."""

STATIC = Path(__file__).parent / "static"
SINCE = "24h"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SAFE = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every file: asked for again each time, and nothing from elsewhere in it."""


class File(Struct, frozen=True):
    """One of the page's files."""

    content: bytes
    kind: str
    tag: str


@cache
def files() -> Mapping[str, File]:
    """By name; read once."""
    found = [path for path in sorted(STATIC.iterdir()) if path.suffix in TYPES]
    return {path.name: _file(path.read_bytes(), TYPES[path.suffix]) for path in found}


def _file(content: bytes, kind: str) -> File:
    return File(content, kind, f'"{sha256(content).hexdigest()[:20]}"')


def routes(
    hub: Hub, history: History, greet: Greet, may: MayOf, clock: Callable[[], float] = time
) -> list[Route]:
    """For ``make_app``; they go before its own, of which the first stands in for ``GET /`` in browsers."""

    async def page(request: Request) -> Response:
        return _answer(request, "index.html", {"vary": "accept"})

    async def file(request: Request) -> Response:
        return _answer(request, request.path_params["file"], {})

    async def live(request: Request) -> Response:
        hub.check()
        if request.method == "HEAD":
            return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
        return Stream(hub, greet(may(request.headers)))

    async def past(request: Request) -> Response:
        query = request.query_params
        since, until = window(query.get("since", SINCE), query.get("until", ""), clock())
        found = await history.of(request.path_params["model"], since, until)
        headers = {"cache-control": "no-store"}
        return Response(orjson.dumps(found), media_type="application/json", headers=headers)

    return [
        _ForBrowsers("/", page),
        Route("/penstock/page/{file}", file),
        Route("/penstock/live", live),
        Route("/penstock/history/{model}", past),
    ]


class _ForBrowsers(Route):
    """Of no concern to whoever does not ask for HTML."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            return Match.NONE, {}
        return super().matches(scope)


def _answer(request: Request, name: str, more: Mapping[str, str]) -> Response:
    file = files().get(name)
    if file is None:
        raise UnknownPath(f"the page has no file {name!r}; have {', '.join(sorted(files()))}")
    headers = {**SAFE, "etag": file.tag, **more}
    if _has(request.headers.get("if-none-match", ""), file.tag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers={**headers, "content-type": file.kind})


def _has(tags: str, tag: str) -> bool:
    """Whether one of them is it, by the weak comparison (RFC 9110, section 13.1.2)."""
    return tags == "*" or tag in (each.strip().removeprefix("W/") for each in tags.split(","))
