"""What befell the versions of models, from loading to unloading; the last of it in memory."""

from collections import deque
from collections.abc import Callable
from time import time
from typing import Literal, TypeAlias

from msgspec import Struct

KEPT = 1000
"""Events in memory, and as many that wait to be written down."""

What: TypeAlias = Literal[
    "loaded",
    "failed",
    "live",
    "replaced",
    "unloaded",
    "evicted",
    "ended",
    "restarted",
    "quarantined",
    "optimized",
]
"""``failed``: it would not load; ``ended``: a process of it did; ``replaced``: others answer in its place;
``optimized``: it was found by ``penstock optimize``.
"""


class Event(Struct, frozen=True):
    """One of them, of one version."""

    at: float
    """Seconds since the epoch."""
    model: str
    version: str
    what: What
    detail: str = ""
    """A reason, or figures; for people."""


class Events:
    """Lives on the event loop; the oldest give way."""

    def __init__(self, wall: Callable[[], float] = time) -> None:
        self._wall = wall
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._unsaved: deque[Event] = deque(maxlen=KEPT)

    def note(self, model: str, version: str, what: What, detail: str = "") -> None:
        """It happened now."""
        event = Event(self._wall(), model, version, what, detail)
        self._kept.append(event)
        self._unsaved.append(event)

    def of(self, model: str, since: float = 0.0) -> list[Event]:
        """Those of a model from then on (seconds since the epoch), the oldest first."""
        return [event for event in self._kept if event.model == model and event.at >= since]

    def take(self) -> list[Event]:
        """Those that were not taken yet, the oldest first; for whoever writes them down."""
        taken = list(self._unsaved)
        self._unsaved.clear()
        return taken
