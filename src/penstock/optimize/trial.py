"""One trial: a candidate loaded in processes of its own, its answers judged and its speed measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.metering.energy.probe import Probe
from penstock.optimize.accuracy import check, judge
from penstock.optimize.checks import same
from penstock.optimize.entrant import PATIENCE, Entrant, cut_to
from penstock.optimize.measure import CONFIRM, FULL, SCREEN, compare, figures
from penstock.optimize.origin import SOURCE
from penstock.optimize.rig import Lost, Memo
from penstock.optimize.samples import Samples
from penstock.optimize.types import Agreement, Artefact, Candidate, Depth, Targets, Trial

ROUNDS = {"screen": SCREEN, "full": FULL, "confirm": CONFIRM}
GLANCE = 1.0
"""Seconds of answers by which a candidate is screened; all samples judge it later."""
FEW = 32
"""Rows that are run alone and again, to see whether that changes them."""
SLOWEST = 30
"""Times as long as the original a candidate may take to answer; one that hangs is ended then."""
TOGETHER = 8
"""Rows of a batch in which answers are compared."""


class Reference(Struct, frozen=True, eq=False):
    """The original as the judge of all others."""

    signature: Signature
    samples: Samples
    """Those that judge, with their labels."""
    answers: Samples
    unit: int
    """The least rows of a batch; 0: rows have to be run alone."""
    seconds: float
    """That all answers took."""
    doubt: str = ""
    """Of the labels, see ``Agreement``."""


class Bench(Struct, frozen=True, eq=False):
    """What all trials of a search share."""

    spec: ModelSpec
    targets: Targets
    samples: Memo
    """Those that judge, as children read them."""
    scratch: Path
    memory: int
    """Bytes that one child may hold."""
    probe: Probe

    @contextmanager
    def entrant(self, artefact: Artefact, candidate: Candidate) -> Iterator[Entrant]:
        """Loaded for as long as the block lasts."""
        made = Entrant(self.spec, artefact, candidate, self.samples, self.scratch, self.memory)
        try:
            yield made
        finally:
            made.close()


def attempt(
    bench: Bench,
    reference: Reference,
    baseline: Entrant,
    artefact: Artefact,
    candidate: Candidate,
    depth: Depth,
) -> Trial:
    """Judge and measure; blocks, and raises LoadFailed with the reason where it cannot be run."""
    began = perf_counter()
    with bench.entrant(artefact, candidate) as entrant:
        _check_signature(reference.signature, entrant.signature)
        entrant.patience = max(PATIENCE, SLOWEST * reference.seconds)
        batched, repeats = _steady(entrant, reference)
        agreement = _judged(bench, reference, baseline, entrant, depth, batched=batched)
        if reference.unit == 1 and not batched:  # those of one request run together all the same
            together = _judged(bench, reference, baseline, entrant, depth, batched=True)
            agreement = max(agreement, together, key=lambda each: (not each.passed, each.upper))
        entrant.alone = not batched
        courses = compare(baseline, entrant, ROUNDS[depth], reference.unit, bench.probe)
        return Trial(
            candidate=candidate,
            depth=depth,
            figures=figures(*courses, entrant.load_s, entrant.memory, artefact.bytes),
            agreement=replace(agreement, doubt=reference.doubt),
            batched=batched,
            repeats=repeats,
            device=entrant.device,
            seconds=perf_counter() - began,
        )


def refer(entrant: Entrant, samples: Samples, metric: str = "") -> Reference:
    """What the original answers; raises LoadFailed where it cannot be run on the samples.

    Raises BadSetting where the labels do not fit its answers.
    """
    unit = least(entrant, samples)
    began = perf_counter()
    answers, _ = entrant.answers(TOGETHER if unit == 1 else max(unit, 1))
    took = perf_counter() - began
    doubt = check(answers, samples.labels, metric)
    return Reference(entrant.signature, samples, answers, unit, took, doubt)


def least(entrant: Entrant, samples: Samples) -> int:
    """The least rows of a batch: 1, what axis 0 is fixed to, or 0 where rows have to be run alone."""
    inputs = entrant.signature.inputs
    if any(not spec.shape for spec in inputs):
        raise LoadFailed("an input has no axes; what can be measured has rows on axis 0 of every input")
    unit = fixed(entrant.signature)
    return 0 if unit == 1 and _mates(entrant, samples) else unit


def fixed(signature: Signature) -> int:
    """The least rows of a batch, by the signature: 1, or what axis 0 is fixed to."""
    return max([1, *(spec.shape[0] for spec in signature.inputs if spec.shape)])


def _mates(entrant: Entrant, samples: Samples) -> str:
    """How a row's answer changes with the rows beside it; empty where it does not."""
    most = _few(samples)
    try:
        return same(entrant.answers(1, most)[0], entrant.answers(TOGETHER, most)[0])
    except Lost:
        raise
    except LoadFailed as error:
        return str(error)


def _steady(entrant: Entrant, reference: Reference) -> tuple[bool, bool]:
    """(rows may be batched, the same rows give the same answers)."""
    rows, most = max(reference.unit, 1), _few(reference.samples)
    repeats = not same(entrant.answers(rows, most)[0], entrant.answers(rows, most)[0])
    if reference.unit != 1 or entrant.alone:
        return reference.unit > 1, repeats
    return not _mates(entrant, reference.samples), repeats


def _few(samples: Samples) -> int:
    """Of each group."""
    return max(2, FEW // len(samples.groups))


def _judged(
    bench: Bench,
    reference: Reference,
    baseline: Entrant,
    entrant: Entrant,
    depth: Depth,
    *,
    batched: bool,
) -> Agreement:
    rows = reference.unit if reference.unit > 1 else TOGETHER if batched else 1
    answers, counts = entrant.answers(rows, seconds=GLANCE if depth == "screen" else 0.0)
    inputs = cut_to(reference.samples, counts)
    outputs = cut_to(reference.answers, counts)
    targets = bench.targets
    try:
        verdict = judge(outputs, answers, inputs.labels, targets.metric, targets.max_drop, inputs)
    except (BadSetting, ValueError) as error:
        if entrant.candidate.artefact == SOURCE:
            raise  # it is the data or the metric
        raise LoadFailed(f"its answers cannot be judged: {error}") from error
    alike = _same_model(baseline.candidate, entrant.candidate) and not same(outputs, answers)
    if alike and verdict.drop <= targets.max_drop:
        return replace(verdict, upper=verdict.drop, passed=True, why="")
    return verdict


def _same_model(left: Candidate, right: Candidate) -> bool:
    """The same file on the same engine, only laid out otherwise: nothing that samples would have to prove."""
    return (left.artefact, left.engine) == (right.artefact, right.engine)


# -- the same model from outside? -------------------------------------------------------------------


def _check_signature(original: Signature, found: Signature) -> None:
    """Raises LoadFailed unless whoever asks the original can ask this as well."""
    for role, left, right in (
        ("input", original.inputs, found.inputs),
        ("output", original.outputs, found.outputs),
    ):
        there = {spec.name: spec for spec in right}
        for spec in left:
            other = there.get(spec.name)
            if other is None or not _fits(spec, other, loose=role == "output"):
                has = (
                    f"{other.datatype} {list(other.shape)}"
                    if other
                    else f"missing; it has {', '.join(there)}"
                )
                raise LoadFailed(
                    f"{role} {spec.name!r}, {spec.datatype} {list(spec.shape)} in the original, is {has}"
                )
    extra = {spec.name for spec in found.inputs} - {spec.name for spec in original.inputs}
    if extra:
        raise LoadFailed(f"it wants an input that the original has not: {', '.join(sorted(extra))}")


def _fits(spec: TensorSpec, other: TensorSpec, *, loose: bool) -> bool:
    """Sizes that the original leaves open have to stay so, but for outputs, of which less may be known."""
    if spec.datatype != other.datatype:
        return False
    if not spec.shape or not other.shape:  # not told
        return True
    pairs = zip(spec.shape, other.shape, strict=False)
    return len(spec.shape) == len(other.shape) and all(
        a == b or b == -1 or (loose and a == -1) for a, b in pairs
    )
