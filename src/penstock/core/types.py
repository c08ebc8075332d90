"""The values that travel: requests, replies, signatures, model states and statistics."""

from collections.abc import Mapping
from math import inf
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from numpy.typing import NDArray

from penstock.core.account import Account
from penstock.core.spec import ModelSpec, Scalar, Signature

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Tensors by name; axis 0 is the batch axis; BYTES tensors are object arrays of ``bytes``."""

Parameters: TypeAlias = Mapping[str, Scalar]

NO_PARAMETERS: Parameters = {}


class Request(Struct, frozen=True, kw_only=True):
    """One caller's question, free of any wire format."""

    model: str
    inputs: Tensors
    version: str = ""
    """Empty means: whichever version is live for this caller."""
    id: str = ""
    outputs: tuple[str, ...] = ()
    """The outputs wanted; empty means all."""
    deadline: float = inf
    """On the ``time.monotonic`` clock, seconds; ``inf`` leaves it to the model's default."""
    priority: int = 0
    """1 is the most urgent, larger is later; 0 takes the model's default."""
    parameters: Parameters = NO_PARAMETERS
    tags: Mapping[str, str] = {}
    """What the door knows of the caller: ``traceparent``, ``tenant`` …; never on the wire back."""
    account: Account | None = None
    """What is charged; None: the account that the tenant has with the version that answers."""


class Timing(Struct, frozen=True, repr_omit_defaults=True):
    """How one request spent its time, in seconds, and the rows of the batch that carried it."""

    queued: float
    ran: float
    batch: int
    cpu: float = 0.0
    """Core-seconds that the request is charged: its rows' part of the run, by the threads of it."""
    gpu: float = 0.0
    """GPU-seconds, likewise."""
    steps: "tuple[StepTiming, ...]" = ()
    """Of a pipeline, whose ``ran`` is the sum of theirs, and ``queued`` the time in which none ran."""


class StepTiming(Struct, frozen=True):
    """One step of a pipeline's answer; steps that were not needed have none."""

    name: str
    model: str
    version: str
    rows: int
    began: float
    """Seconds after the request came."""
    took: float
    """Seconds from then to the step's answer."""
    timing: Timing


class Reply(Struct, frozen=True):
    """The answer to one request; ``outputs`` holds just the outputs that were asked for."""

    model: str
    version: str
    outputs: Tensors
    timing: Timing


State: TypeAlias = Literal["LOADING", "READY", "COLD", "UNLOADING", "UNAVAILABLE"]
"""``COLD``: not in memory, and loaded by the next request for it."""


class ModelState(Struct, frozen=True, kw_only=True):
    """One version of one model as the control plane sees it now."""

    name: str
    version: str
    state: State
    reason: str = ""
    live: bool = False
    """Whether a request that names no version goes here."""
    spec: ModelSpec
    platform: str = ""
    """As V2 metadata names it, e.g. ``onnxruntime_onnx``."""
    signature: Signature = Signature((), ())
    batched: bool = False
    """Whether requests are merged; measured at load, never assumed."""
    device: str = ""
    """What really runs it, e.g. ``cpu`` or ``cuda:0``."""
    isolation: str = ""
    """``inline``, ``thread`` or ``process``."""
    restarts: int = 0
    """Times that a process of it had to be started again."""
    instances: int = 0
    threads: int = 0
    batch_cap: int = 0
    run_ms: float = 0.0
    """Measured run time of one row, milliseconds."""
    load_seconds: float = 0.0
    memory_bytes: int = 0
    """Resident memory that it takes, or would take while it is not loaded; 0: not known."""
    memory_measured: bool = False
    """Whether that was measured, or estimated from the size of its files."""

    @property
    def serving(self) -> bool:
        """Whether a request is answered: it is loaded, or would be for the request."""
        return self.state in ("READY", "COLD")


class Tally(Struct, frozen=True):
    """How often, and for how long altogether (nanoseconds)."""

    count: int = 0
    ns: int = 0


class BatchTally(Struct, frozen=True):
    """Executions with exactly this many rows."""

    rows: int
    compute: Tally


class Statistics(Struct, frozen=True, kw_only=True):
    """What one version has done since it was loaded (Triton's statistics extension)."""

    name: str
    version: str
    last_inference_ms: int = 0
    """Wall-clock milliseconds since the epoch; 0 when it has not run."""
    inference_count: int = 0
    """Rows inferred."""
    execution_count: int = 0
    """Batches run."""
    success: Tally = Tally()
    fail: Tally = Tally()
    queue: Tally = Tally()
    compute: Tally = Tally()
    batches: tuple[BatchTally, ...] = ()
    p50_ms: float | None = None
    p99_ms: float | None = None
