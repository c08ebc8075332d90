"""The seam of a pass, which makes other files of a model's and never changes its input; those there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from penstock.core.spec import ModelSpec, Signature
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact
from penstock.optimize.types import Options as Options

PASSES: dict[str, str] = {
    "prune": "penstock.optimize.passes.prune:Prune",
    "trees": "penstock.optimize.passes.trees:Trees",
    "ir": "penstock.optimize.passes.ir:Ir",
    "trim": "penstock.optimize.passes.trim:Trim",
    "clean": "penstock.optimize.passes.clean:Clean",
    "fuse": "penstock.optimize.passes.fuse:Fuse",
    "bf16": "penstock.optimize.passes.bf16:Bf16",
    "fp16": "penstock.optimize.passes.fp16:Fp16",
    "int8-nncf": "penstock.optimize.passes.int8_nncf:Int8Nncf",
    "int8-onnx": "penstock.optimize.passes.int8_onnx:Int8Onnx",
    "int8-dynamic": "penstock.optimize.passes.int8_dynamic:Int8Dynamic",
    "weights-nncf": "penstock.optimize.passes.weights_nncf:WeightsNncf",
    "weights-onnx": "penstock.optimize.passes.weights_onnx:WeightsOnnx",
    "int8-careful": "penstock.optimize.passes.int8_careful:Int8Careful",
    "offline": "penstock.optimize.passes.offline:Offline",
}
"""By name; a user's own is ``"module:Class"``."""

STAGES = (
    *("prune", "convert"),
    *("half", "int8", "careful"),
    *("trim", "clean", "fuse"),
    *("half", "int8", "weights", "half", "offline"),
)
"""The order in which passes are tried; what a stage makes is what the next ones start from.

What gains most comes first, in case time runs out; a stage that comes again starts from what graphs
became meanwhile, with those of its offers alone that did best.
"""


class Source(Struct, frozen=True, kw_only=True):
    """What a pass starts from."""

    artefact: Artefact
    spec: ModelSpec
    """The model's settings, with those that the artefact needs laid over them."""
    signature: Signature
    """Of the original, which what is made must keep: names, datatypes, shapes."""
    device: str = "cpu"
    """What the original runs on, ``cpu`` or e.g. ``cuda:0``."""
    finetune: str = ""
    """The user's ``"module:function"`` for passes that need training; empty: there is none."""
    metric: str = ""
    max_drop: float = 0.01

    @property
    def file(self) -> Path:
        return Path(self.artefact.file)

    def did(self, *names: str) -> bool:
        """Whether one of these passes is among those that made it."""
        return any(step.name in names for step in self.artefact.steps)


class Made(Struct, frozen=True, kw_only=True):
    """What a pass made; ``file`` may be the source's own where it is only run in another way."""

    file: Path
    engines: tuple[str, ...] = ()
    """Those to try it on; empty: all that read such a file."""
    settings: Mapping[str, Any] = {}
    """Needed in ``model.toml`` beyond the source's, as nested plain values."""
    alone: bool = False
    """Rows may not be batched, as they influence each other."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions matter, e.g. ``("nncf", "openvino")``."""


class Pass(Protocol):
    """One way to make another file of a model's; made anew for each use, with no arguments.

    Both methods run in a child process with limits on time and memory, in an empty working directory.
    Slow imports belong into the methods.
    """

    stage: str
    """One of ``STAGES``."""

    def variants(self, source: Source, /) -> Sequence[Options]:
        """The options with which it is worth applying; empty where it is of no use, or cannot be.

        Cheap: it may read the file, and does not compute. A package that is missing raises
        ``LoadFailed`` with what to install, which is reported as the reason why the pass was left out.
        """
        ...

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Write into the folder ``out``, which is empty.

        ``samples`` are for calibration; those that judge it are others.
        Raises ``LoadFailed``, or whatever a library raises, where it cannot be done.
        """
        ...
