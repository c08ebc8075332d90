"""What is measured when a session comes up: whether rows batch, what batches cost, where they run."""

from collections.abc import Callable, Sequence
from math import ceil
from statistics import median
from time import perf_counter

import numpy as np
from msgspec import Struct

from penstock.core.errors import InstanceLost, one_line
from penstock.core.ports import Session
from penstock.core.samples import near, powers
from penstock.core.spec import Instances, Isolation, ModelSpec, Signature
from penstock.core.types import Tensors
from penstock.serving.synthesize import find_size, synthesize

Clock = Callable[[], float]
Sample = tuple[int, float]
"""Rows, and the seconds of one run of so many."""

LOOP_ROW = 50e-6
"""Seconds: a thread hop costs 40 µs, so what runs faster than this is faster in the loop."""
LOOP_BATCH = 250e-6
"""Seconds: the longest that the loop may stand still for one batch."""
SURE = 3.0
"""By how much a version has to be quicker, or slower, than these bounds to run elsewhere than the version
that serves: at eight loads of one network a row took 14 to 40 µs."""
SLOW_ROW = 10e-3
"""Seconds: a row that takes longer is spread over threads, one for each of these."""
MAX_ROWS = 64
SWEEP = 2.0
"""Seconds that the measuring of batch sizes may take."""
_TRIALS = 2
_PATIENCE = 1.0  # seconds after which a slow model is not asked twice
_TOGETHER = 3
_WARM_RUNS = 2
_RUNS = 3


class Batchability(Struct, frozen=True):
    """Whether requests may be merged along axis 0, and the sentence that says why not."""

    batched: bool
    reason: str = ""


class Warm(Struct, frozen=True):
    """What the warm-up found; ``run_seconds`` is of one row, 0 when the model could not be run."""

    batched: bool
    reason: str
    samples: list[Sample]
    isolation: Isolation
    run_seconds: float
    size: int | None = None
    """Of the variable axes, with which it was run; None where it could not be."""

    @property
    def sizes(self) -> list[int]:
        """The numbers of rows that were measured, in order."""
        return sorted({rows for rows, _ in self.samples})


def warm(
    session: Session,
    spec: ModelSpec,
    usual: Isolation = "thread",
    budget: float = SWEEP,
    beside: str = "",
) -> Warm:
    """Everything at once; ``usual`` is where the engine wants its sessions to run, ``beside`` where the
    version that serves does.

    Blocks for about ``budget`` seconds at most, plus a few single runs.
    """
    rng = np.random.default_rng(0)
    size, trouble = find_size(session, rng)
    if size is None:
        isolation = choose_isolation([], spec, usual, beside)
        return Warm(False, f"it cannot be run on made-up input: {trouble}", [], isolation, 0.0)
    verdict = verify_batching(session, rng, size)
    samples = sweep(session, rng, size, batched=verdict.batched, budget=budget, max_rows=_most(spec))
    isolation = choose_isolation(samples, spec, usual, beside)
    return Warm(verdict.batched, verdict.reason, samples, isolation, row_seconds(samples), size)


def _most(spec: ModelSpec) -> int:
    if spec.batching.policy == "none":
        return 1
    return spec.batching.max_rows or MAX_ROWS


def row_seconds(samples: Sequence[Sample]) -> float:
    """Median seconds of the smallest batch measured; 0 without samples."""
    least = min((rows for rows, _ in samples), default=0)
    return median([seconds for rows, seconds in samples if rows == least]) if samples else 0.0


# -- may rows be merged? ----------------------------------------------------------------------------


def verify_batching(session: Session, rng: np.random.Generator, size: int = 1) -> Batchability:
    """Runs rows singly and together: batched only if the answers agree row by row."""
    reason = _declared(session.signature)
    if reason:
        return Batchability(False, reason)
    start = perf_counter()
    for trial in range(_TRIALS):
        if trial and perf_counter() - start > _PATIENCE:
            break
        together = synthesize(session.signature, _TOGETHER, rng, size)
        singles = [{name: array[i : i + 1] for name, array in together.items()} for i in range(_TOGETHER)]
        try:
            alone = [session.run(inputs) for inputs in singles]
            whole = session.run(together)
        except InstanceLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a framework raises
            return Batchability(False, f"{_TOGETHER} rows cannot be run together: {one_line(error)}")
        reason = _compare(alone, whole)
        if reason:
            return Batchability(False, reason)
    return Batchability(True)


def _declared(signature: Signature) -> str:
    """Why the declared shapes rule batching out, or nothing."""
    if not signature.inputs:
        return "it has no input"
    for spec in signature.inputs:
        if not spec.shape:
            return f"input {spec.name!r} is a scalar"
        if spec.shape[0] >= 0:
            return f"axis 0 of input {spec.name!r} is fixed to {spec.shape[0]}"
    # An output without axes may be one whose shape the file does not tell: the runs will show.
    for spec in signature.outputs:
        if spec.shape and spec.shape[0] >= 0:
            return f"axis 0 of output {spec.name!r} is fixed to {spec.shape[0]}"
    return ""


def _compare(alone: Sequence[Tensors], whole: Tensors) -> str:
    for name, batch in whole.items():
        parts = [answers[name] for answers in alone]
        if (
            any(not part.ndim or len(part) != 1 for part in parts)
            or not batch.ndim
            or len(batch) != len(parts)
        ):
            shapes = f"{list(parts[0].shape)} for one row and {list(batch.shape)} for {len(parts)}"
            return f"axis 0 of output {name!r} does not follow the rows: {shapes}"
        if any(part.shape[1:] != batch.shape[1:] for part in parts):
            return f"output {name!r} has another shape when rows run together"
        if not near(np.concatenate(parts), batch):
            return f"output {name!r} of a row changes with the rows beside it"
    return ""


# -- what do batches cost? --------------------------------------------------------------------------


def sweep(
    session: Session,
    rng: np.random.Generator,
    size: int = 1,
    *,
    batched: bool = True,
    budget: float = SWEEP,
    max_rows: int = MAX_ROWS,
    clock: Clock = perf_counter,
) -> list[Sample]:
    """Seconds of three runs each at 1, 2, 4 … rows, for as long as the budget (seconds) lasts.

    One row is always measured.
    A size that fails or would outlast the budget ends the sweep, and so does one four times the size
    from which a row hardly gets cheaper.
    """
    end = clock() + budget
    samples: list[Sample] = []
    per_row: dict[int, float] = {}
    last = 0.0
    for rows in powers(max_rows if batched else 1):
        if samples and (clock() + 2 * last * (_WARM_RUNS + _RUNS) > end or rows > 4 * _knee(per_row)):
            break
        inputs = synthesize(session.signature, rows, rng, size)
        try:
            seconds = _measure(session, inputs, end, clock)
        except InstanceLost as lost:
            raise InstanceLost(f"{lost}, running {rows} rows (batching.max_rows bounds them)") from None
        except Exception:  # noqa: BLE001 - e.g. out of memory: smaller batches still serve
            break
        samples.extend((rows, each) for each in seconds)
        last = median(seconds)
        per_row[rows] = last / rows
    return samples


def _knee(per_row: dict[int, float]) -> int:
    """The smallest size whose cost of a row is within 5 % of the best."""
    best = min(per_row.values())
    return min(rows for rows, cost in per_row.items() if cost <= 1.05 * best)


def _measure(session: Session, inputs: Tensors, end: float, clock: Clock) -> list[float]:
    for _ in range(_WARM_RUNS):
        session.run(inputs)
        if clock() > end:
            break
    seconds: list[float] = []
    while not seconds or (len(seconds) < _RUNS and clock() < end):
        start = clock()
        session.run(inputs)
        seconds.append(clock() - start)
    return seconds


# -- where do they run? -----------------------------------------------------------------------------


def choose_isolation(
    samples: Sequence[Sample], spec: ModelSpec, usual: Isolation = "thread", beside: str = ""
) -> Isolation:
    """As the settings say, else as the engine asks for.

    Of what may run in threads, the loop takes models so quick that a thread hop costs more, at every
    batch size measured.
    ``beside``, where the version that serves runs, is kept to unless it is clearly wrong: a hop more or
    less, by the luck of a measurement, would make one of two like versions the slower one.
    """
    if spec.isolation != "auto":
        return spec.isolation
    if usual != "thread" or spec.instances.count > 1 or not samples:
        return usual
    sizes = {rows for rows, _ in samples}
    longest = max(median(s for rows, s in samples if rows == size) for size in sizes)
    sure = {"inline": SURE, "thread": 1 / SURE}.get(beside, 1.0)
    quick = row_seconds(samples) <= LOOP_ROW * sure and longest <= LOOP_BATCH * sure
    return "inline" if quick else "thread"


def choose_layout(
    instances: Instances,
    cores: int,
    row_seconds: float = 0.0,
    *,
    accelerated: bool = False,
    concurrency: int = 0,
) -> tuple[int, int]:
    """(instances, threads of each); what the settings name is kept.

    One thread each and as many instances as cores: the most throughput, and for short runs the
    shortest too, as waking a sleeping pool costs what it saves (figures in docs/guide/onnx.md).
    ``row_seconds``, once measured on one thread, asks for more threads where a row is slow.
    ``accelerated``: the model runs on another device, which one instance keeps busy, or as many as its
    session says (``concurrency``).
    Where the number follows the traffic it is the most that there may be.
    """
    if instances.count and instances.threads:
        return instances.count, instances.threads
    if instances.count:
        return instances.count, max(1, cores // instances.count)
    if accelerated:
        return instances.max or concurrency or 1, instances.threads or 1
    threads = instances.threads or min(cores, max(1, ceil(row_seconds / SLOW_ROW)))
    return instances.max or max(instances.least, cores // threads, 1), threads
