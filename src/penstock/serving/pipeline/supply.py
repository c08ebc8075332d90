"""What pipelines need of other models: waiting for them at load, and hearing when they change."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from math import inf

from msgspec.structs import replace

from penstock.core.errors import LoadFailed, PenstockError
from penstock.core.ports import Handler, Recorder
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec, Step
from penstock.core.types import ModelState
from penstock.repository.pipeline import complete
from penstock.repository.spec import PIPELINE
from penstock.repository.watch import Load
from penstock.serving.catalog import Catalog, Live
from penstock.serving.cold import Cold
from penstock.serving.pipeline.bringup import bring_up, parts
from penstock.serving.pipeline.executor import Pipeline
from penstock.serving.recording import unwrap
from penstock.serving.residency import Residency
from penstock.serving.roster import Key, Roster

log = logging.getLogger("penstock.serving")


class Supply:
    """Lives on the event loop, at the lifecycle's side."""

    def __init__(
        self, catalog: Catalog, roster: Roster, residency: Residency, cold: Cold, handler: Handler
    ) -> None:
        """``handler`` answers for the steps."""
        self._catalog = catalog
        self._roster = roster
        self._residency = residency
        self._cold = cold
        self._handler = handler
        self._coming: dict[Key, frozenset[str]] = {}
        """The models of pipelines that are being loaded."""

    async def bring_up(self, order: Load, recorder: Recorder) -> Live:
        """A pipeline, once its models serve; raises LoadFailed with the reason."""
        key = (order.model, order.version)
        self._coming[key] = models(order.spec)
        try:
            circle = cycle(order.model, self._graph())
            if circle:
                raise LoadFailed(f"the pipeline would run itself: {' → '.join(circle)}")
            for step in order.spec.steps:
                await self._come(step)
                self._check(step)
            return bring_up(order.spec, order.version, recorder, self._handler, self.find, self.serving)
        finally:
            del self._coming[key]

    async def _come(self, step: Step) -> None:
        """Wait for a model that is being loaded, and load one that is cold."""
        while self.find(step.model, step.version) is None:
            loading = [
                task
                for (model, version), task in self._roster.loading.items()
                if model == step.model and step.version in ("", version)
            ]
            if loading:
                await asyncio.wait(loading)
            elif self._residency.holds(step.model, step.version):
                await self._warm(step)
            else:
                return  # the plan will say so

    def _check(self, step: Step) -> None:
        """Why a model is not there is worth more than that it is not."""
        name = f"step {step.name or step.model!r} needs model {step.model!r}"
        if step.model not in self._roster.seen:
            have = nearest(step.model, list(self._roster.seen))
            end = "" if have.endswith("?") else "."
            raise LoadFailed(
                f"{name}, which is not in the repository; {have}{end} It is tried again when it comes"
            )
        failures = self._roster.failures(step.model)
        if self.find(step.model, step.version) is None and failures:
            raise LoadFailed(f"{name}, which is not serving: {failures[-1]}")

    async def _warm(self, step: Step) -> None:
        try:
            await self._cold.load(step.model, step.version, 1, inf)
        except PenstockError as error:
            raise LoadFailed(f"step {step.name or step.model!r}: {error}") from None

    def _graph(self) -> dict[str, set[str]]:
        graph: dict[str, set[str]] = {}
        for live in self._catalog:
            graph.setdefault(live.state.name, set()).update(models(live.state.spec))
        for (model, _), needed in self._coming.items():
            graph.setdefault(model, set()).update(needed)
        return graph

    # -- what serves -----------------------------------------------------------------------------

    def find(self, model: str, version: str = "") -> ModelState | None:
        """The facts of what would answer; None where nothing does, or they are not known yet."""
        live = self._catalog.peek(model, version)
        if live is not None:
            return live.state
        known = self._residency.inventory.known(model, version)
        return known.state if known is not None else None

    def serving(self, model: str, version: str = "") -> str:
        """The version that would answer, though it be cold; empty if there is none."""
        live = self._catalog.peek(model, version)
        if live is not None:
            return live.state.version
        cold = (order.version for order in self._residency.inventory.cold(model))
        return next((name for name in cold if version in ("", name)), "")

    def affected(self, model: str) -> list[Key]:
        """The pipelines for which it matters that another version of a model answers now.

        Those that would not load without it, and those whose plan was made for another signature.
        """
        waiting = [key for key, (spec, _) in self._roster.failed.items() if model in models(spec)]
        return [*waiting, *self._outdated(model)]

    def _outdated(self, model: str) -> Iterator[Key]:
        for live in self._catalog:
            pipeline, spec = unwrap(live.executor), live.state.spec
            if isinstance(pipeline, Pipeline) and model in models(spec):
                try:
                    if parts(spec, self.find) != pipeline.parts:
                        yield live.state.name, live.state.version
                except LoadFailed:
                    pass  # what is missing may come back as it was


def models(spec: ModelSpec) -> frozenset[str]:
    """The models of a pipeline's steps; none for other models."""
    return frozenset(step.model for step in spec.steps)


def cycle(model: str, graph: Mapping[str, set[str]]) -> list[str]:
    """A way from a model over what it needs back to itself; empty if there is none."""
    ways = [[model]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for needed in sorted(graph.get(way[-1], ())):
            if needed == model:
                return [*way, model]
            if needed not in seen:
                seen.add(needed)
                ways.append([*way, needed])
    return []


async def read(order: Load) -> tuple[Load, str]:
    """With the steps of a pipeline, or why these or the version's own settings cannot be read."""
    if order.error:
        log.error("model %s version %s is not served: %s", order.model, order.version, order.error)
        return order, order.error
    if order.path.name != PIPELINE:
        return order, ""
    try:
        spec = await asyncio.to_thread(complete, order.spec, order.path)
    except (PenstockError, OSError) as error:
        reason = str(error)
        log.error("model %s version %s is not served: %s", order.model, order.version, reason)
        return order, reason
    return replace(order, spec=spec), ""
