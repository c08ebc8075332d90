"""Requests for models that are not in memory: checked as far as that goes, then held until there is one."""

from collections import Counter
from time import monotonic

from penstock.core.errors import ModelNotReady, UnknownVersion
from penstock.core.spec import Signature
from penstock.core.types import Request
from penstock.serving.catalog import Catalog, Live
from penstock.serving.residency import Residency


class Cold:
    """What the gateway asks when the catalog has nobody; without a limit on memory nothing is held."""

    def __init__(self, catalog: Catalog, residency: Residency) -> None:
        self._catalog = catalog
        self._residency = residency
        self.asked: Counter[str] = Counter()
        """Rows by model that found it cold, and waited for it or were refused."""

    def look(self, model: str, version: str = "") -> Live | None:
        """Who answers, None where that is to be loaded first; raises as ``Catalog.find``."""
        try:
            return self._catalog.find(model, version)
        except (ModelNotReady, UnknownVersion):
            if not self.holds(model, version):
                raise
            return None

    def holds(self, model: str, version: str = "") -> bool:
        """Whether a request that finds nobody will, once the model is loaded."""
        return self._residency.holds(model, version)

    def check(self, request: Request) -> None:
        """Raises InvalidRequest for what the model is known not to take, so that it is not loaded for it."""
        known = self._residency.inventory.known(request.model, request.version)
        if known is not None:
            known.check(request)

    async def found(self, request: Request) -> Live:
        """Who answers, once it is loaded; raises ModelNotReady, Overloaded or DeadlineExceeded."""
        rows = _rows(request)
        self.asked[request.model] += rows
        return await self.load(request.model, request.version, rows, request.deadline)

    async def load(self, model: str, version: str, rows: int, deadline: float) -> Live:
        """Waits until ``deadline`` (monotonic seconds), and for ``queue.timeout_ms`` at most."""
        end = 0.0
        while (live := self.look(model, version)) is None:
            spec = self._residency.inventory.cold(model)[0].spec
            end = end or min(deadline, monotonic() + spec.queue.timeout_ms / 1e3)
            await self._residency.wait(model, rows, end)
        return live

    def signature(self, model: str, version: str = "") -> Signature:
        """Raises ModelNotReady for a model that was never in memory, and loads it for the next time."""
        live = self.look(model, version)
        if live is not None:
            return live.state.signature
        known = self._residency.inventory.known(model, version)
        if known is not None:
            return known.state.signature
        self._residency.nudge(model)
        raise ModelNotReady(
            f"model {model!r} is being loaded for the first time, and a raw request needs its signature; "
            "try again, or send the tensor with its name, datatype and shape"
        )


def _rows(request: Request) -> int:
    first = next(iter(request.inputs.values()), None)
    return len(first) if first is not None and first.ndim else 1
