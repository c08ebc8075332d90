"""A search from a model's files to a choice: what ``search.py`` orders is carried out and written down."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core import machine
from penstock.core.errors import BadSetting, LoadFailed
from penstock.engines import cache
from penstock.optimize import origin
from penstock.optimize.attic import sweep
from penstock.optimize.facts import facts
from penstock.optimize.journal import Entry, Journal, entry
from penstock.optimize.orders import Make, Order, Plan, Try
from penstock.optimize.origin import SOURCE
from penstock.optimize.rig import Lost
from penstock.optimize.samples import Samples
from penstock.optimize.search import choose, decide
from penstock.optimize.start import start
from penstock.optimize.types import Artefact, Outcome, Progress, Refused, Targets, Trial
from penstock.optimize.version import inherited, next_version, same, write
from penstock.optimize.workshop import Task, Workshop
from penstock.repository.locate import Located

Watch = Callable[[Progress], object]
MEMORY = 0.6
"""Of what is free, for one child."""
USUAL = Targets()
WAITING = "waiting for another search of the same model on the same data, which keeps what it finds"
LEAST = 20
"""Samples without which nothing can be said."""


def optimize(
    model: str,
    data: Samples,
    *,
    repository: Path = Path("models"),
    targets: Targets = USUAL,
    budget: float = 900.0,
    passes: Sequence[str] = (),
    finetune: str = "",
    apply: bool = False,
    out: Path | None = None,
    memory: int = 0,
    fresh: bool = False,
    exhaustive: bool = False,
    watch: Watch = lambda _: None,
) -> Outcome:
    """Search for the cheapest way to run ``model`` that keeps its answers within ``targets.max_drop``.

    ``model`` is NAME[@VERSION] in ``repository``, or the path of a model's folder or file; without a
    version the newest, or what that was made of if it was found by optimizing (``start.start`` says so).
    ``data`` are real rows, of which a quarter calibrates and the rest judges.
    ``budget`` is in seconds; earlier runs on the same model, data and machine are taken up again and
    count, unless ``fresh``.
    ``passes`` are names to keep to (none: all) and import strings to add; ``finetune`` is the
    ``"module:function"`` that pruning wants.
    ``apply`` writes the winner as a new version beside the original, unless there is just that, ``out``
    as a folder of that name.
    ``memory`` is what one child process may hold, in bytes (0: a part of what is free).
    ``exhaustive`` measures everything fully, whatever it takes, for comparison.
    ``watch`` is told before every step.

    Blocks. Raises BadSetting and LoadFailed where the model or the data cannot be used.
    """
    if data.rows < LEAST:
        raise BadSetting(f"there are {data.rows} samples; give {LEAST} at the least, better some hundred")
    located, _ = start(model, repository)
    target = _target(located, out, apply=apply)
    calibration, judging = data.split()
    task = Task(
        spec=located.spec,
        source=origin.original(located),
        targets=targets,
        calibration=calibration,
        judging=judging,
        passes=origin.chosen(passes),
        finetune=finetune,
        memory=memory or int(machine.free_memory() * MEMORY),
    )
    with ExitStack() as kept:
        folder = _folder(located, task, data, kept)
        wait = Progress(doing=WAITING, spent=0.0, budget=budget, trials=(), waiting=True)
        kept.enter_context(cache.alone(folder, lambda: watch(wait)))
        journal = Journal(folder, fresh=fresh, source=task.source.file, budget=budget, memory=task.memory)
        shop = kept.enter_context(Workshop(task, folder, budget - journal.seconds))
        search = Search(task, journal, shop, watch)
        outcome = search.run(located, budget, exhaustive=exhaustive)
        if target is None or outcome.choice.winner is None:
            return outcome
        there = None if out else same(located, outcome)
        if there is None:
            write(target, outcome, origin.files(located), inherited(located, target))
        return replace(outcome, applied=str(there or target))


def _target(located: Located, out: Path | None, *, apply: bool) -> Path | None:
    """The folder to write; raises BadSetting where there is no place for it."""
    if out is None and apply:
        if located.folder is None:
            raise BadSetting(
                f"{located.file} lies in no repository, so it has no versions; give --out FOLDER"
            )
        out = located.folder / next_version(located.versions, located.version)
    if out is not None and out.exists():
        raise BadSetting(f"{out} is there already; name another folder")
    return out


def _folder(located: Located, task: Task, data: Samples, kept: ExitStack) -> Path:
    """Of all that is found out about this model with these data on this machine."""
    told = [msgspec.json.encode(each).decode() for each in (located.spec, facts())]
    words = (*sorted(task.passes), task.finetune, task.targets.metric, str(task.targets.max_drop))
    own = origin.code((*task.passes, task.finetune, task.targets.metric))
    folder = cache.folder(
        located.spec, "optimize", origin.sha256(located), *told, data.digest(), *words, *own
    )
    if folder is None:
        return Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="penstock-optimize-")))
    sweep(folder)
    return folder


class Search:
    """Carries out what is decided, one order after another, and writes down what comes of it."""

    def __init__(self, task: Task, journal: Journal, shop: Workshop, watch: Watch) -> None:
        self._task = task
        self._journal = journal
        self._shop = shop
        self._watch = watch

    def run(self, located: Located, budget: float, *, exhaustive: bool) -> Outcome:
        """Until there is nothing left to do, or the budget is used up."""
        began = monotonic()

        def tell(doing: str) -> None:
            known = self._journal.known
            now = monotonic() - began
            trials = tuple(known.trials)
            self._watch(Progress(doing=doing, spent=now, budget=budget, trials=trials, refused=known.refused))

        tell("looking at the model")
        plan = self._plan(budget, exhaustive=exhaustive)
        left = budget - self._journal.seconds
        while order := decide(self._journal.known, plan, left):
            tell(words(order))
            self._carry_out(order, plan, left)
            left = budget - self._journal.seconds
        tell("")
        return self._outcome(located, plan, complete=decide(self._journal.known, plan, inf) is None)

    def _plan(self, budget: float, *, exhaustive: bool) -> Plan:
        """What the search goes by; the original is looked at once."""
        task, journal = self._task, self._journal
        if SOURCE not in journal.known.artefacts:
            began = monotonic()
            looked = self._shop.look(task.source)
            journal.write(Entry("look", artefact=looked, seconds=monotonic() - began))
        baseline = journal.baseline
        if baseline is None:
            began = monotonic()
            baseline = self._shop.usual()
            journal.write(Entry("usual", baseline=baseline, seconds=monotonic() - began))
        return Plan(
            baseline=baseline,
            layouts=origin.layouts(task.spec, len(machine.cores())),
            stages={name: each.stage for name, each in task.passes.items()},
            targets=task.targets,
            budget=budget,
            exhaustive=exhaustive,
        )

    def _carry_out(self, order: Order, plan: Plan, left: float) -> None:
        began = monotonic()
        known = self._journal.known.artefacts
        limits: dict[str, Any] = {}
        self._shop.prepare()  # what is wrong with the original is not the order's fault
        done: Artefact | Trial | Refused
        try:
            if isinstance(order, Make):
                done = self._shop.make(order.label, known[order.parent], order.offer, left)
            else:
                artefact = known[order.candidate.artefact]
                done = self._shop.attempt(artefact, order.candidate, order.depth, plan.baseline)
        except LoadFailed as error:
            if isinstance(order, Try) and order.candidate == plan.baseline:
                raise
            done = Refused(str(error))
            if isinstance(error, Lost):
                limits = {"budget": plan.budget, "memory": self._task.memory}
        self._journal.write(entry(order, done, monotonic() - began, **limits))

    def _outcome(self, located: Located, plan: Plan, *, complete: bool) -> Outcome:
        known = self._journal.known
        declined = {
            f"{name} of {artefact.name}": reason
            for artefact in known.artefacts.values()
            for name, reason in artefact.declined.items()
        }
        return Outcome(
            model=located.name,
            version=located.version,
            digest=origin.sha256(located),
            targets=self._task.targets,
            choice=choose(known, plan),
            baseline=plan.baseline,
            trials=tuple(known.trials),
            artefacts=known.artefacts,
            refused={**declined, **known.refused},
            rows=(self._task.calibration.rows, self._task.judging.rows),
            labelled=self._task.judging.labels is not None,
            seconds=self._journal.seconds,
            complete=complete,
            machine=facts(),
        )


def words(order: Order) -> str:
    """What an order is, for whoever watches."""
    if isinstance(order, Make):
        return f"making {order.label}"
    verb = {"screen": "screening", "full": "measuring", "confirm": "confirming"}[order.depth]
    return f"{verb} {order.candidate.label}"
