"""What befell a model, and what it was asked and cost hour by hour."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from penstock.core.ports import Models
from penstock.metering.books.series import Point
from penstock.metering.events import Event, Events

HOUR = 3600
SHORT = 2 * HOUR
"""Seconds up to which pieces are minutes."""

Past: TypeAlias = tuple[list[Event], list[Point]]
Books: TypeAlias = Callable[[str, float, float, int], Awaitable[Past]]
"""Of a model, since and until when (seconds since the epoch), in pieces of so many seconds."""


async def nothing(model: str, since: float, until: float, width: int, /) -> Past:
    """Of a server that keeps no books."""
    return [], []


class History:
    """Lives on the event loop."""

    def __init__(self, events: Events, models: Models, books: Books = nothing) -> None:
        self._events = events
        self._models = models
        self._books = books

    async def of(self, model: str, since: float, until: float) -> dict[str, Any]:
        """Events and pieces, the earliest first; raises UnknownModel where nothing is known of it."""
        told, points = await self._books(model, since, until, 60 if until - since <= SHORT else HOUR)
        # What is in memory may be in the books as well by now.
        events = sorted({*told, *self._events.of(model, since)}, key=lambda event: event.at)
        if not events and not any(point.account.queries for point in points):
            self._models.state(model)
        return {
            "events": [_event(event) for event in events if event.at <= until],
            "series": [_point(point) for point in points],
        }


def _event(event: Event) -> dict[str, Any]:
    return {"at": event.at, "version": event.version, "what": event.what, "detail": event.detail}


def _point(point: Point) -> dict[str, Any]:
    joules = point.full.joules
    return {
        "start": point.start,
        "seconds": point.width,
        "queries": point.account.queries,
        "cost_full": point.full.money,
        "joules": joules.mid if joules is not None else None,
    }
