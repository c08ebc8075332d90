"""The values of a search: artefacts and how they were made, candidates, what was measured, what is wanted."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from penstock.core.spec import Scalar

Objective: TypeAlias = Literal["latency", "throughput", "cost", "energy"]
"""Seconds for one row; rows a second; processor seconds a row; joules a row."""

Options: TypeAlias = Mapping[str, Scalar]
"""Of a pass; plain values, so that they can be written down."""


class Targets(Struct, frozen=True, kw_only=True):
    """What is to be held, and what to spend least of."""

    minimize: Objective = "latency"
    max_drop: float = 0.01
    """How much the metric (a part of one, see ``accuracy``) may fall, at 95 % confidence."""
    p99_ms: float = 0.0
    """Latency that a variant must hold, batches included; 0: none."""
    metric: str = ""
    """A name in ``accuracy.METRICS`` or ``"module:function"``; empty: by labels and outputs."""


class Step(Struct, frozen=True):
    """One pass that was applied: by name, with its options, and the versions of the packages that it used."""

    name: str
    options: Options = {}
    versions: Mapping[str, str] = {}


class Offer(Struct, frozen=True):
    """What a pass could do to an artefact."""

    name: str
    options: Options = {}

    @property
    def label(self) -> str:
        """Short and unique among a pass's offers, e.g. ``int8-onnx[entropy]``."""
        told = ",".join(str(value) for value in self.options.values())
        return f"{self.name}[{told}]" if told else self.name


class Artefact(Struct, frozen=True, kw_only=True):
    """A model's file as a pass left it; ``source`` is the original."""

    name: str
    """``source``, or the labels of its passes joined by ``+``."""
    file: str
    """Path; what belongs to it (weights) lies beside it in a folder of its own."""
    engines: tuple[str, ...]
    """Those that read it, the usual one first."""
    steps: tuple[Step, ...] = ()
    settings: Mapping[str, Any] = {}
    """What it needs in ``model.toml``, as nested values: ``{"openvino": {"precision": "bf16"}}``."""
    alone: bool = False
    """Rows influence each other when they run together, so they may not be batched."""
    bytes: int = 0
    """Of its files."""
    seconds: float = 0.0
    """That the last pass took."""
    offers: tuple[Offer, ...] = ()
    """What could be done to it next."""
    declined: Mapping[str, str] = {}
    """Why a pass that looked at it failed, by name; most often a package that is not installed."""


class Candidate(Struct, frozen=True, order=True):
    """An artefact on an engine, laid out over the cores."""

    artefact: str
    engine: str
    instances: int
    """Batches at once."""
    threads: int
    """Compute threads of each."""

    @property
    def label(self) -> str:
        return f"{self.artefact} on {self.engine}, {self.instances} × {self.threads}"


class Interval(Struct, frozen=True):
    """An estimate with its 95 % confidence interval."""

    low: float
    mid: float
    high: float


class Batch(Struct, frozen=True, kw_only=True):
    """Throughput with batches of so many rows on all instances at once; medians over rounds."""

    rows: int
    run_ms: float
    """One batch."""
    p99_ms: float
    rows_per_s: float
    gain: Interval
    """Over the baseline's at the same size, round by round."""
    cpu_ms: float
    """Processor time, of all threads, for one row."""
    joules: float | None = None
    """For one row; None where nothing tells."""


class Figures(Struct, frozen=True, kw_only=True):
    """What was measured of a candidate, interleaved with the baseline."""

    rounds: int
    p50_ms: float
    """One row alone, over all runs."""
    p99_ms: float
    speedup: Interval
    """The baseline's time for one row over the candidate's on the same rows, round by round."""
    batches: tuple[Batch, ...]
    """By size; the first is of one row."""
    load_s: float
    memory_bytes: int
    """By which its processes grew, the framework included."""
    file_bytes: int
    beside_ms: float = 0.0
    """The baseline's time for one row in the same rounds, median over all runs."""


class Agreement(Struct, frozen=True, kw_only=True):
    """How good the answers stayed, on samples that were not used to calibrate."""

    metric: str
    drop: float
    """Estimate of what was lost; at or below 0 nothing was."""
    upper: float
    """Upper end of the one-sided 95 % confidence interval of the drop."""
    max_drop: float
    rows: int
    passed: bool
    """``upper`` is within ``max_drop``, and nothing else is wrong."""
    reference: float | None = None
    """The metric of the original, where it has one by itself (with labels)."""
    value: float | None = None
    """The candidate's."""
    others: Mapping[str, float] = {}
    """Further measures of likeness, for the report: ``top1``, ``cosine``, ``relative`` …"""
    why: str = ""
    """A sentence where it did not pass."""
    doubt: str = ""
    """A sentence where the labels themselves tell little, as the original is hardly right by them."""


Depth: TypeAlias = Literal["screen", "full", "confirm"]


class Trial(Struct, frozen=True, kw_only=True):
    """A candidate that was measured."""

    candidate: Candidate
    depth: Depth
    figures: Figures
    agreement: Agreement
    batched: bool = True
    """Whether rows give the same answers in whatever company."""
    repeats: bool = True
    """Whether it gives the same answers twice."""
    device: str = "cpu"
    seconds: float = 0.0
    """That the trial took."""


class Refused(Struct, frozen=True):
    """A pass or a trial that came to nothing, and the sentence that says why."""

    reason: str


class Choice(Struct, frozen=True, kw_only=True):
    """What is to be run, and why."""

    winner: Candidate | None
    """None: keep the original as it is."""
    max_rows: int = 0
    """Most rows in a batch with which it holds the targets; 0: it need not be bounded."""
    reasons: tuple[str, ...] = ()
    """Three lines: what it gains, how good the answers stayed, what was in the way or what it would take."""
    front: tuple[Candidate, ...] = ()
    """Those that no other honest one beats in everything: latency, throughput, drop, memory."""
    rejected: Mapping[str, str] = {}
    """A sentence by candidate's label, for every one that was not eligible."""


class Progress(Struct, frozen=True, kw_only=True):
    """How far a search is, told after every step."""

    doing: str
    """What comes next, in a few words; empty at the end."""
    spent: float
    """Seconds, those of earlier runs that were taken up again not included."""
    budget: float
    trials: tuple[Trial, ...]
    """All so far, in the order in which they were made; the first is the baseline's."""
    refused: Mapping[str, str] = {}
    """Why something could not be made or measured, by its label."""
    waiting: bool = False
    """For another search of the same; nothing is done meanwhile."""


class Outcome(Struct, frozen=True, kw_only=True):
    """A whole search, as it is written to ``variant.json`` and shown in reports."""

    model: str
    version: str
    digest: str
    """SHA-256 of the original's files."""
    targets: Targets
    choice: Choice
    baseline: Candidate
    trials: tuple[Trial, ...]
    artefacts: Mapping[str, Artefact]
    refused: Mapping[str, str]
    """Why something could not be made or measured, by its label."""
    rows: tuple[int, int]
    """Samples that calibrated, and samples that judged."""
    labelled: bool
    seconds: float
    """Of work, earlier runs that were taken up again included."""
    complete: bool
    """Whether the search came to its end, or the budget to its own before."""
    machine: Mapping[str, Any]
    """Processor, cores, system, versions of packages."""
    applied: str = ""
    """The folder of the new version, where one was written."""


class Point(Struct, frozen=True, kw_only=True):
    """What a version did in one layout with batches of one size; medians over rounds."""

    instances: int
    """Batches at once."""
    threads: int
    """Compute threads of each."""
    rows: int
    """Of a batch."""
    run_ms: float
    """One batch."""
    p99_ms: float
    rows_per_s: float
    """On all instances at once."""
    cpu_ms: float
    """Processor time, of all threads, for one row."""
    joules: float | None = None
    """For one row; None where nothing tells."""


class Profile(Struct, frozen=True, kw_only=True):
    """A version measured by itself on one machine, as ``penstock profile`` writes it."""

    model: str
    version: str
    machine: Mapping[str, Any]
    """Processor, cores, system, versions of packages."""
    device: str
    points: tuple[Point, ...]
    load_s: float
    memory_bytes: int
    """By which its processes grew at the most, the framework included."""
    file_bytes: int
