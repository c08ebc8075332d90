"""What the page may rely on: every key of every event with its type, written a second time on purpose."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Amount = Annotated[float, Meta(ge=0)]
Part = Annotated[float, Meta(ge=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0)]


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """No key that is not known."""


class Hello(Strict, kw_only=True):
    name: Literal["penstock"]
    version: str
    site: str
    started: Amount
    now: Amount
    currency: str = ""
    may: Literal["admin", "infer", "all"]


class Machine(Strict, kw_only=True):
    processor: str = ""
    cores: Count = 0
    cpu: Part = 0
    memory_bytes: Count = 0
    memory_limit: Count = 0
    busy: Part = 0


class Cost(Strict, kw_only=True):
    currency: str = ""
    per_hour: Amount | None = None
    per_1000: Amount | None = None
    marginal_per_1000: Amount | None = None
    source: str = ""


class Energy(Strict, kw_only=True):
    watts: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    per_1000: Amount | None = None
    method: str = ""
    grams_per_1000: Amount | None = None
    intensity: Amount | None = None


class Budget(Strict, kw_only=True):
    what: Literal["queries", "money", "joules"]
    used: Amount
    limit: Amount
    warn: Part


class Tenant(Strict, kw_only=True):
    name: str
    queries: Count
    budget: tuple[Budget, ...] = ()


class Model(Strict, kw_only=True):
    name: str
    version: str
    live: bool = False
    state: Literal["READY", "LOADING", "COLD", "UNLOADING", "UNAVAILABLE"]
    reason: str = ""
    platform: str = ""
    device: str = ""
    isolation: Literal["", "inline", "thread", "process"] = ""
    instances: Count = 0
    threads: Count = 0
    restarts: Count = 0
    batched: bool = False
    batch_cap: Count = 0
    memory_bytes: Count = 0
    run_ms: Amount = 0
    rate: Amount = 0
    p50_ms: Amount | None = None
    p95_ms: Amount | None = None
    p99_ms: Amount | None = None
    target_p99_ms: Amount | None = None
    batch: Annotated[float, Meta(ge=1)] | None = None
    batches: tuple[tuple[Annotated[int, Meta(ge=1)], Count], ...] = ()
    queue: Count = 0
    busy: Part | None = None
    errors: dict[str, Annotated[int, Meta(ge=1)]] = {}
    error_rate: Amount = 0
    requests: Count = 0
    cost_per_1000: Amount | None = None
    joules_per_1000: Amount | None = None
    method: str = ""


class Guard(Strict, kw_only=True):
    name: str
    verdict: Literal["pass", "fail", "not yet", "off"]
    why: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    alarm: Amount | None = None
    target: Amount | None = None
    seen: Count = 0
    events: Count = 0
    against: Amount = 0
    for_: Amount = 0
    needs: Count | None = None
    needs_s: Amount | None = None


class Step(Strict, kw_only=True):
    weight: Percent
    began: Amount | None = None
    ended: Amount | None = None


class Rollout(Strict, kw_only=True):
    id: str
    model: str
    stable: str
    candidate: str
    kind: Literal["canary", "blue-green", "shadow", "ab"]
    phase: Literal["loading", "running", "paused", "promoted", "rolled-back"]
    stage: Count = 0
    stages: tuple[Step, ...] = ()
    weight: Percent = 0
    began: Amount = 0
    ended: Amount | None = None
    by: str = ""
    says: str = ""
    guards: tuple[Guard, ...] = ()
    answered_stable: Count = 0
    answered_candidate: Count = 0
    saved: Count = 0
    mirrored: Count = 0
    rate: Amount = 0
    sticky: str = ""
    baseline: bool = False
    terms: dict[str, Any] = {}


class Scale(Strict, kw_only=True):
    model: str
    version: str = ""
    ready: Count = 0
    wanted: Count = 0
    by: Literal[
        "", "forecast", "recurring", "reactive", "queue", "schedule", "floor", "hold", "idle", "limit"
    ] = ""
    rate: Amount = 0
    forecast: Amount = 0
    capacity: Amount = 0


class Tick(Strict, kw_only=True):
    at: Amount
    seconds: Amount
    ready: bool = False
    machine: Machine
    rate: Amount = 0
    errors: Amount = 0
    cost: Cost
    energy: Energy
    tenants: Annotated[tuple[Tenant, ...], Meta(max_length=20)] = ()
    rollouts: tuple[Rollout, ...] = ()
    scaling: tuple[Scale, ...] = ()
    models: tuple[Model, ...] = ()


Line = tuple[Amount | None, ...]


class Track(Strict):
    rate: Line
    p99: Line
    errors: Line


class Whole(Strict):
    rate: Line
    errors: Line
    p99: Line
    busy: tuple[Part, ...]
    cost: Line
    watts: Line
    grams: Line


class Past(Strict, kw_only=True):
    at: Annotated[tuple[Amount, ...], Meta(min_length=1, max_length=62)]
    whole: Whole
    models: Annotated[dict[str, Track], Meta(max_length=100)]


class Event(Strict, kw_only=True):
    at: Amount
    version: str
    what: str
    detail: str


class Piece(Strict, kw_only=True):
    start: Amount
    seconds: Amount
    queries: Count
    cost_full: Amount | None
    joules: Amount | None


class History(Strict, kw_only=True):
    events: tuple[Event, ...]
    series: tuple[Piece, ...]
