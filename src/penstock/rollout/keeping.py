"""Puts rollouts into the state database without anybody having to wait for a disk."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
from msgspec import Struct

from penstock.rollout.course import Course
from penstock.rollout.store import State
from penstock.rollout.tables import Saved
from penstock.rollout.words import Bad, Change, Pin

log = logging.getLogger("penstock.rollout")

MOST = 1000
"""Lines of the audit log that wait while the database cannot be written."""
ENDED = 100
"""Rollouts that have ended and are still shown."""
AGAIN = 2.0
"""Seconds until what could not be written is tried again."""


T = TypeVar("T")


class Piece(Struct, frozen=True):
    """What goes in together; without a rollout it is a pin alone."""

    saved: Saved | None = None
    changes: tuple[Change, ...] = ()
    bad: Bad | None = None
    pin: Pin | None = None

    @property
    def key(self) -> str:
        """What a later one takes the place of."""
        return self.saved.id if self.saved is not None else f"pin {self.pin.model if self.pin else ''}"


class Keeper:
    """Lives on the event loop; a task of its own writes, the newest of each rollout."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: dict[str, Piece] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failing = False
        self._thread = ThreadPoolExecutor(1, "penstock-rollouts")
        """One of its own: a disk that hangs takes no thread from others."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def put(self, piece: Piece) -> None:
        """To be written, in the place of what waits of the same rollout, whose lines stay."""
        before = self._waiting.pop(piece.key, None)
        if before is not None:
            changes = (*before.changes, *piece.changes)[-MOST:]
            piece = Piece(piece.saved, changes, piece.bad or before.bad, piece.pin or before.pin)
        self._waiting[piece.key] = piece
        self._idle.clear()
        self._wake.set()

    async def written(self, seconds: float) -> bool:
        """Whether all is written; waits so long for it."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self, seconds: float) -> None:
        """Write what waits, and give the database back."""
        if not await self.written(seconds):
            log.error("rollouts could not be written down; what befell them since is lost")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.ask(State.close, seconds)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, what: Callable[[State], T], seconds: float) -> T | None:
        """The database; None where it does not answer in time. Raises what it raises."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, what, self._state)
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except TimeoutError:
            log.error("the rollouts' database has not answered for %g s", seconds)
            return None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                key = next(iter(self._waiting))
                piece = self._waiting.pop(key)
                try:
                    await loop.run_in_executor(self._thread, self._write, piece)
                    self._well()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                    self._wait_with(piece, error)
                    await asyncio.sleep(AGAIN)
            self._idle.set()

    def _write(self, piece: Piece) -> None:
        if piece.saved is not None:
            self._state.save(piece.saved, piece.changes, piece.bad, piece.pin)
        elif piece.pin is not None:
            self._state.keep(piece.pin)

    def _wait_with(self, piece: Piece, error: Exception) -> None:
        newer = self._waiting.pop(piece.key, None)
        self._waiting[piece.key] = piece
        if newer is not None:
            self.put(newer)
        if not self._failing:
            self._failing = True
            log.error("%s; rollouts go on, and are kept in memory until they can be written", error)

    def _well(self) -> None:
        if self._failing:
            self._failing = False
            log.info("rollouts can be written down again; nothing was lost")


def read(state: State) -> tuple[list[Saved], list[Saved], list[Bad], list[Pin]]:
    """Rollouts that run, those that have ended, bad versions, and pins; blocks."""
    return state.running(), state.ended(ENDED), state.bad(), state.pins()


def course_of(saved: Saved) -> Course | None:
    """As it was saved; None, and a line in the log, where it cannot be read."""
    try:
        return msgspec.json.decode(saved.course, type=Course)
    except msgspec.MsgspecError as error:
        log.warning("rollout %s of model %s cannot be read: %s", saved.id, saved.model, error)
        return None
