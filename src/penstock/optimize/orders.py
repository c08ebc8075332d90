"""What a search can ask for, what it knows, and what it goes by: values alone."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from penstock.optimize.origin import SOURCE
from penstock.optimize.types import Artefact, Candidate, Depth, Offer, Targets, Trial


class Make(Struct, frozen=True):
    """Apply a pass to an artefact, and find out what can be done to what comes of it."""

    parent: str
    offer: Offer

    @property
    def label(self) -> str:
        return child(self.parent, self.offer)


class Try(Struct, frozen=True):
    """Load a candidate, judge and measure it."""

    candidate: Candidate
    depth: Depth

    @property
    def label(self) -> str:
        return f"{self.depth}: {self.candidate.label}"


Order: TypeAlias = Make | Try


class Known(Struct, frozen=True):
    """All that has been found out."""

    artefacts: Mapping[str, Artefact]
    """By name; the original is ``source``."""
    trials: Sequence[Trial]
    refused: Mapping[str, str]
    """Why an order came to nothing, by its label."""

    def trial(self, order: Try) -> Trial | None:
        return next(
            (each for each in self.trials if (each.candidate, each.depth) == (order.candidate, order.depth)),
            None,
        )

    def done(self, order: Order) -> bool:
        if order.label in self.refused:
            return True
        return order.label in self.artefacts if isinstance(order, Make) else self.trial(order) is not None

    def at(self, depth: Depth) -> list[Trial]:
        return [each for each in self.trials if each.depth == depth]


class Plan(Struct, frozen=True, kw_only=True):
    """What does not change in a search."""

    baseline: Candidate
    """The original as the server would run it."""
    layouts: tuple[tuple[int, int], ...]
    """(instances, threads) to choose from."""
    stages: Mapping[str, str]
    """Stage by name of a pass."""
    targets: Targets = Targets()
    budget: float = 900.0
    """Seconds for all of it."""
    exhaustive: bool = False
    """Measure everything fully, which is what a search is compared with."""


def child(parent: str, offer: Offer) -> str:
    """The name of what a pass makes of an artefact."""
    return offer.label if parent == SOURCE else f"{parent}+{offer.label}"
