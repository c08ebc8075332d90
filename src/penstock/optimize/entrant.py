"""A candidate that is loaded and can be run: one child process, or as many as it has instances."""

from pathlib import Path

from msgspec.structs import replace

from penstock.core.importing import find
from penstock.core.ports import Engine
from penstock.core.spec import Instances, ModelSpec, Signature
from penstock.engines import ENGINES
from penstock.optimize.messages import Answer, Answered, Open, Opened, Spin, Spun
from penstock.optimize.rig import Child, Memo
from penstock.optimize.samples import Samples, length
from penstock.optimize.types import Artefact, Candidate
from penstock.repository.spec import overlay
from penstock.workers.worker import import_path

OPENING = 180.0
"""Seconds that loading and compiling may take."""
PATIENCE = 60.0
"""Seconds beyond its limit for which a child that runs batches is waited for."""


class Entrant:
    """Blocks; raises LoadFailed with the reason where the candidate cannot be loaded or run."""

    def __init__(
        self,
        spec: ModelSpec,
        artefact: Artefact,
        candidate: Candidate,
        samples: Memo,
        scratch: Path,
        memory: int,
    ) -> None:
        """``spec`` is the model's own, ``samples`` the rows to run, ``memory`` bytes for each child."""
        self.candidate = candidate
        self.alone = artefact.alone
        self.patience = OPENING * 10
        """Seconds that all answers may take."""
        self._samples = samples
        self._children: list[Child] = []
        ready = settled(spec, artefact, candidate)
        count = candidate.instances if _apart(candidate.engine, spec) else 1
        if count > 1:
            ready = replace(ready, instances=replace(ready.instances, count=1))
        ask = Open(candidate.engine, ready, artefact.file, str(samples.path), import_path())
        self._answers = Memo("answers")
        try:
            for _ in range(count):
                memos = [samples, self._answers]
                self._children.append(Child(scratch, candidate.threads, memory, memos))
            for child in self._children:
                child.send(ask)
            opened = [child.receive(Opened, OPENING) for child in self._children]
        except BaseException:
            self.close()
            raise
        self.signature: Signature = opened[0].signature
        self.device = opened[0].device
        self.load_s = max(each.seconds for each in opened)
        self.memory = 0
        """Bytes by which the children have grown, at the last look."""
        self._before = [each.resident for each in opened]

    def one(self, rows: int, runs: int, start: int, limit: float) -> Spun:
        """Batches one after another on a single instance."""
        return self._children[0].ask(Spin(rows, runs, start, 1, limit), Spun, limit + PATIENCE)

    def all(self, rows: int, runs: int, start: int, limit: float) -> Spun:
        """Batches on all instances at once, ``runs`` altogether."""
        children, instances = self._children, self.candidate.instances
        if len(children) == 1:
            told = [children[0].ask(Spin(rows, runs, start, instances, limit), Spun, limit + PATIENCE)]
        else:
            share = -(-runs // len(children))
            for at, child in enumerate(children):
                child.send(Spin(rows, share, start + at * share, 1, limit))
            told = [child.receive(Spun, limit + PATIENCE) for child in children]
        self.memory = sum(each.resident - was for each, was in zip(told, self._before, strict=True))
        return Spun(
            tuple(second for each in told for second in each.seconds),
            sum(each.rows for each in told),
            max(each.wall for each in told),
            sum(each.cpu for each in told),
            sum(each.resident for each in told),
        )

    def answers(self, rows: int, most: int = 0, seconds: float = 0.0) -> tuple[Samples, tuple[int, ...]]:
        """Outputs of the samples in batches of ``rows``, and how many of each group there are.

        At most ``most`` rows of each group (0: all), and no batch begins after ``seconds`` (0: any time).
        """
        limit = seconds + PATIENCE if seconds else self.patience
        ask = Answer(str(self._answers.path), rows, most, seconds)
        counts = self._children[0].ask(ask, Answered, limit).counts
        return Samples.load(self._answers.path), counts

    def close(self) -> None:
        """Its processes end at once."""
        for child in self._children:
            child.close()
        self._answers.close()


def settled(spec: ModelSpec, artefact: Artefact, candidate: Candidate) -> ModelSpec:
    """The settings with which a candidate is run: the model's own, and over them the artefact's."""
    layout = Instances(
        count=candidate.instances,
        threads=candidate.threads,
        hang_s=spec.instances.hang_s,
        start_s=spec.instances.start_s,
        pin=spec.instances.pin,
    )
    file = Path(artefact.file).name
    return replace(overlay(spec, artefact.settings), engine=candidate.engine, file=file, instances=layout)


def cut_to(samples: Samples, counts: tuple[int, ...]) -> Samples:
    """Of each group as many rows from its front; with the labels."""
    begin = 0
    rows: list[int] = []
    for group, count in zip(samples.groups, counts, strict=True):
        rows += range(begin, begin + count)
        begin += length(group)
    return samples.take(rows)


def _apart(engine: str, spec: ModelSpec) -> bool:
    if spec.isolation != "auto":
        return spec.isolation == "process"
    found: Engine = find(engine, ENGINES, "engine")()
    return getattr(found, "isolation", "process") == "process"
