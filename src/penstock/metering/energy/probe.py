"""The seam of energy: a cumulative counter of what a part of the machine has used, where it can tell."""

from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

KWH = 3.6e6
"""Joules."""

Part: TypeAlias = Literal["cpu", "gpu"]
"""Who pays: memory counts with the processors that it serves."""


class Joules(Struct, frozen=True):
    """An amount with the band in which it is taken to lie: ``low`` ≤ ``mid`` ≤ ``high``."""

    low: float = 0.0
    mid: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Joules") -> "Joules":
        return Joules(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __sub__(self, other: "Joules") -> "Joules":
        """Between two readings of one counter."""
        return Joules(self.low - other.low, self.mid - other.mid, self.high - other.high)

    def __mul__(self, factor: float) -> "Joules":
        return Joules(self.low * factor, self.mid * factor, self.high * factor)


class Probe(Protocol):
    """Counts joules; what was used between two readings is their difference.

    Reading takes some microseconds to a millisecond, may block that long, and belongs to one thread.
    """

    part: Part
    method: str
    """``rapl``, ``nvml``, ``zeus`` or ``estimate``."""
    idle_watts: float | None
    """What it takes with nothing to do, where that is known from elsewhere than its own readings."""

    def joules(self) -> Joules | None:
        """Used since some fixed time before the first reading; None where it cannot tell, never 0."""
        ...


class NullProbe:
    """Cannot tell."""

    part: Part = "cpu"
    method = ""
    idle_watts: float | None = None

    def joules(self) -> Joules | None:
        return None
