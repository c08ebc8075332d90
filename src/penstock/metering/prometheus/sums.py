"""What is known of a machine and of its users, part by part."""

from typing import TypeAlias

from penstock.metering.charges import Took, Used
from penstock.metering.energy.probe import Joules, Part

Money: TypeAlias = list[tuple[Part, float]]
Energy: TypeAlias = list[tuple[Part, Joules]]


def money(of: Took | Used) -> Money:
    """The parts of which it is known what they cost."""
    found: list[tuple[Part, float | None]] = [("cpu", of.cpu_money), ("gpu", of.gpu_money)]
    return [(part, value) for part, value in found if value is not None]


def energy(of: Took | Used) -> Energy:
    """The parts of which it is known what they took."""
    found: list[tuple[Part, Joules | None]] = [("cpu", of.cpu_joules), ("gpu", of.gpu_joules)]
    return [(part, value) for part, value in found if value is not None]


_OTHERS: dict[Part, frozenset[str]] = {"cpu": frozenset({"nvml"}), "gpu": frozenset({"rapl", "estimate"})}
"""Methods that tell of the other part alone."""


def method(took: Took, part: Part) -> str:
    """How a part's energy was told; several are joined by ``+``, as replies have it."""
    return "+".join(sorted(took.methods - _OTHERS[part]))
