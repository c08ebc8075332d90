"""What the machine offered, cost and took, busy or idle: this server's share of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from penstock.metering.charges import Took
from penstock.metering.prometheus.family import counter, gauge
from penstock.metering.prometheus.sums import energy, method, money
from penstock.metering.prometheus.usage import BOUNDS
from penstock.metering.totals import Totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Metered(Protocol):
    """What is read of the meter."""

    @property
    def totals(self) -> Totals: ...
    @property
    def unsaved(self) -> float:
        """Seconds for which the books could not be written."""
        ...


def families(meter: Metered) -> "Iterator[Metric]":
    took = meter.totals.took
    yield counter(
        "machine_cpu_capacity_seconds", "Core-seconds that there were.", (), [((), took.cpu_capacity)]
    )
    gpu = [((), took.gpu_capacity)] if took.gpu_capacity else []
    yield counter("machine_gpu_capacity_seconds", "GPU-seconds that there were.", (), gpu)
    yield counter(
        "machine_cost",
        "Money that the machine cost, busy or idle.",
        ("part", "currency"),
        [((part, took.currency), cost) for part, cost in money(took)],
    )
    yield from _energy(took)
    yield counter(
        "machine_carbon_grams",
        "CO2-equivalents of its energy, and of its making.",
        ("source",),
        [((source,), grams) for source, grams in _carbon(took)],
    )
    yield gauge(
        "meter_unsaved_seconds",
        "Seconds for which the books could not be written; 0 while all is well.",
        (),
        [((), meter.unsaved)],
    )


def _energy(took: Took) -> "Iterator[Metric]":
    for name, help_, bound in BOUNDS:
        yield counter(
            f"machine_{name}",
            f"Energy that the machine took, busy or idle{help_}.",
            ("part", "method"),
            [((part, method(took, part)), getattr(joules, bound)) for part, joules in energy(took)],
        )


def _carbon(took: Took) -> Iterator[tuple[str, float]]:
    if took.grams is not None:
        yield "energy", took.grams
    if took.embodied is not None:
        yield "embodied", took.embodied
