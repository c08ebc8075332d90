"""What each version's queries used, and what that cost and took at the margin: the busy time alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from penstock.core.account import Account, Payer
from penstock.metering.charges import Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.prometheus.family import VERSION, Samples, counter
from penstock.metering.prometheus.sums import energy, method, money
from penstock.metering.totals import Totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Key: TypeAlias = tuple[str, str]
BOUNDS = (
    ("energy_joules", "", "mid"),
    ("energy_low_joules", ": no less than this", "low"),
    ("energy_high_joules", ": no more than this", "high"),
)
"""Family, how its help goes on, and the attribute of ``Joules``."""
NOTHING = Used(Payer("", "", ""), Account())


def families(totals: Totals, versions: Sequence[Key]) -> "Iterator[Metric]":
    """Of those versions alone, so that thousands of reloads do not make the output grow.

    One that has used nothing yet has 0, for ``increase`` does not count what a series begins with.
    """
    used = {key: totals.by_version.get(key, NOTHING) for key in versions}
    yield from _counted(used, gpu=totals.took.gpu_capacity > 0)
    yield counter(
        "cost",
        "Money for the time that its queries kept the machine busy; what was idle is not in it.",
        (*VERSION, "part", "currency"),
        _money(used, totals.took),
    )
    yield from _energy(used, totals.took)


def _counted(used: Mapping[Key, Used], *, gpu: bool) -> "Iterator[Metric]":
    table: list[tuple[str, str, Callable[[Account], float]]] = [
        ("queries", "Queries that were answered and charged.", lambda account: account.queries),
        ("cpu_seconds", "Core-seconds that were charged.", lambda account: account.cpu),
        ("received_bytes", "Bytes of request bodies, over the wire.", lambda account: account.received),
        ("sent_bytes", "Bytes of answers' bodies, over the wire.", lambda account: account.sent),
    ]
    for name, help_, value in table:
        yield counter(name, help_, VERSION, [(key, value(each.account)) for key, each in used.items()])
    busy = [(key, each.account.gpu) for key, each in used.items()] if gpu else []
    yield counter("gpu_seconds", "GPU-seconds that were charged.", VERSION, busy)


def _money(used: Mapping[Key, Used], took: Took) -> Samples:
    parts = [part for part, _ in money(took)]
    for key, each in used.items():
        known = dict(money(each))
        for part in parts:
            yield (*key, part, took.currency), known.get(part, 0.0)


def _energy(used: Mapping[Key, Used], took: Took) -> "Iterator[Metric]":
    parts = [(part, method(took, part)) for part, _ in energy(took)]
    rows = []
    for key, each in used.items():
        known = dict(energy(each))
        rows += [((*key, part, how), known.get(part, Joules())) for part, how in parts]
    for name, help_, bound in BOUNDS:
        yield counter(
            name,
            f"Energy for the time that its queries kept the machine busy{help_}.",
            (*VERSION, "part", "method"),
            [(labels, getattr(joules, bound)) for labels, joules in rows],
        )
