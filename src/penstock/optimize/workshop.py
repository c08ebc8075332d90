"""Where orders are carried out: children that make, the original and its answers, and what is measured."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from penstock.core import machine
from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.spec import ModelSpec
from penstock.metering.energy.rapl import open_probe
from penstock.optimize.checks import reference_precision
from penstock.optimize.entrant import Entrant, settled
from penstock.optimize.messages import Crafted, Look, Looked, Make
from penstock.optimize.origin import SOURCE, Known
from penstock.optimize.passes import Source
from penstock.optimize.rig import Child, Lost, saved
from penstock.optimize.samples import Samples
from penstock.optimize.trial import Bench, Reference, attempt, fixed, refer
from penstock.optimize.types import Artefact, Candidate, Depth, Offer, Targets, Trial
from penstock.serving.warmup import choose_layout
from penstock.workers.worker import import_path

LOOKING = 120.0
"""Seconds that the passes may take to look at an artefact."""
SHARE = 0.5
"""Of the budget that is left, for one pass."""
PATIENCE = 60.0
"""Seconds that a pass has in any case."""
ANSWERING = 120.0
"""Seconds that the original has in any case to answer all rows that judge."""
PACE = 20
"""Runs by which the original's row is timed, to lay it out as the server would."""


class Task(Struct, frozen=True, kw_only=True, eq=False):
    """What is to be optimized, by what, and within which limits."""

    spec: ModelSpec
    source: Artefact
    targets: Targets
    calibration: Samples
    judging: Samples
    passes: Mapping[str, Known]
    finetune: str
    memory: int
    """Bytes that one child may hold."""


class Workshop:
    """Opened with ``with``; methods block, and raise LoadFailed with the reason where a thing cannot be done.

    The original and its answers are there once they are needed.
    """

    def __init__(self, task: Task, folder: Path, patience: float = ANSWERING) -> None:
        """``folder`` is for artefacts, and is kept; ``patience`` is for the original's answers."""
        self._task = task
        self._folder = folder
        self._patience = max(ANSWERING, patience)
        self._baseline: Entrant | None = None
        self._reference: Reference | None = None
        self._device = "cpu"

    def __enter__(self) -> Self:
        self._room = tempfile.TemporaryDirectory(prefix="penstock-optimize-", ignore_cleanup_errors=True)
        self._scratch = Path(self._room.name)
        self._calibration = saved(self._task.calibration, "calibration")
        self._judging = saved(self._task.judging, "judging")
        task = self._task
        self._bench = Bench(task.spec, task.targets, self._judging, self._scratch, task.memory, open_probe())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.rest()
        self._calibration.close()
        self._judging.close()
        self._room.cleanup()

    def rest(self) -> None:
        """End the original's processes; they are started again when they are needed."""
        if self._baseline is not None:
            self._baseline.close()
            self._baseline = None

    def prepare(self) -> None:
        """The original's answers, if they are not there yet; raises LoadFailed where it has none."""
        self._original()

    # -- making ----------------------------------------------------------------------------------

    def look(self, artefact: Artefact) -> Artefact:
        """With what could be done to it."""
        with self._child() as child:
            return self._looked(child, artefact)

    def make(self, label: str, parent: Artefact, offer: Offer, left: float) -> Artefact:
        """Apply a pass; ``left`` is what is left of the budget, in seconds."""
        out = self._folder / re.sub(r"[^A-Za-z0-9.+-]+", "_", label)
        shutil.rmtree(out, ignore_errors=True)
        try:
            out.mkdir(parents=True)
            where = self._task.passes[offer.name].where
            ask = Make(
                offer.name,
                where,
                self._source(parent),
                offer.options,
                offer.label,
                str(out),
                str(self._calibration.path),
                import_path(),
            )
            with self._child() as child:
                made = child.ask(ask, Crafted, max(PATIENCE, left * SHARE)).artefact
                return self._looked(child, made)
        except BaseException as error:
            shutil.rmtree(out, ignore_errors=True)
            if isinstance(error, OSError):
                raise BadSetting(f"{out} cannot be written: {error.strerror}") from None
            raise

    def _looked(self, child: Child, artefact: Artefact) -> Artefact:
        began = perf_counter()
        passes = {name: each.where for name, each in self._task.passes.items()}
        told = child.ask(Look(self._source(artefact), passes, import_path()), Looked, LOOKING)
        took = artefact.seconds + perf_counter() - began
        return replace(artefact, offers=told.offers, declined=told.refused, seconds=took)

    def _source(self, artefact: Artefact) -> Source:
        task = self._task
        candidate = Candidate(artefact.name, artefact.engines[0], 1, len(machine.cores()))
        reference = self._original()
        return Source(
            artefact=artefact,
            spec=settled(task.spec, artefact, candidate),
            signature=reference.signature,
            device=self._device,
            finetune=task.finetune,
            metric=task.targets.metric,
            max_drop=task.targets.max_drop,
        )

    def _child(self) -> closing[Child]:
        memos = [self._calibration, self._judging]
        return closing(Child(self._scratch, len(machine.cores()), self._task.memory, memos))

    # -- measuring -------------------------------------------------------------------------------

    def usual(self) -> Candidate:
        """The original as the server would run it: its engine, and the layout that its run time asks for."""
        cores = len(machine.cores())
        engine = self._task.source.engines[0]
        instances = self._task.spec.instances
        count, threads = choose_layout(instances, cores)
        first = Candidate(SOURCE, engine, count, threads)
        with self._bench.entrant(self._task.source, first) as entrant:
            seconds = sorted(entrant.one(fixed(entrant.signature), PACE, 0, 30.0).seconds)
            row = seconds[len(seconds) // 2]
            accelerated = not entrant.device.lower().startswith("cpu")
        count, threads = choose_layout(instances, cores, row, accelerated=accelerated)
        return Candidate(SOURCE, engine, count, threads)

    def attempt(self, artefact: Artefact, candidate: Candidate, depth: Depth, usual: Candidate) -> Trial:
        """Against the original as it usually runs, which is started anew to confirm."""
        reference = self._original()
        if depth == "confirm":
            self.rest()
        if self._baseline is None:
            task = self._task
            self._baseline = Entrant(task.spec, task.source, usual, self._judging, self._scratch, task.memory)
        try:
            return attempt(self._bench, reference, self._baseline, artefact, candidate, depth)
        except BaseException:
            self.rest()  # it may be in the middle of an answer
            raise

    def _original(self) -> Reference:
        """The original's answers, in full precision."""
        if self._reference is not None:
            return self._reference
        task = self._task
        spec = exact(task.spec)
        candidate = Candidate(SOURCE, task.source.engines[0], 1, len(machine.cores()))
        entrant = Entrant(spec, task.source, candidate, self._judging, self._scratch, task.memory)
        try:
            self._device = entrant.device
            trouble = reference_precision(entrant.device)
            if trouble:
                raise LoadFailed(f"the original cannot be the judge of others: {trouble}")
            entrant.patience = self._patience
            self._reference = refer(entrant, task.judging, task.targets.metric)
        except Lost as error:
            raise LoadFailed(
                f"the original has not answered the {task.judging.rows} rows that judge: {error}; "
                "give fewer rows, or a larger --budget or --memory"
            ) from error
        finally:
            entrant.close()
        return self._reference


def exact(spec: ModelSpec) -> ModelSpec:
    """The same model without what its settings let go of in precision. Pure."""
    openvino = replace(spec.openvino, precision="f32" if spec.openvino.precision else "")
    return replace(
        spec, openvino=openvino, torch=replace(spec.torch, autocast=""), onnx=replace(spec.onnx, fp16=False)
    )
