"""The values that travel: requests, replies, signatures, model specs and model states."""

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field
from numpy.typing import NDArray

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Tensors by name; axis 0 is the batch axis; BYTES tensors are object arrays of ``bytes``."""

Scalar: TypeAlias = str | int | float | bool
Parameters: TypeAlias = Mapping[str, Scalar]

NO_PARAMETERS: Parameters = {}

Natural: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Duration: TypeAlias = Annotated[float, Meta(ge=0)]
"""Ranges are checked where settings are read, never on construction."""


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


class Timing(Struct, frozen=True):
    """How one request spent its time, in seconds, and the rows of the batch that carried it."""

    queued: float
    ran: float
    batch: int


class Reply(Struct, frozen=True):
    """The answer to one request; ``outputs`` holds just the outputs that were asked for."""

    model: str
    version: str
    outputs: Tensors
    timing: Timing


class TensorSpec(Struct, frozen=True):
    """Name, V2 datatype and full shape of one input or output; -1 is a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(Struct, frozen=True):
    """What a session takes and gives; shapes include axis 0."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Batching(Struct, frozen=True, kw_only=True):
    """``[batching]`` in model.toml."""

    policy: str = "slo"
    """``none``, ``fixed``, ``aimd``, ``slo``, or your own as ``"module:Class"``."""
    max_rows: Natural = 0
    """Most rows in one batch; 0 lets the policy choose (up to 64)."""
    preferred: tuple[Positive, ...] = ()
    """For ``fixed``: batch sizes worth waiting for, in rows."""
    max_delay_ms: Duration = 0.0
    """For ``fixed``: the longest that the oldest request waits for company."""


class Target(Struct, frozen=True, kw_only=True):
    """``[target]`` in model.toml: what is to be held."""

    p99_ms: Duration = 0.0
    """Latency target; also the default deadline of a request that names none. 0: no target."""


class Queue(Struct, frozen=True, kw_only=True):
    """``[queue]`` in model.toml."""

    max_rows: Positive = 4096
    """Rows that may wait; one more is refused."""
    timeout_ms: Annotated[float, Meta(gt=0)] = 60_000.0
    """Deadline of a request that names none, when there is no target."""
    default_priority: Positive = 1
    max_priority: Positive = 8
    """Priorities run from 1 (most urgent) to this."""


class Instances(Struct, frozen=True, kw_only=True):
    """``[instances]`` in model.toml: how a model is laid over the machine's cores."""

    count: Natural = 0
    """Batches that may run at once; 0 chooses for the cores there are."""
    threads: Natural = 0
    """Compute threads of each; 0 chooses for the cores there are."""
    placement: Literal["auto", "loop", "thread"] = "auto"
    """Where batches run; ``auto`` measures at warm-up."""


class Onnx(Struct, frozen=True, kw_only=True):
    """``[onnx]`` in model.toml."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    provider_options: Mapping[str, Mapping[str, Scalar]] = {}
    """Options by provider name."""
    session: Mapping[str, Scalar] = {}
    """Attributes of onnxruntime.SessionOptions, and its config entries (names with a dot)."""


class ModelSpec(Struct, frozen=True, kw_only=True):
    """How one model is to be served: model.toml, or what config.pbtxt says of the same."""

    name: str = ""
    engine: str = ""
    """A name in ``engines.ENGINES`` or ``"module:Class"``; empty: by file type."""
    file: str = ""
    """The model's file inside a version folder; empty: the engine's usual name."""
    versions: str | tuple[str, ...] = "latest"
    """``latest``, ``latest N``, ``all``, or a list of versions."""
    batching: Batching = field(default_factory=Batching)
    target: Target = field(default_factory=Target)
    queue: Queue = field(default_factory=Queue)
    instances: Instances = field(default_factory=Instances)
    onnx: Onnx = field(default_factory=Onnx)
    labels: Mapping[str, str] = {}
    """Label file (one label a line, relative to the model's folder) by output name."""
    parameters: Mapping[str, str] = {}
    """Free text for the model's users; shown in its config."""


State: TypeAlias = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]


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
    placement: str = ""
    """``loop`` or ``thread``."""
    instances: int = 0
    threads: int = 0
    batch_cap: int = 0
    run_ms: float = 0.0
    """Measured run time of one row, milliseconds."""
    load_seconds: float = 0.0


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
