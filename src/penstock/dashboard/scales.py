"""The page's few figures of each model whose number of instances moves."""

from collections.abc import Sequence

from penstock.dashboard.words import ZERO, Scale
from penstock.scaling.words import Standing


def scales(standings: Sequence[Standing]) -> tuple[Scale, ...]:
    """In their order."""
    return tuple(
        Scale(
            model=one.model,
            version=one.version,
            ready=one.ready,
            wanted=one.wanted,
            by=one.by,
            rate=_brief(one.rate),
            forecast=_brief(one.forecast),
            capacity=_brief(one.ready * (one.carries or 0.0)),
        )
        for one in standings
    )


def _brief(rate: float) -> float:
    return round(rate, 2) or ZERO
