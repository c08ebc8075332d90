"""Scaling at work: a control loop over the models whose number of instances moves."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from copy import deepcopy
from functools import partial
from time import monotonic, time
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from penstock.core import machine
from penstock.core.loop import Runner
from penstock.metering.book import Book
from penstock.metering.ledger import Ledger
from penstock.scaling.decide import Memory, decide, due, refit
from penstock.scaling.keeping import Keeper
from penstock.scaling.share import Claim, share
from penstock.scaling.store import Store
from penstock.scaling.track import Track
from penstock.scaling.types import Decision, Seen, Terms
from penstock.serving.catalog import Catalog, Live
from penstock.serving.lifecycle import Lifecycle

log = logging.getLogger("penstock.scaling")

SAVE = 60.0
"""Seconds between two times that the history is written down."""
QUICK = 1.0
"""Seconds between two looks: requests are counted by the second."""


class Look(Struct, frozen=True):
    """One model of which it is time to decide."""

    seen: Seen
    terms: Terms
    claim: Claim


class Room(Struct, frozen=True):
    """What this machine has: cores, and bytes that may still be taken."""

    cores: float
    memory: float


Looks: TypeAlias = tuple[Mapping[str, Look], Sequence[Claim], Room]
"""Models to decide upon, what the others have and keep, and what there is."""
Memories: TypeAlias = Mapping[str, Memory]
Order: TypeAlias = tuple[str, Decision, float]
"""A model, what was decided, and when (Unix seconds)."""


class Controller:
    """A ``core.loop.Loop``; lives on the event loop."""

    name = "scaling"
    every = QUICK

    def __init__(
        self,
        catalog: Catalog,
        models: Lifecycle,
        ledger: Ledger,
        tick_s: float = 10.0,
        wall: Callable[[], float] = time,
    ) -> None:
        """``tick_s``: seconds between two decisions upon a model."""
        self._catalog, self._models, self._ledger = catalog, models, ledger
        self._tick_s = tick_s
        self._wall = wall
        self._runner: Runner[Looks, Memories, Order] = Runner(self, {})
        self.tracks: dict[str, Track] = {}
        self._keeper: Keeper | None = None
        self._saved = monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life of its own ---------------------------------------------------------------------------

    def open(self, store: Store) -> None:
        """Before models are loaded."""
        self._keeper = Keeper(store)

    def run(self) -> None:
        """Once models are loaded."""
        self._tasks = [asyncio.create_task(self._runner.run())]

    async def stop(self) -> None:
        """Decide no more, and write down what was seen."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._keeper is not None:
            now = self._wall()
            await self._keeper.stop({model: track.take(now) for model, track in self.tracks.items()})
            self._keeper = None

    # -- the loop ----------------------------------------------------------------------------------

    async def observe(self) -> Looks:
        now = self._wall()
        looks: dict[str, Look] = {}
        others: list[Claim] = []
        loading = 0.0
        moving = self._moving()
        for model, lives in moving:
            try:
                track = self.tracks.get(model) or await self._enter(model)
                look = self._look(track, lives, now)
                if look is not None:
                    await self._learn(track, look)
            except Exception:
                log.exception("model %s: it could not be looked at; it stays as it is", model)
                continue
            claim = look.claim if look is not None else _claim(track, lives)
            loading += claim.bytes * track.starting
            if look is None:
                others.append(claim)
            else:
                looks[model] = look
        self._leave({model for model, _ in moving})
        if monotonic() - self._saved >= SAVE:
            self._saved = monotonic()
            saving = asyncio.create_task(self._save())
            self._tasks = [*(task for task in self._tasks if not task.done()), saving]
        # Those that load have been given memory that they have not taken yet.
        return looks, others, Room(len(machine.cores()), self._models.room() - loading)

    def _look(self, track: Track, lives: Sequence[Live], now: float) -> Look | None:
        """None where it is not time to decide."""
        track.look(lives, self._models.cold.asked[track.model], now)
        for live in lives:
            if live.resizing is not None:
                live.resizing.took = partial(self._started, track)
        if monotonic() < track.due and not track.pressed(lives):
            return None
        track.due = monotonic() + self._tick_s
        seen = track.seen(lives, self._books(lives), now)
        return Look(seen, track.terms, _claim(track, lives))

    def decide(self, seen: Looks, memory: Memories, /) -> tuple[list[Order], Memories]:
        """Each model by itself, then what there is shared out among them; pure."""
        looks, others, room = seen
        decisions: dict[str, Decision] = {}
        memories = dict(memory)
        for model, look in looks.items():
            try:
                decisions[model], memories[model] = decide(look.seen, memory.get(model, Memory()), look.terms)
            except Exception:
                log.exception("model %s: nothing was decided; what was learned of it is forgotten", model)
                memories.pop(model, None)
        others = [*others, *(look.claim for model, look in looks.items() if model not in decisions)]
        given = share([*_claims(looks, decisions), *others], room.cores, room.memory)
        orders = [
            (
                model,
                _limited(decision, given.get(model, decision.instances), looks[model]),
                looks[model].seen.now,
            )
            for model, decision in decisions.items()
        ]
        return orders, memories

    async def act(self, order: Order, /) -> None:
        model, decision, now = order
        track = self.tracks[model]
        track.decided(decision, now)
        feedback = self._runner.memory[model].feedback
        track.missed = feedback.share if feedback.asked else None
        wanted = decision.instances
        self._models.begin_with({name: track.wanted for name, track in self.tracks.items()})
        if not wanted:
            self._models.park(model, f"nobody asked for it for {track.spec.instances.idle_s:g} s")
        elif track.live is None:
            self._models.unpark(model)
        for live in self._lives(model):
            if live.resizing is not None and wanted:
                live.resizing.want(wanted)

    # -- what there is -----------------------------------------------------------------------------

    def _moving(self) -> list[tuple[str, list[Live]]]:
        """Models whose number of instances moves, and who answers for them; nobody for a cold one."""
        found: list[tuple[str, list[Live]]] = []
        for model, shelf in self._catalog.table.items():
            spec = shelf.default.state.spec
            if spec.instances.moves and not spec.steps:
                found.append((model, self._lives(model)))
        cold = [
            model
            for model in self.tracks
            if model not in self._catalog.table and self._models.cold.holds(model)
        ]
        return [*found, *((model, []) for model in cold)]

    def _lives(self, model: str) -> list[Live]:
        """The version that answers who names none, and all others that serve, those on trial among them."""
        shelf = self._catalog.table.get(model)
        if shelf is None:
            return []
        beside = shelf.split.beside if shelf.split is not None else ()
        found = [shelf.default, *shelf.versions.values(), *(arm for arm in beside if isinstance(arm, Live))]
        return list(dict.fromkeys(found))

    def _books(self, lives: Sequence[Live]) -> list[Book]:
        keys = {(live.state.name, live.state.version) for live in lives}
        return [book for book in self._ledger.kept() if (book.model, book.version) in keys]

    async def _enter(self, model: str) -> Track:
        track = Track(model, self._tick_s)
        if self._keeper is not None:
            track.restore(*await self._keeper.read(model))
        self.tracks[model] = track
        return track

    def _started(self, track: Track, seconds: float) -> None:
        track.started(seconds, self._wall())

    def _leave(self, there: Set[str]) -> None:
        """Let go of models that are no longer there, or whose number no longer moves."""
        for model in [model for model in self.tracks if model not in there]:
            loading = any(state.name == model for state in self._models.states() if state.state == "LOADING")
            if not loading:
                del self.tracks[model]
                self._runner.memory = {
                    name: kept for name, kept in self._runner.memory.items() if name != model
                }

    async def _learn(self, track: Track, look: Look) -> None:
        """What takes milliseconds is done in a thread, before the decision asks for it."""
        memory = self._runner.memory.get(track.model, Memory())
        if due(look.seen, memory, look.terms):
            still = replace(look.seen, series=deepcopy(look.seen.series))  # the loop goes on counting
            memory = await asyncio.to_thread(refit, still, memory, look.terms)
            self._runner.memory = {**self._runner.memory, track.model: memory}

    async def _save(self) -> None:
        if self._keeper is None or self._keeper.busy:
            return
        now = self._wall()
        fresh = {model: track.take(now) for model, track in self.tracks.items()}
        if not await self._keeper.write(fresh):
            for model, each in fresh.items():
                if model in self.tracks:
                    self.tracks[model].give_back(each)


def _claim(track: Track, lives: Sequence[Live]) -> Claim:
    """What a model has, and keeps until it is decided upon again; every version has as many instances."""
    moving = [live.resizing for live in lives if live.resizing is not None]
    have = track.ready + track.starting
    return Claim(
        name=track.model,
        have=have,
        least=have,
        want=have,
        cores=sum(track.needs.cores(each.sessions) for each in moving),
        bytes=sum(track.needs.memory(each.sessions) for each in moving),
    )


def _claims(looks: Mapping[str, Look], decisions: Mapping[str, Decision]) -> list[Claim]:
    return [
        replace(
            look.claim,
            want=decisions[model].instances,
            least=min(look.terms.least, decisions[model].instances),
        )
        for model, look in looks.items()
        if model in decisions
    ]


def _limited(decision: Decision, given: int, look: Look) -> Decision:
    """What there is room for, and why it is not more."""
    least = min(1, decision.instances)  # one always runs, whoever else does
    given = max(given, least)
    if given >= decision.instances:
        return decision
    claim = look.claim
    note = (
        f"{decision.instances} wanted, and this machine has room for {given}: "
        f"each takes {claim.cores:.2g} cores" + (f" and {claim.bytes / 2**20:.0f} MiB" if claim.bytes else "")
    )
    return replace(decision, instances=given, by="limit", note=" ".join(filter(None, (decision.note, note))))
