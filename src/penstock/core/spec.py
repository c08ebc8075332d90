"""How a model is to be served: its settings, section by section, and the signature it may declare."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

Scalar: TypeAlias = str | int | float | bool
Natural: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Duration: TypeAlias = Annotated[float, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
"""Ranges are checked where settings are read, never on construction."""

Isolation: TypeAlias = Literal["inline", "thread", "process", "ray"]
"""Where batches run: in the event loop, in a thread each, in a child process each, or on a cluster."""


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
    min: Natural | None = None
    """Together with ``max``, or alone: the number follows the traffic, and is never less than this.

    0: after ``idle_s`` without a request the model is unloaded, and the next request loads it.
    """
    max: Positive | None = None
    """The most that there may be; None: as many as the cores carry."""
    idle_s: Seconds = 300.0
    threads: Natural = 0
    """Compute threads of each; 0 chooses for the cores there are."""
    hang_s: Seconds = 10.0
    """A process is ended whose batch has run for so long, and past the deadline of everybody in it."""
    start_s: Seconds = 600.0
    """A process that has not loaded its model by then is ended."""
    pin: bool = True
    """Keep each process on cores of its own where the model's processes fill the machine."""
    resources: Mapping[str, Duration] = {}
    """On a cluster, what each asks of its node: ``CPU`` (if not named, ``threads``), ``GPU``, ``memory`` in
    bytes, and whatever else the cluster's nodes say that they have."""

    @property
    def moves(self) -> bool:
        """Whether the number of instances follows the traffic."""
        return self.min is not None or self.max is not None

    @property
    def least(self) -> int:
        """Instances that it has at the least while it is in memory."""
        return self.min or 1


class Schedule(Struct, frozen=True, kw_only=True):
    """``[[scaling.schedule]]`` in model.toml: capacity for an event that is known."""

    cron: str
    """When it begins: minute, hour, day, month and weekday, in the server's local time."""
    min: Positive
    """Instances that there are at the least."""
    for_s: Seconds = 3600.0


class Scaling(Struct, frozen=True, kw_only=True):
    """``[scaling]`` in model.toml: how the number of instances is decided, where it moves."""

    budget: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """Part of the requests that may miss the target."""
    hold_s: Duration = 120.0
    """There are fewer instances only once no more were wanted for so long."""
    feedback: bool = True
    """Expect more where the budget is overdrawn, and less where it is not used."""
    schedule: tuple[Schedule, ...] = ()


class Onnx(Struct, frozen=True, kw_only=True):
    """``[onnx]`` in model.toml."""

    providers: tuple[str, ...] = ()
    """Execution providers in order of preference; empty: by ``device``."""
    provider_options: Mapping[str, Mapping[str, Scalar]] = {}
    """Options by provider name."""
    session: Mapping[str, Scalar] = {}
    """Attributes of onnxruntime.SessionOptions, and its config entries (names with a dot)."""
    fp16: bool = False
    """For TensorRT: half precision."""
    profiles: Mapping[str, Mapping[Literal["min", "opt", "max"], tuple[Positive, ...]]] = {}
    """For TensorRT: shapes by input name, for which one engine is built."""


class OpenVino(Struct, frozen=True, kw_only=True):
    """``[openvino]`` in model.toml."""

    hint: Literal["", "latency", "throughput", "cumulative_throughput"] = ""
    """Performance hint; empty: streams and threads as ``[instances]`` says, throughput beyond the CPU."""
    precision: Literal["", "f32", "f16", "bf16"] = ""
    """Inference precision; empty: the file's own, where OpenVINO would take bf16 or f16 by itself."""
    properties: Mapping[str, Scalar] = {}
    """OpenVINO's own properties by name, e.g. ``NUM_STREAMS``."""


class Torch(Struct, frozen=True, kw_only=True):
    """``[torch]`` in model.toml."""

    module: str = ""
    """For files of weights alone: what makes the nn.Module, as ``"package.module:callable"``."""
    arguments: Mapping[str, Scalar] = {}
    """Keyword arguments of ``module``."""
    autocast: Literal["", "float16", "bfloat16"] = ""
    compile: bool = False
    """Run through ``torch.compile``, warmed at the batch sizes in use."""
    compile_mode: Literal["default", "max-autotune"] = "default"
    """As in ``torch.compile``; CUDA graphs are a setting of their own."""
    cuda_graphs: Literal["auto", "on", "off"] = "auto"
    """``auto`` measures at load, on CUDA devices."""


class Jax(Struct, frozen=True, kw_only=True):
    """``[jax]`` in model.toml."""

    pad: bool = True
    """Round batches up to the next power of two, so that few sizes are compiled."""


class Sklearn(Struct, frozen=True, kw_only=True):
    """``[sklearn]`` in model.toml."""

    trusted: tuple[str, ...] = ()
    """Types in a skops file, beyond scikit-learn's own, that may be loaded."""
    pickle: bool = False
    """Load pickle files, which may run any code on loading: only from those whom you trust."""


class Record(Struct, frozen=True, kw_only=True):
    """``[record]`` in model.toml: what is kept in memory of the requests that come in."""

    requests: Natural = 0
    """The inputs of so many of the last requests; 0: none."""
    max_bytes: int | str = "64 MiB"
    """Most that they may take together, as ``64 MiB``, ``500 MB`` or bytes; 0: no limit."""


Percent: TypeAlias = Annotated[float, Meta(gt=0, le=100)]
Part: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class Rollout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``[rollout]`` in model.toml: how a new version comes in."""

    plan: Literal["", "canary", "blue-green", "shadow", "ab", "aa"] = ""
    """Empty: a new version answers as soon as it is loaded. ``aa`` is a version against itself."""
    steps: tuple[Percent, ...] = ()
    """Percent of the requests, stage by stage; empty: as the plan and the traffic have it."""
    hold_s: Duration | None = None
    """The least that a stage lasts; None: by the traffic."""
    patience_s: Seconds = 86_400.0
    """A stage without a verdict for so long is ``inconclusive``."""
    inconclusive: Literal["hold", "rollback", "promote"] = "hold"
    """What then happens."""
    sticky: str = ""
    """Who returns stays on his version: by ``id``, ``tenant``, ``header:NAME`` or ``parameter:NAME``."""
    mirror: Part | None = None
    """Part of the requests whose copies run on both versions, to compare answers; None: by the plan."""
    compare: str = "auto"
    """How answers are compared: ``auto``, ``exact``, ``tolerance``, ``top1``, ``cosine``, or your own as
    ``"module:function"``."""
    tolerance: Part = 0.01
    """Relative for ``tolerance``; one less the least cosine for ``cosine``."""
    differ: Part = 0.01
    """Part of the answers that may differ."""
    slack_ms: Duration = 1.0
    """Latency that the new version may take more, whatever the ratio: what no caller notices, and what
    waiting for each other in one process costs models of microseconds."""
    baseline: bool = False
    """Load the old version once more with the share of the new one, to judge latency and cost against."""
    self_test_h: Duration = 0.0
    """Hours between two self-tests of the guards, a version against itself; 0: none."""
    risk: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """Chance that a good version is taken back, over the whole rollout and all guards."""
    guards: Mapping[str, float | bool] = {}
    """By guard: the ratio that is still good enough, or false for none of it."""


class Step(Struct, frozen=True, kw_only=True):
    """``[[step]]`` in pipeline.toml: one model of a pipeline."""

    model: str
    version: str = ""
    """Empty: whichever version is live."""
    name: str = ""
    """For errors, timings and traces; empty: the model's."""
    inputs: Mapping[str, str] = {}
    """The pipeline's tensor by the model's input; those left out have the same name."""
    outputs: Mapping[str, str] = {}
    """The pipeline's tensor by the model's output, of those that are wanted; empty: all, by their names."""
    when: str = ""
    """Run for those rows only for which this holds, e.g. ``max(probabilities) < 0.8``."""


class ModelSpec(Struct, frozen=True, kw_only=True):
    """How one model is to be served: model.toml, or what config.pbtxt says of the same."""

    name: str = ""
    engine: str = ""
    """A name in ``engines.ENGINES`` or ``"module:Class"``; empty: by file type."""
    file: str = ""
    """The model's file inside a version folder; empty: the engine's usual name."""
    versions: str | tuple[str, ...] = "latest"
    """``latest``, ``latest N``, ``all``, or a list of versions."""
    isolation: Literal["auto", "inline", "thread", "process"] = "auto"
    """Where batches run; ``auto``: as the engine asks for, and inline where that measures faster."""
    device: str | tuple[str, ...] = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``gpu``, ``npu``, ``mps`` …; a list is tried in order; ``auto``:
    the best there is."""
    cache: str = ""
    """Folder for what engines compile; empty: below the user's cache folder; ``off``: none."""
    inputs: tuple[TensorSpec, ...] = ()
    """The signature, for files that do not tell theirs; where they do it must agree."""
    outputs: tuple[TensorSpec, ...] = ()
    steps: tuple[Step, ...] = ()
    """What a pipeline is made of; empty: it is a model of its own."""
    give: tuple[str, ...] = ()
    """A pipeline's outputs; empty: the last of each tensor that no step takes."""
    batching: Batching = field(default_factory=Batching)
    target: Target = field(default_factory=Target)
    queue: Queue = field(default_factory=Queue)
    instances: Instances = field(default_factory=Instances)
    scaling: Scaling = field(default_factory=Scaling)
    onnx: Onnx = field(default_factory=Onnx)
    openvino: OpenVino = field(default_factory=OpenVino)
    torch: Torch = field(default_factory=Torch)
    jax: Jax = field(default_factory=Jax)
    sklearn: Sklearn = field(default_factory=Sklearn)
    record: Record = field(default_factory=Record)
    rollout: Rollout = field(default_factory=Rollout)
    labels: Mapping[str, str] = {}
    """Label file (one label a line, relative to the model's folder) by output name."""
    parameters: Mapping[str, str] = {}
    """Free text: engines and Python models read it, and users see it in the model's config."""
