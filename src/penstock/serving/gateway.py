"""The first handler of every request: find the version, check the tensors, hand over."""

from collections.abc import Awaitable, Callable

from penstock.core.errors import InvalidRequest, NotFound, PenstockError, reason
from penstock.core.types import Reply, Request
from penstock.serving.catalog import Catalog

Refused = Callable[[str, str, str], None]


class Gateway:
    """A ``Handler``; ``refused(model, version, reason)`` hears of what no version was asked."""

    def __init__(self, catalog: Catalog, refused: Refused) -> None:
        self._catalog = catalog
        self._refused = refused

    def __call__(self, request: Request, /) -> Awaitable[Reply]:
        shelf = self._catalog.table.get(request.model)
        try:
            if shelf is None or request.version:
                live = self._catalog.find(request.model, request.version)
            else:
                live = shelf.newest
            live.check(request)
        except PenstockError as error:
            # Unknown names stay out of the metrics' labels: anybody can make up a new one.
            model = "" if isinstance(error, NotFound) else request.model
            version = request.version if isinstance(error, InvalidRequest) else ""
            self._refused(model, version, reason(error))
            raise
        return live.executor(request)
