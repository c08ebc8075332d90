"""The shapes for which TensorRT builds an ONNX model's engine."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from penstock.core.errors import BadSetting
from penstock.core.spec import Signature

Profiles: TypeAlias = Mapping[str, Mapping[Any, Sequence[int]]]
"""Shapes ``min``, ``opt`` and ``max`` by input."""


def profile_options(profiles: Profiles) -> dict[str, str]:
    """As TensorRT's provider takes them: ``x:1x3x224x224,y:1x8``; sizes that are missing are the next
    larger there is, and ``max`` is ``opt`` or ``min``.

    Raises BadSetting where a profile is empty, or its shapes differ in length or order.
    """
    full = {name: _complete(name, profile) for name, profile in profiles.items()}
    return {
        f"trt_profile_{which}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, shapes[at]))}" for name, shapes in full.items()
        )
        for at, which in enumerate(("min", "opt", "max") if full else ())
    }


def _complete(name: str, profile: Mapping[Any, Sequence[int]]) -> list[tuple[int, ...]]:
    given = [tuple(profile[which]) for which in ("min", "opt", "max") if which in profile]
    if not given:
        raise BadSetting(f"onnx.profiles.{name} is empty; give min, opt and max as shapes, e.g. [1, 3, 8, 8]")
    least, most = tuple(profile.get("min", given[0])), given[-1]
    opt = tuple(profile.get("opt", most))
    if not len(least) == len(opt) == len(most) or any(
        not a <= b <= c for a, b, c in zip(least, opt, most, strict=True)
    ):
        raise BadSetting(
            f"onnx.profiles.{name}: min, opt and max must have as many sizes and grow, got {given}"
        )
    return [least, opt, most]


def batch_profiles(signature: Signature, rows: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Profiles from one to ``rows`` rows, where axis 0 is all that varies; else none."""
    dynamic = [spec for spec in signature.inputs if -1 in spec.shape]
    if any(-1 in spec.shape[1:] for spec in dynamic):
        return {}
    return {
        spec.name: {
            "min": (1, *spec.shape[1:]),
            "opt": (rows, *spec.shape[1:]),
            "max": (rows, *spec.shape[1:]),
        }
        for spec in dynamic
    }
