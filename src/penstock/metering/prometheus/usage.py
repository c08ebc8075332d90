"""What each version's queries used, and what that cost and took at the margin: the busy time alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from penstock.metering.prometheus.family import VERSION, Samples, counter
from penstock.metering.prometheus.sums import NOTHING, Sum, known, method, summed
from penstock.metering.totals import Totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Key: TypeAlias = tuple[str, str]


def families(totals: Totals, versions: Sequence[Key]) -> "Iterator[Metric]":
    """Of those versions alone, so that thousands of reloads do not make the output grow.

    One that has used nothing yet has 0, for ``increase`` does not count what a series begins with.
    """
    found = summed(totals.used.values(), lambda payer: (payer.model, payer.version))
    sums = {key: found.get(key, NOTHING) for key in versions}
    yield from _counted(sums, gpu=totals.took.gpu_capacity > 0)
    yield counter(
        "cost",
        "Money for the time that its queries kept the machine busy; what was idle is not in it.",
        (*VERSION, "part", "currency"),
        _money(sums, totals),
    )
    yield from _energy(sums, totals)


def _counted(sums: Mapping[Key, Sum], *, gpu: bool) -> "Iterator[Metric]":
    table: list[tuple[str, str, Callable[[Sum], float]]] = [
        ("queries", "Queries that were answered and charged.", lambda used: used.queries),
        ("cpu_seconds", "Core-seconds that were charged.", lambda used: used.cpu),
        ("received_bytes", "Bytes of request bodies, over the wire.", lambda used: used.received),
        ("sent_bytes", "Bytes of answers' bodies, over the wire.", lambda used: used.sent),
    ]
    for name, help_, value in table:
        yield counter(name, help_, VERSION, [(key, value(used)) for key, used in sums.items()])
    busy = [(key, used.gpu) for key, used in sums.items()] if gpu else []
    yield counter("gpu_seconds", "GPU-seconds that were charged.", VERSION, busy)


def _money(sums: Mapping[Key, Sum], totals: Totals) -> Samples:
    for part, _ in known(totals.took, "money"):
        for key, used in sums.items():
            yield (*key, part, totals.took.currency), used.money.get(part) or 0.0


def _energy(sums: Mapping[Key, Sum], totals: Totals) -> "Iterator[Metric]":
    took, how = totals.took, method(totals.took)
    labels = (*VERSION, "part", "method")
    parts = [part for part, _ in known(took, "joules")]
    rows = [((*key, part, how), used.joules.get(part)) for part in parts for key, used in sums.items()]
    for name, help_, bound in BOUNDS:
        values = [(labels_, getattr(joules, bound) if joules else 0.0) for labels_, joules in rows]
        yield counter(
            name, f"Energy for the time that its queries kept the machine busy{help_}.", labels, values
        )


BOUNDS = (
    ("energy_joules", "", "mid"),
    ("energy_low_joules", ": no less than this", "low"),
    ("energy_high_joules", ": no more than this", "high"),
)
"""Family, how its help goes on, and the attribute of ``Joules``."""
