"""The first handler of every request: find the version, check the tensors, hand over."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from msgspec.structs import replace

from penstock.core.errors import (
    InvalidRequest,
    ModelNotReady,
    NotFound,
    PenstockError,
    UnknownVersion,
    reason,
)
from penstock.core.types import Reply, Request
from penstock.serving.catalog import Catalog, Live
from penstock.serving.cold import Cold

Refused = Callable[[str, str, str], None]


class Gateway:
    """A ``Handler``; ``refused(model, version, reason)`` hears of what no version was asked.

    ``cold`` knows the models that are loaded for the first request that wants them.
    """

    def __init__(self, catalog: Catalog, refused: Refused, cold: Cold | None = None) -> None:
        self._catalog = catalog
        self._refused = refused
        self._cold = cold

    def __call__(self, request: Request, /) -> Awaitable[Reply]:
        shelf = self._catalog.table.get(request.model)
        try:
            if shelf is None or request.version:
                found = self._find(request)
                if found is None:
                    return self._later(request, self._cold)  # type: ignore[arg-type]  # it was asked
                live, split = found, None
            else:
                live, split = shelf.default, shelf.split
            live.check(request)
        except PenstockError as error:
            self._count(request, error)
            raise
        return live.executor(request) if split is None else split(request)

    def _find(self, request: Request) -> Live | None:
        """None where it has to be loaded first."""
        try:
            return self._catalog.find(request.model, request.version)
        except (ModelNotReady, UnknownVersion):
            if self._cold is None or not self._cold.holds(request.model, request.version):
                raise
            self._cold.check(request)
            return None

    async def _later(self, request: Request, cold: Cold) -> Reply:
        """The same for a model that has to be loaded first; that time counts as queued."""
        began = monotonic()
        try:
            live = await cold.found(request)
            live.check(request)
        except PenstockError as error:
            self._count(request, error)
            raise
        except asyncio.CancelledError:
            self._refused(request.model, "", "cancelled")
            raise
        waited = monotonic() - began
        reply = await live.executor(request)
        timing = reply.timing
        return replace(reply, timing=replace(timing, queued=timing.queued + waited))

    def _count(self, request: Request, error: PenstockError) -> None:
        # Unknown names stay out of the metrics' labels: anybody can make up a new one.
        model = "" if isinstance(error, NotFound) else request.model
        version = request.version if isinstance(error, InvalidRequest) else ""
        self._refused(model, version, reason(error))
