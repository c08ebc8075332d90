"""The page's line for each version: what it is, what became of its requests, what they cost."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.types import ModelState
from penstock.dashboard.dues import Dues, Share
from penstock.dashboard.reel import Numbers, Shot
from penstock.dashboard.words import ZERO, Model
from penstock.metering.histogram import ROWS

Key: TypeAlias = tuple[str, str]
"""Model and version."""
Errors: TypeAlias = dict[Key, dict[str, int]]
"""By reason; those of no version in particular under the empty one."""

BOUNDS = (*(int(bound) for bound in ROWS.bounds), 2 * int(ROWS.bounds[-1]))
"""Of batch sizes; the last stands for all that are larger."""


class Line(Struct, frozen=True, kw_only=True):
    """What became of one version's requests."""

    requests: int = 0
    rate: float = 0.0
    failed: float = 0.0
    ran: float = 0.0
    """Seconds of its instances for each second."""
    quantiles_ms: tuple[float | None, ...] = (None, None, None)
    batch: float | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    queue: int = 0


NOTHING = Line()


def lines(shot: Shot, numbers: Numbers) -> dict[Key, Line]:
    """The numbers of each book as plain ones."""
    columns = zip(
        shot.books,
        numbers.requests.tolist(),
        np.round(numbers.answered, 2).tolist(),
        np.round(numbers.failed, 2).tolist(),
        numbers.busy.tolist(),
        np.round(numbers.quantiles_ms, 3).tolist(),
        np.round(numbers.batch, 2).tolist(),
        _sizes(numbers),
        strict=True,
    )
    return {
        (book.model, book.version): Line(
            requests=requests,
            rate=rate,
            failed=failed,
            ran=ran,
            quantiles_ms=tuple(map(_known, quantiles)),
            batch=_known(batch),
            sizes=sizes,
            queue=book.waiting(),
        )
        for book, requests, rate, failed, ran, quantiles, batch, sizes in columns
    }


def _known(value: float) -> float | None:
    return value if value == value else None  # NaN is not itself


def _sizes(numbers: Numbers) -> list[tuple[tuple[int, int], ...]]:
    found: list[tuple[tuple[int, int], ...]] = [()] * len(numbers.sizes)
    for at in np.flatnonzero(numbers.sizes.any(axis=1)).tolist():
        counts = numbers.sizes[at].tolist()
        found[at] = tuple((bound, count) for bound, count in zip(BOUNDS, counts, strict=True) if count > 0)
    return found


def rows(
    states: Sequence[ModelState], lines: Mapping[Key, Line], errors: Errors, owed: Dues
) -> tuple[Model, ...]:
    """In the order of states; errors of no version in particular are the live one's."""
    return tuple(
        _row(
            state,
            lines.get((state.name, state.version), NOTHING),
            _errors(state, errors),
            owed.versions.get((state.name, state.version), Share()),
            owed.energy.method,
        )
        for state in states
    )


def _errors(state: ModelState, errors: Errors) -> dict[str, int]:
    mine = errors.get((state.name, state.version), {})
    others = errors.get((state.name, ""), {}) if state.live and state.version else {}
    if not others:
        return mine
    return {reason: mine.get(reason, 0) + others.get(reason, 0) for reason in {**mine, **others}}


def _row(state: ModelState, line: Line, errors: dict[str, int], share: Share, method: str) -> Model:
    p50, p95, p99 = line.quantiles_ms
    return Model(
        name=state.name,
        version=state.version,
        state=state.state,
        live=state.live,
        reason=state.reason,
        platform=state.platform,
        device=state.device,
        isolation=state.isolation,
        instances=state.instances,
        threads=state.threads,
        restarts=state.restarts,
        batched=state.batched,
        batch_cap=state.batch_cap,
        memory_bytes=state.memory_bytes,
        run_ms=round(state.run_ms, 4) or ZERO,
        rate=line.rate or ZERO,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        target_p99_ms=state.spec.target.p99_ms or None,
        batch=line.batch,
        batches=line.sizes,
        queue=line.queue,
        busy=round(min(1.0, line.ran / state.instances), 4) if state.instances else None,
        errors=errors,
        error_rate=line.failed or ZERO,
        requests=line.requests,
        cost_per_1000=share.money,
        joules_per_1000=share.joules,
        method=method if share.joules is not None else "",
    )
