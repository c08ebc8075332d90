"""How scaling stands, as it is told: of each model, its decisions and what it was asked."""

from typing import Literal, TypeAlias

from msgspec import Struct

Why: TypeAlias = Literal["", "fixed", "inline", "pipeline", "absent", "unseen"]
"""Why the number of a model's instances does not move; empty where it does."""


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision, as it is kept and shown."""

    at: float
    """Seconds since the epoch."""
    had: int
    """Instances that answered then."""
    wanted: int
    by: str
    """What decided: ``forecast``, ``recurring``, ``reactive``, ``queue``, ``schedule``, ``floor``, ``hold``,
    ``idle`` or ``limit``."""
    line: str
    """What was seen, forecast, needed and decided, for people."""


class Standing(Struct, frozen=True, kw_only=True):
    """One model now; rates are rows a second."""

    model: str
    version: str
    """The one that answers; empty while the model is not in memory."""
    fixed: Why = ""
    ready: int = 0
    starting: int = 0
    wanted: int = 0
    least: int = 0
    most: int = 0
    rate: float = 0.0
    forecast: float = 0.0
    """The highest expected until an instance that were begun now would answer."""
    quantile: float = 0.0
    method: str = ""
    """What forecasts."""
    burst: float = 0.0
    """Variance over mean of the rows in a second."""
    carries: float | None = None
    """Of one instance within the target, by its learned run times; None: not known yet."""
    alone: float | None = None
    """Of one instance by itself, so that 99 % of evenly random requests are in time."""
    corrected: float = 1.0
    """By how much what really happened under load has corrected both."""
    wait_ms: float = 0.0
    """What a request may wait in the queue and be in time."""
    target_ms: float = 0.0
    missed: float | None = None
    """Part of the requests of the last hours that missed the target; None: there were none."""
    startup_s: float = 0.0
    """What an instance takes to load and warm up, in 19 cases of 20."""
    starts: int = 0
    """Start-ups that this was measured by."""
    by: str = ""
    note: str = ""
    line: str = ""


class History(Struct, frozen=True, kw_only=True):
    """The last ticks of one model, column by column."""

    at: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    forecast: tuple[float, ...] = ()
    capacity: tuple[float, ...] = ()
    """Rows a second that the instances which answered then carry."""
    ready: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()
