"""The bill over HTTP: ``GET /penstock/bill?by=model,tenant&since=24h``."""

from collections.abc import Awaitable, Callable, Mapping
from time import time
from typing import TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.core.errors import InvalidRequest
from penstock.core.schema import nearest
from penstock.doors.bill_form import as_csv, document
from penstock.metering.bill import KEYS, Bill, By, keys
from penstock.metering.window import window

Bills: TypeAlias = Callable[[tuple[By, ...], float, float, Mapping[By, str]], Awaitable[Bill]]
"""By what, since when and until when (seconds since the epoch), and of which alone."""

PATH = "/penstock/bill"
BY = "model,version"
SINCE = "24h"
FORMATS = ("json", "csv")
PARAMETERS = ("by", "since", "until", "format", *KEYS)


def routes(
    bill: Bills, price_source: Callable[[], str] = str, clock: Callable[[], float] = time
) -> list[Route]:
    """For ``make_app``; ``price_source`` says where the price comes from, ``clock`` the time."""

    async def answer(request: Request) -> Response:
        query = request.query_params
        check(query)
        since, until = window(query.get("since", SINCE), query.get("until", ""), clock())
        by = keys(query.get("by", BY))
        found = document(await bill(by, since, until, only(query)), price_source())
        if query.get("format") == "csv":
            return Response(as_csv(found), media_type="text/csv", headers=_SAVED)
        return Response(orjson.dumps(found), media_type="application/json", headers=_FRESH)

    return [Route(PATH, answer, methods=["GET"])]


def check(query: Mapping[str, str]) -> None:
    """Raises InvalidRequest for parameters that there are not, and for an unknown format."""
    for name in query:
        if name not in PARAMETERS:
            raise InvalidRequest(f"no parameter {name!r}; {nearest(name, list(PARAMETERS))}")
    form = query.get("format", "json")
    if form not in FORMATS:
        raise InvalidRequest(f"format: cannot be {form!r}; {nearest(form, list(FORMATS))}")


def only(query: Mapping[str, str]) -> dict[By, str]:
    """Whose lines alone are wanted; an empty tenant is who names none."""
    return {key: query[key] for key in KEYS if key in query}


_FRESH = {"cache-control": "no-store"}
_SAVED = {**_FRESH, "content-disposition": 'attachment; filename="penstock-bill.csv"'}
