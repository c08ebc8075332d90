"""What a decision on a model's instances is made of, and what it says."""

from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.scaling.series import Series

By: TypeAlias = Literal[
    "forecast", "recurring", "reactive", "queue", "schedule", "floor", "hold", "idle", "limit"
]
"""What decided."""
Method: TypeAlias = Literal["none", "persistence", "momentary", "highest", "trend", "ridge", "seasonal"]
"""What forecast."""


class Schedule(Struct, frozen=True):
    """At least so many instances from each time that ``cron`` names, for a while."""

    cron: str
    """Five fields, in the server's local time."""
    least: int
    for_s: float = 3600.0


class Terms(Struct, frozen=True, kw_only=True):
    """What is wanted for a model."""

    least: int = 1
    """0: none at all after ``idle_s``."""
    most: int = 1
    idle_s: float = 0.0
    """Seconds without a request after which there need be no instance; only where ``least`` is 0."""
    budget: float = 0.01
    """Share of requests that may miss the target."""
    hold_s: float = 120.0
    """Fewer instances only once nothing more was wanted for so long."""
    tick_s: float = 10.0
    feedback: bool = True
    """The forecast's quantile follows the share of requests that missed the target."""
    headroom: float = 1.3
    """Rate expected over the rate now, while there is too little history to know."""
    ahead: bool = True
    """Off: the forecast is not asked, and the rate now is all that counts."""
    schedules: tuple[Schedule, ...] = ()


class Seen(Struct, frozen=True, kw_only=True):
    """What is known of a model at one moment."""

    now: float
    """Unix seconds."""
    series: Series
    """The model's requests; only read."""
    waiting: float
    """Requests in the queue."""
    ready: int
    """Instances that answer."""
    starting: int
    """Instances on their way."""
    carries: float
    """Requests/s that one instance works off in batches that leave ``wait_s``."""
    wait_s: float
    """Seconds that a request may wait in the queue: the target less the run."""
    startup_s: float
    """Of an instance, load and warm-up, p95."""
    missed: float = 0.0
    """Requests since the last decision that missed the target or were refused for want of capacity …"""
    asked: float = 0.0
    """… of so many."""


class Decision(Struct, frozen=True, kw_only=True):
    """How many instances there should be, and why."""

    instances: int
    rate: float
    """Requests/s now."""
    forecast: float
    """The highest rate expected within start-up and one tick; what is staffed for."""
    quantile: float
    """Of the forecast: the chance that it is enough."""
    burst: float
    """Variance over mean of requests in one second; 1 is Poisson."""
    carries: float
    """Requests/s of one instance."""
    capacity: float
    """Requests/s that this many were chosen for."""
    by: By
    method: Method
    note: str = ""

    def line(self) -> str:
        """What was seen, forecast, needed and decided, in one line."""
        how = f"{self.method} at {100 * self.quantile:.3g} %" if self.method != "none" else "no history yet"
        parts = [
            f"{self.rate:.4g}/s (burst {self.burst:.2g})",
            f"up to {self.forecast:.4g} expected ({how})",
            f"{self.capacity:.4g} needed at {self.carries:.4g} an instance",
            f"{self.instances} instance{'s' if self.instances != 1 else ''} by {self.by}",
        ]
        return " → ".join(parts) + (f"; {self.note}" if self.note else "")
