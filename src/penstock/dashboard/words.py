"""What the page is told, event by event; a key whose value is the default is left out."""

from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.rollout.words import Status

May: TypeAlias = Literal["admin", "infer", "all"]
"""What the viewer's key allows; ``all`` where there are no keys."""


ZERO = 0.0
"""The default itself: only what is this very object is left out."""


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first event."""

    name: str
    version: str
    site: str
    started: float
    """Seconds since the epoch, as is ``now``."""
    now: float
    currency: str = ""
    may: May


class Machine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine and what this server, with the processes of its models, takes of it."""

    processor: str = ""
    cores: int = 0
    cpu: float = ZERO
    """Part of the cores that was busy for us."""
    memory_bytes: int = 0
    """Resident."""
    memory_limit: int = 0
    """For all models together; 0: none."""
    busy: float = ZERO
    """Core-seconds that were charged over those that there were, in the last entry of the books."""


class Cost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money."""

    currency: str = ""
    per_hour: float | None = None
    """The machine, or our share of it."""
    per_1000: float | None = None
    """Queries of the last hour, with what was idle."""
    marginal_per_1000: float | None = None
    """Without it."""
    source: str = ""
    """Where the price comes from."""


class Energy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Watts of the last entry of the books, and joules and grams for 1,000 queries of the last hour."""

    watts: float | None = None
    low: float | None = None
    """Of the watts, as is ``high``."""
    high: float | None = None
    per_1000: float | None = None
    method: str = ""
    grams_per_1000: float | None = None
    intensity: float | None = None
    """Grams of CO2-equivalents for a kWh."""


class Standing(Struct, frozen=True):
    """How much of a budget is used."""

    what: str
    used: float
    """As a part of the limit."""
    limit: float
    """In an hour."""
    warn: float
    """The part from which on there is a warning."""


class Tenant(Struct, frozen=True, omit_defaults=True):
    """Who asks."""

    name: str
    queries: int
    """In the last hour."""
    budget: tuple[Standing, ...] = ()


class Scale(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model whose number of instances moves, in brief; ``/penstock/scale/MODEL`` tells it at length."""

    model: str
    version: str = ""
    """The one that answers; empty while none is in memory."""
    ready: int = 0
    wanted: int = 0
    by: str = ""
    """What decided last."""
    rate: float = ZERO
    """Rows a second, as are the two others."""
    forecast: float = ZERO
    """The highest expected until an instance begun now would answer."""
    capacity: float = ZERO
    """What those that are ready carry within the target."""


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version; ``core.types.ModelState`` and what became of its requests."""

    name: str
    version: str
    state: str
    live: bool = False
    reason: str = ""
    platform: str = ""
    device: str = ""
    isolation: str = ""
    instances: int = 0
    threads: int = 0
    restarts: int = 0
    batched: bool = False
    batch_cap: int = 0
    memory_bytes: int = 0
    run_ms: float = ZERO
    rate: float = ZERO
    """Answers a second."""
    p50_ms: float | None = None
    """Of the last ten seconds, as are the two others."""
    p95_ms: float | None = None
    p99_ms: float | None = None
    target_p99_ms: float | None = None
    batch: float | None = None
    """Mean rows of a batch in the last ten seconds."""
    batches: tuple[tuple[int, int], ...] = ()
    """Upper bound of rows, and batches of the last minute up to it and over the one before."""
    queue: int = 0
    """Rows that wait."""
    busy: float | None = None
    """Part of the time in which its instances ran; a run counts when it ends."""
    errors: dict[str, int] = {}
    """By reason, since the start."""
    error_rate: float = ZERO
    requests: int = 0
    """Answered since the start."""
    cost_per_1000: float | None = None
    """Queries of the last hour, with what was idle; likewise the joules."""
    joules_per_1000: float | None = None
    method: str = ""


class Tick(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything as it is now."""

    at: float
    """Seconds since the epoch."""
    seconds: float
    """Over which rates were taken."""
    ready: bool = False
    machine: Machine
    rate: float = ZERO
    """Answers a second; those to a pipeline's steps count with their models alone."""
    errors: float = ZERO
    """A second."""
    cost: Cost
    energy: Energy
    tenants: tuple[Tenant, ...] = ()
    rollouts: tuple[Status, ...] = ()
    """Those that run, and those that ended lately."""
    scaling: tuple[Scale, ...] = ()
    """Models whose number of instances moves, by name."""
    models: tuple[Model, ...] = ()


Line: TypeAlias = tuple[float | None, ...]
"""A figure at each time; None where it was not known."""


class Track(Struct, frozen=True):
    """One version's past."""

    rate: Line
    p99: Line
    errors: Line


class Whole(Struct, frozen=True):
    """The server's, as the page's strip shows it."""

    rate: Line
    errors: Line
    p99: Line
    """Of the model that was asked most."""
    busy: Line
    cost: Line
    """For 1,000 queries, as is ``grams``."""
    watts: Line
    grams: Line


class Past(Struct, frozen=True, kw_only=True):
    """The second event, where anybody has looked in the last minutes: one second in five."""

    at: tuple[float, ...]
    """Seconds since the epoch, the earliest first."""
    whole: Whole
    models: dict[str, Track]
    """By ``NAME/VERSION``."""
