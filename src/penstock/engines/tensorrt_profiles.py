"""Optimization profiles: between which shapes an engine was built to run."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from penstock.core.errors import InvalidRequest
from penstock.core.spec import Signature
from penstock.core.types import Tensors

Profile: TypeAlias = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""The smallest and the largest shape by input."""


def fitting(profiles: Sequence[Profile], inputs: Tensors) -> int:
    """The first profile that takes all inputs; raises InvalidRequest that names the limits."""
    trouble = ""
    for index, profile in enumerate(profiles):
        outside = [
            name for name, (least, most) in profile.items() if not _between(least, inputs[name].shape, most)
        ]
        if not outside:
            return index
        name = outside[0]
        limits = " to ".join(str(list(shape)) for shape in profile[name])
        trouble += f"{' or ' if trouble else ''}{limits}"
    raise InvalidRequest(f"input {name!r} has shape {list(inputs[name].shape)}; the engine takes {trouble}")


def most_rows(signature: Signature, profiles: Sequence[Profile]) -> int | None:
    """Rows that the widest profile takes; None where axis 0 is fixed or there is none."""
    names = [spec.name for spec in signature.inputs if spec.shape and spec.shape[0] < 0]
    if not names or not profiles:
        return None
    return max(min(profile[name][1][0] for name in names) for profile in profiles)


def _between(least: Sequence[int], shape: Sequence[int], most: Sequence[int]) -> bool:
    return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
