"""How many instances models have and should have, and what was expected of their traffic."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.metering.prometheus.family import gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Scaled(Protocol):
    """One model; ``scaling.words.Standing`` is one."""

    @property
    def model(self) -> str: ...
    @property
    def fixed(self) -> str: ...
    @property
    def ready(self) -> int: ...
    @property
    def starting(self) -> int: ...
    @property
    def wanted(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def forecast(self) -> float: ...
    @property
    def carries(self) -> float | None: ...
    @property
    def startup_s(self) -> float: ...


MODEL = ("model",)
LOOP = 25_000.0
"""Requests a second that the event loop of one server carries at the least, whatever its models do."""


def families(standings: Sequence[Scaled]) -> "Iterator[Metric]":
    """Of one instance's capacity for every model, of decisions for those whose number moves."""
    moving = [each for each in standings if not each.fixed]

    def each_of(
        found: Sequence[Scaled], value: Callable[[Scaled], float | None]
    ) -> list[tuple[tuple[str], float]]:
        return [((each.model,), told) for each in found if (told := value(each)) is not None]

    yield gauge(
        "instance_carries",
        "Rows a second that one instance carries within its target.",
        MODEL,
        each_of(standings, lambda each: each.carries),
    )
    yield gauge(
        "replica_carries",
        "Rows a second that all instances of this server carry within the target, and its event loop.",
        MODEL,
        each_of(standings, _whole),
    )
    yield gauge(
        "startup_seconds",
        "What an instance takes to load and warm up, in 19 cases of 20.",
        MODEL,
        each_of(standings, lambda each: each.startup_s or None),
    )
    yield gauge(
        "instances_wanted", "As it was decided last.", MODEL, each_of(moving, lambda each: each.wanted)
    )
    yield gauge("instances_ready", "Those that answer.", MODEL, each_of(moving, lambda each: each.ready))
    yield gauge(
        "instances_starting", "Those on their way.", MODEL, each_of(moving, lambda each: each.starting)
    )
    yield gauge(
        "request_rate", "Rows a second that come now.", MODEL, each_of(moving, lambda each: each.rate)
    )
    yield gauge(
        "request_rate_forecast",
        "Rows a second, the highest expected until an instance begun now would answer.",
        MODEL,
        each_of(moving, lambda each: each.forecast),
    )


def _whole(each: Scaled) -> float | None:
    """Of all instances, but not more than the loop lets through, a row a request."""
    return None if each.carries is None else min(LOOP, each.carries * max(each.ready, 1))
