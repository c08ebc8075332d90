"""What is told of scaling: how each model stands, what was decided, and what it was asked."""

from collections.abc import Sequence

from msgspec.structs import replace

from penstock.scaling.carrying import Carrying
from penstock.scaling.controller import Controller
from penstock.scaling.track import Track
from penstock.scaling.words import History, Standing, Told, Why
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.catalog import Catalog, Live
from penstock.serving.lifecycle import Lifecycle
from penstock.serving.recording import unwrap


class Desk:
    """``port.Scaling`` for one server."""

    def __init__(self, controller: Controller, catalog: Catalog, models: Lifecycle) -> None:
        self._tracks = controller.tracks
        self._catalog = catalog
        self._models = models
        self._known: dict[Live, Carrying] = {}
        """Of versions whose number does not move."""

    def list(self) -> Sequence[Standing]:
        names = sorted({state.name for state in self._models.states()})
        self._known = {live: known for live, known in self._known.items() if live in set(self._catalog)}
        return [self._of(name) for name in names]

    def moving(self) -> Sequence[Standing]:
        return [_moving(track) for _, track in sorted(self._tracks.items())]

    def get(self, model: str) -> Standing:
        self._models.state(model)
        return self._of(model)

    def _of(self, model: str) -> Standing:
        track, live = self._tracks.get(model), self._catalog.peek(model)
        if track is not None:
            return _moving(track)
        return self._fixed(live) if live is not None else Standing(model=model, version="", fixed="absent")

    def decisions(self, model: str, limit: int = 20) -> Sequence[Told]:
        self._models.state(model)
        track = self._tracks.get(model)
        return [*track.told][:limit] if track is not None else []

    def history(self, model: str) -> History:
        self._models.state(model)
        track = self._tracks.get(model)
        return track.history if track is not None else History()

    def _fixed(self, live: Live) -> Standing:
        """Of a model whose number of instances does not move, or not yet."""
        executor, state = unwrap(live.executor), live.state
        target = state.spec.target.p99_ms
        if not isinstance(executor, Scheduler):
            return Standing(model=state.name, version=state.version, fixed="pipeline", target_ms=target)
        if live not in self._known:
            self._known[live] = Carrying(live, executor.policy)
        known = self._known[live].look()
        moves = state.spec.instances.moves
        why: Why = "inline" if state.isolation == "inline" else "unseen" if moves else "fixed"
        count = executor.instances
        return Standing(
            model=state.name,
            version=state.version,
            fixed=why,
            ready=count,
            wanted=count,
            least=count,
            most=count,
            target_ms=target,
            startup_s=state.load_seconds,
            carries=known.carries if known else None,
            alone=known.alone if known else None,
            wait_ms=known.wait_s * 1e3 if known else 0.0,
        )


def _moving(track: Track) -> Standing:
    decision, live, terms = track.decision, track.live, track.terms
    known = track.carrying.known if track.carrying is not None else None
    standing = Standing(
        model=track.model,
        version=live.state.version if live is not None else "",
        ready=track.ready,
        starting=track.starting,
        wanted=track.wanted if decision is not None else track.ready + track.starting,
        least=terms.least,
        most=terms.most,
        target_ms=track.spec.target.p99_ms,
        carries=known.carries if known else None,
        alone=known.alone if known else None,
        corrected=known.factor if known else 1.0,
        wait_ms=known.wait_s * 1e3 if known else 0.0,
        missed=track.missed,
        startup_s=track.startup_s,
        starts=len(track.starts),
        note=live.resizing.trouble if live is not None and live.resizing is not None else "",
    )
    if decision is None:
        return standing
    return replace(
        standing,
        rate=decision.rate,
        forecast=decision.forecast,
        quantile=decision.quantile,
        method=decision.method,
        burst=decision.burst,
        by=decision.by,
        note="; ".join(filter(None, (decision.note, standing.note))),
        line=decision.line(),
    )
