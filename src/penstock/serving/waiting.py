"""Requests that wait for cold models, and models that are let be because they would not load."""

import asyncio
from collections.abc import Iterator
from math import inf
from time import monotonic

from msgspec import Struct

from penstock.core.errors import DeadlineExceeded, ModelNotReady, Overloaded

RETRY, RETRY_MOST = 1.0, 60.0
"""Seconds before a load that failed is tried again: after the first time, and at most."""


class Waiter(Struct, eq=False):
    """One request: its rows, its deadline (monotonic seconds), and how it hears that the model is there."""

    rows: int
    deadline: float
    done: "asyncio.Future[None]"


class Rest(Struct, frozen=True):
    """A model that would not load, so many times in a row, is let be until then (monotonic seconds)."""

    times: int
    until: float
    reason: str


class Waiting:
    """Lives on the event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Waiter]] = {}
        self._rests: dict[str, Rest] = {}

    def join(self, model: str, rows: int, deadline: float, most: int) -> Waiter:
        """Raises Overloaded where over ``most`` rows would wait, or ModelNotReady while it is let be."""
        if reason := self.resting(model):
            raise ModelNotReady(f"model {model!r} is not ready: {reason}")
        line = self._lines.setdefault(model, [])
        if line and sum(one.rows for one in line) + rows > most:
            raise Overloaded(
                f"model {model!r} is not in memory yet, and as many rows wait for it as may ({most}); "
                "try again later"
            )
        waiter = Waiter(rows, deadline, asyncio.get_running_loop().create_future())
        line.append(waiter)
        return waiter

    async def wait(self, model: str, waiter: Waiter) -> None:
        """Until the model is there; raises what ``fail`` was given, or DeadlineExceeded."""
        began = monotonic()
        left = None if waiter.deadline == inf else max(0.0, waiter.deadline - began)
        try:
            async with asyncio.timeout(left):
                await waiter.done
        except TimeoutError:
            raise DeadlineExceeded(
                f"model {model!r} was not in memory, and could not be loaded within {left or 0.0:.3g} s; "
                "a load that has begun goes on, so try again"
            ) from None
        finally:
            line = self._lines[model]
            line.remove(waiter)
            if not line:
                del self._lines[model]

    def lines(self) -> Iterator[tuple[str, float]]:
        """Models that are waited for, and the earliest deadline of those who wait."""
        for model, line in self._lines.items():
            waiting = [one.deadline for one in line if not one.done.done()]
            if waiting:
                yield model, min(waiting)

    def release(self, model: str) -> None:
        """It is there, or there is something else to say: whoever waits looks for himself."""
        for one in self._lines.get(model, ()):
            if not one.done.done():
                one.done.set_result(None)

    def fail(self, model: str, reason: str) -> None:
        """Everybody who waits hears why, and so does whoever comes soon."""
        self.rest(model, reason)
        for one in self._lines.get(model, ()):
            if not one.done.done():
                one.done.set_exception(ModelNotReady(f"model {model!r} could not be loaded: {reason}"))

    def rest(self, model: str, reason: str) -> None:
        """It is let be for a while, longer each time."""
        before = self._rests.get(model)
        times = before.times + 1 if before else 1
        wait = min(RETRY * 2.0 ** min(times - 1, 10), RETRY_MOST)
        self._rests[model] = Rest(times, monotonic() + wait, reason)

    def resting(self, model: str) -> str:
        """Why a model is let be at present; empty where it is not."""
        rest = self._rests.get(model)
        return rest.reason if rest is not None and rest.until > monotonic() else ""

    def rested(self, model: str) -> None:
        """It was loaded, or something about it has changed."""
        self._rests.pop(model, None)
