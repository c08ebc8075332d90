"""What the optimizer says to a child process: one JSON object a line, one answer to each."""

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from penstock.core.spec import ModelSpec, Signature
from penstock.optimize.passes import Options, Source
from penstock.optimize.types import Artefact, Offer


class Look(Struct, frozen=True, tag=True):
    """What could be done to this; answered by Looked."""

    source: Source
    passes: Mapping[str, str]
    """Import strings by name."""
    path: tuple[str, ...] = ()
    """``sys.path`` of the parent, so that a user's own modules are found."""


class Looked(Struct, frozen=True, tag=True):
    offers: tuple[Offer, ...]
    refused: Mapping[str, str]
    """Why a pass offers nothing, where it raised."""


class Make(Struct, frozen=True, tag=True):
    """Apply a pass; answered by Crafted."""

    name: str
    where: str
    """Import string."""
    source: Source
    options: Options
    label: str
    out: str
    """An empty folder."""
    samples: str
    """File of those to calibrate with."""
    path: tuple[str, ...] = ()


class Crafted(Struct, frozen=True, tag=True):
    """The artefact, without what could be done to it next."""

    artefact: Artefact


class Open(Struct, frozen=True, tag=True):
    """Load a file on an engine; answered by Opened."""

    engine: str
    spec: ModelSpec
    file: str
    samples: str
    """File of the rows to run."""
    path: tuple[str, ...] = ()


class Opened(Struct, frozen=True, tag=True):
    signature: Signature
    device: str
    seconds: float
    resident: int
    """Bytes that the process held before."""


class Spin(Struct, frozen=True, tag=True):
    """Run batches and time them; answered by Spun.

    Batches rotate over the samples, beginning with number ``start``, so that the same question to two
    children is about the same rows.
    """

    rows: int
    runs: int
    start: int = 0
    instances: int = 1
    """Threads that run at once."""
    limit: float = 60.0
    """Seconds after which no further run begins."""


class Spun(Struct, frozen=True, tag=True):
    seconds: tuple[float, ...]
    """Of each run."""
    rows: int
    """Altogether."""
    wall: float
    cpu: float
    """Processor seconds of all threads."""
    resident: int


class Answer(Struct, frozen=True, tag=True):
    """Run all samples in batches of so many rows; answered by Answered, outputs in the file ``out``.

    Outputs are saved as ``Samples`` are: in the groups and the order of the inputs.
    """

    out: str
    rows: int
    most: int = 0
    """Rows of each group, from its front; 0: all."""
    seconds: float = 0.0
    """After which no further batch begins; 0: never."""


class Answered(Struct, frozen=True, tag=True):
    counts: tuple[int, ...]
    """Rows that were run, of each group from its front."""


class Failed(Struct, frozen=True, tag=True):
    """Of whatever was asked: why it could not be done."""

    reason: str


Ask: TypeAlias = Look | Make | Open | Spin | Answer
Tell: TypeAlias = Looked | Crafted | Opened | Spun | Answered | Failed
