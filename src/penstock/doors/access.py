"""One log line a request, for every door: a handler around the handler, there only when asked for."""

from time import monotonic

from penstock.core.errors import PenstockError
from penstock.core.ports import Handler
from penstock.core.types import Reply, Request
from penstock.doors.errors import http_status
from penstock.metering import logs


def wrap(handler: Handler, enabled: bool) -> Handler:
    """The handler itself unless ``enabled``; errors count by their HTTP status in every door."""
    if not enabled:
        return handler

    async def logged(request: Request, /) -> Reply:
        start = monotonic()
        try:
            reply = await handler(request)
        except PenstockError as error:
            _log(request, request.version, http_status(error), start, error)
            raise
        _log(request, reply.version, 200, start)
        return reply

    return logged


def _log(
    request: Request, version: str, status: int, start: float, error: PenstockError | None = None
) -> None:
    logs.access(request.model, version, request.id, status, monotonic() - start, error)
