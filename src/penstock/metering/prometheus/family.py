"""Families of series in few words; a family without a series says only that there could be some."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from penstock.metering.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

VERSION = ("model", "version")

Samples: TypeAlias = Iterable[tuple[Sequence[str], float]]
"""Values of the labels, and the value."""


def counter(name: str, help_: str, labels: Sequence[str], samples: Samples) -> "Metric":
    """``name`` comes without ``_total``."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"penstock_{name}", help_, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge(name: str, help_: str, labels: Sequence[str], samples: Samples) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"penstock_{name}", help_, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def histogram(
    name: str, help_: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], Histogram]]
) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"penstock_{name}", help_, labels=labels)
    for values, one in samples:
        family.add_metric(values, _buckets(one), one.sum)
    return family


def _buckets(one: Histogram) -> list[tuple[str, float]]:
    names = [*map(repr, one.grid.bounds), "+Inf"]
    return list(zip(names, map(float, one.cumulative()), strict=True))
