"""Scaling over HTTP: how many instances each model has and should have, and why."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.core.errors import InvalidRequest
from penstock.core.schema import nearest
from penstock.scaling.port import Scaling

ALL = "/penstock/scale"
ONE = ALL + "/{model}"
MOST = 100
"""Decisions in one answer."""
_FRESH = {"cache-control": "no-store"}


def routes(scaling: Scaling) -> list[Route]:
    """For ``make_app``."""
    door = _Door(scaling)
    return [
        Route(ALL, door.list, methods=["GET"]),
        Route(ONE, door.get, methods=["GET"]),
        Route(ONE + "/history", door.history, methods=["GET"]),
    ]


class _Door:
    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling

    async def list(self, request: Request) -> Response:
        _check(request)
        return _json({"models": self._scaling.list()})

    async def get(self, request: Request) -> Response:
        limit = _limit(request)
        model = request.path_params["model"]
        standing = msgspec.to_builtins(self._scaling.get(model))
        return _json({**standing, "decisions": self._scaling.decisions(model, limit)})

    async def history(self, request: Request) -> Response:
        _check(request)
        return _json(self._scaling.history(request.path_params["model"]))


def _limit(request: Request) -> int:
    _check(request, "limit")
    said = request.query_params.get("limit", "20")
    if not said.isascii() or not said.isdigit() or int(said) > MOST:
        raise InvalidRequest(f"limit must be a whole number from 0 to {MOST}, got {said!r}")
    return int(said)


def _check(request: Request, *known: str) -> None:
    for name in request.query_params:
        if name not in known:
            hint = nearest(name, list(known)) if known else "it takes none"
            raise InvalidRequest(f"no parameter {name!r}; {hint}")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=_FRESH)
