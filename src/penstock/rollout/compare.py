"""Whether two answers to the same input differ beyond what is allowed. Pure."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np

from penstock.core.errors import BadSetting
from penstock.core.importing import find
from penstock.core.likeness import EXACT, apart, outvoted, probabilities, sized
from penstock.core.tensors import Array
from penstock.core.types import Tensors

SCORES = ("logit", "score", "prob", "softmax")
"""Words in the name of an output that holds scores of classes."""
FLOOR = 1e-3
"""Values below it are allowed the error of this one: what is left where larger ones cancel out is noise."""
SMALL = 1 << 16
"""Bytes up to which equal answers are told fastest by their bytes."""

Measure: TypeAlias = Callable[[Array, Array, float], bool]
"""Whether floats [rows, values] differ; what is infinity or NaN in one is the same in the other."""


class Comparison(Protocol):
    """What ``comparison`` gives."""

    def __call__(self, old: Tensors, new: Tensors, /) -> bool:
        """True: they differ beyond what is allowed. A user's own may raise anything."""
        ...


def comparison(how: str, tolerance: float) -> Comparison:
    """By a name in ``COMPARISONS``, or a user's own ``"module:function"``, called with (old, new).

    Answers differ where any row of any output does, and where names, shapes or datatypes do.
    Integers, booleans and text must be equal in all.
    Raises BadSetting.
    """
    if how in COMPARISONS:
        return lambda old, new: _differ(how, tolerance, old, new)
    own = find(how, dict.fromkeys(COMPARISONS, ""), "comparison")
    if not callable(own):
        raise BadSetting(f"comparison {how!r} is no function; it must take (old, new), outputs by name")
    return lambda old, new: bool(own(old, new))


def _differ(how: str, tolerance: float, old: Tensors, new: Tensors) -> bool:
    if old.keys() != new.keys():
        return True
    with np.errstate(all="ignore"):
        return any(_output_differs(how, tolerance, name, ours, new[name]) for name, ours in old.items())


def _output_differs(how: str, tolerance: float, name: str, ours: Array, theirs: Array) -> bool:
    if ours.shape != theirs.shape or not _same_type(ours, theirs):
        return True
    if ours.dtype.kind in "OSU":
        return _texts(ours) != _texts(theirs)
    if ours.nbytes <= SMALL and ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes():
        return False
    if ours.dtype.kind in EXACT:
        return not np.array_equal(ours, theirs)
    if not ours.size:
        return False
    measure = COMPARISONS[how](name, ours, theirs)
    width = ours.shape[-1] if measure is _other_best else sized(ours)
    a, b = (array.reshape(-1, width).astype(np.float64) for array in (ours, theirs))
    if np.isfinite(a.sum() + b.sum()):
        return measure(a, b, tolerance)
    return _odd_differ(a, b) or measure(_plain(a, measure), _plain(b, measure), tolerance)


def _same_type(ours: Array, theirs: Array) -> bool:
    a, b = ours.dtype, theirs.dtype
    return a == b or (a.kind in "OSU" and b.kind in "OSU") or a.newbyteorder("=") == b.newbyteorder("=")


def _texts(array: Array) -> list[bytes]:
    return [
        value if isinstance(value, bytes) else str(value).encode(errors="backslashreplace")
        for value in array.ravel().tolist()
    ]


def _odd_differ(a: Array, b: Array) -> bool:
    """Whether what is no finite number in one is not the same in the other."""
    odd = ~(np.isfinite(a) & np.isfinite(b))
    return not np.array_equal(a[odd], b[odd], equal_nan=True)


def _plain(array: Array, measure: Measure) -> Array:
    """Without NaN, which is never the best class, and without infinities, which hide all else in a row."""
    if measure is _other_best:
        return np.where(np.isnan(array), -np.inf, array)
    return np.where(np.isfinite(array), array, 0.0)


# -- measures -----------------------------------------------------------------------------------------


def _unequal(a: Array, b: Array, tolerance: float) -> bool:
    return not np.array_equal(a, b)


def _far(a: Array, b: Array, tolerance: float) -> bool:
    """By a part of the row's largest value."""
    size = np.maximum(np.abs(a).max(axis=1), np.abs(b).max(axis=1))
    return bool((np.abs(a - b).max(axis=1) > tolerance * np.maximum(size, FLOOR)).any())


def _other_best(a: Array, b: Array, tolerance: float) -> bool:
    return bool((outvoted(a, b) & outvoted(b, a)).any())


def _turned(a: Array, b: Array, tolerance: float) -> bool:
    noise = np.abs(a - b).max(axis=1) <= tolerance * FLOOR
    return bool(((apart(a, b) > tolerance) & ~noise).any())


# -- which measure ------------------------------------------------------------------------------------


def _auto(name: str, ours: Array, theirs: Array) -> Measure:
    if sized(ours) == 1:
        return _far
    if ours.ndim == 2 and (_named(name) or (probabilities(ours) and probabilities(theirs))):
        return _other_best
    return _turned


def _named(name: str) -> bool:
    return any(word in name.lower() for word in SCORES)


def _top1(name: str, ours: Array, theirs: Array) -> Measure:
    """Where there are classes, on the last axis; else as ever."""
    return _other_best if ours.ndim > 1 and ours.shape[-1] > 1 else _auto(name, ours, theirs)


COMPARISONS: dict[str, Callable[[str, Array, Array], Measure]] = {
    "auto": _auto,
    "exact": lambda name, ours, theirs: _unequal,
    "tolerance": lambda name, ours, theirs: _far,
    "top1": _top1,
    "cosine": lambda name, ours, theirs: _turned,
}
"""What measures floats, by the output's name and both answers.

``auto``: top-1 for scores of classes [rows, classes], ``tolerance`` for one number a row, else ``cosine``.
"""
