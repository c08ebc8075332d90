"""The child process in which the optimizer makes a variant, or loads, runs and times one."""

import faulthandler
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import msgspec

from penstock.core import machine
from penstock.core.errors import LoadFailed, PenstockError, one_line, words
from penstock.core.importing import find
from penstock.core.ports import Engine
from penstock.engines import ENGINES, FILES
from penstock.engines.memory import trim
from penstock.optimize.messages import (
    Answer,
    Ask,
    Crafted,
    Failed,
    Look,
    Looked,
    Make,
    Open,
    Opened,
    Spin,
    Tell,
)
from penstock.optimize.passes import Made, Pass
from penstock.optimize.running import Running
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact, Offer, Step
from penstock.repository.spec import merged
from penstock.workers.child import die_with, prefer_as_victim

LONGEST = 300
"""Characters of a reason."""


def main(lifeline: int) -> None:
    """Answers the questions on stdin, a line each, until it ends; what libraries print goes to stderr.

    ``lifeline`` is a pipe that ends with the parent, and so does this process.
    """
    faulthandler.enable()
    die_with(lifeline)
    prefer_as_victim()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    decoder: msgspec.json.Decoder[Ask] = msgspec.json.Decoder(Ask)
    work = Work()
    for line in sys.stdin.buffer:
        answers.write(msgspec.json.encode(work.do(decoder.decode(line))) + b"\n")
        answers.flush()


class Work:
    """One thing after another; at most one model is loaded."""

    def __init__(self) -> None:
        self._running: Running | None = None

    def do(self, ask: Ask) -> Tell:
        """The answer, whatever goes wrong."""
        try:
            match ask:
                case Look():
                    return look(ask)
                case Make():
                    return make(ask)
                case Open():
                    return self._open(ask)
                case Spin():
                    return self._loaded().spin(ask)
                case Answer():
                    return self._loaded().answer(ask)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library raises is the answer
            return Failed(said(error))

    def _open(self, ask: Open) -> Opened:
        _extend(ask.path)
        samples = Samples.load(Path(ask.samples))
        engine: Engine = find(ask.engine, ENGINES, "engine")()
        trim()
        before = machine.resident()
        began = perf_counter()
        session = engine.open(ask.spec, Path(ask.file))
        took = perf_counter() - began
        self._running = Running(session, samples)
        return Opened(session.signature, getattr(session, "device", "cpu"), took, before)

    def _loaded(self) -> Running:
        if self._running is None:
            raise RuntimeError("no model is loaded")
        return self._running


def look(ask: Look) -> Looked:
    """What each pass offers; one that raises offers nothing."""
    _extend(ask.path)
    offers: list[Offer] = []
    refused: dict[str, str] = {}
    for name, where in ask.passes.items():
        try:
            each: Pass = find(where, {}, "pass")()
            offers += [Offer(name, options) for options in each.variants(ask.source)]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library raises
            refused[name] = said(error)
    return Looked(tuple(offers), refused)


def make(ask: Make) -> Crafted:
    """Raises what the pass raises, and LoadFailed where it has made nothing that can be loaded."""
    _extend(ask.path)
    began = perf_counter()
    each: Pass = find(ask.where, {}, "pass")()
    out = Path(ask.out)
    done = each.apply(ask.source, ask.options, out, Samples.load(Path(ask.samples)))
    if not done.file.is_file():
        raise LoadFailed(f"pass {ask.name!r} has not made {done.file.name}")
    return Crafted(_artefact(ask, done, perf_counter() - began))


def _artefact(ask: Make, done: Made, seconds: float) -> Artefact:
    parent = ask.source.artefact
    fresh = done.file != ask.source.file
    able = readers(done.file) if fresh else parent.engines
    engines = done.engines or [name for name in able if name in parent.engines] or able
    if not engines:
        raise LoadFailed(f"pass {ask.name!r} made {done.file.name}, which no engine reads")
    return Artefact(
        name=ask.label if not parent.steps else f"{parent.name}+{ask.label}",
        file=str(done.file),
        engines=tuple(engines),
        steps=(*parent.steps, Step(ask.name, ask.options, {one: version(one) for one in done.packages})),
        settings=merged(parent.settings, done.settings),
        alone=parent.alone or done.alone,
        bytes=sum(file.stat().st_size for file in Path(ask.out).rglob("*")) if fresh else parent.bytes,
        seconds=seconds,
    )


def readers(file: Path) -> Sequence[str]:
    """The engines that read a file, the usual one first."""
    return FILES.get(file.name) or FILES.get(file.suffix, ())


def said(error: BaseException) -> str:
    """An error of ours as it is, others with their kind, in one line."""
    text = words(error) if isinstance(error, PenstockError) else f"{type(error).__name__}: {one_line(error)}"
    return text[:LONGEST]


def _extend(path: Sequence[str]) -> None:
    sys.path[:] = [*sys.path, *(each for each in path if each not in sys.path)]


if __name__ == "__main__":
    main(int(sys.argv[1]))
