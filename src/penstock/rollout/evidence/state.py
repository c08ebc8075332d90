"""What is kept of a rollout's evidence: all of it outlives a restart."""

from typing import Literal, TypeAlias

from msgspec import Struct, field

from penstock.rollout.evidence.latency import Latency
from penstock.rollout.evidence.mean import Mean
from penstock.rollout.evidence.once import Once
from penstock.rollout.evidence.outputs import Outputs
from penstock.rollout.evidence.parts import Parts
from penstock.rollout.evidence.rate import Rate
from penstock.rollout.evidence.sketch import Sketch
from penstock.rollout.evidence.windows import Paired, Window

VERSION = 1
"""Of the state's layout."""
Control: TypeAlias = Literal["stable", "baseline"]


class Bound(Struct, frozen=True):
    """One guard's margins: ratios of the candidate to the stable version; for ``answers`` parts of them."""

    alarm: float
    """It fails once the candidate is proven to be over this, in any stage."""
    target: float | None
    """It passes the stage once that is proven to be under this; None: it need not."""


class State(Struct):
    """What outlives a restart."""

    version: int
    sticky: bool
    control: Control
    slack: float
    """Seconds of latency that do not count."""
    bounds: dict[str, Bound]
    sketch: Sketch
    rates: dict[str, Rate] = {}
    latencies: dict[str, Latency] = {}
    means: dict[str, Mean] = {}
    pairs: dict[str, Paired] = {}
    windows: dict[str, Window] = {}
    parts: Parts | None = None
    outputs: Outputs | None = None
    stage: int = 0
    callers: Once = field(default_factory=Once)
    requests: int = 0
    """Of the candidate."""
    ticks: int = 0
    """Windows that were closed."""
    odds: float = 0.5
    """Of the last requests."""

    def __post_init__(self) -> None:
        """Raises ValueError for what another version has written."""
        if self.version != VERSION:
            raise ValueError(f"evidence of layout {self.version}; this version of penstock reads {VERSION}")


def bound(alarm: float, target: float | None) -> Bound:
    """Floats, as they are read back."""
    return Bound(float(alarm), None if target is None else float(target))
