"""How like the original's answers a candidate's are, row by row, where no labels tell what is right."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from penstock.core.likeness import EXACT, apart, outvoted, probabilities, sized
from penstock.core.tensors import Array
from penstock.optimize.bounds import Floats
from penstock.optimize.samples import Samples, length

SOME = 1 << 22
"""Values that are compared at once."""


class Pair(Struct, frozen=True, eq=False):
    """One output of both, in groups of the same shapes; what is masked, or no number, is 0 in both."""

    name: str
    ours: tuple[Array, ...]
    """The original's."""
    theirs: tuple[Array, ...]


def pairs(reference: Samples, candidate: Samples, inputs: Samples | None) -> tuple[list[Pair], str]:
    """(outputs side by side, what makes them worthless or nothing).

    Raises ValueError where they are not of the same rows.
    """
    if [length(group) for group in reference.groups] != [length(group) for group in candidate.groups]:
        raise ValueError(
            f"answers are of {reference.rows} and {candidate.rows} rows, or not in the same groups"
        )
    found: list[Pair] = []
    for name in reference.groups[0]:
        ours, theirs = [], []
        for at, (left, right) in enumerate(zip(reference.groups, candidate.groups, strict=True)):
            if name not in right or right[name].shape != left[name].shape:
                return [], f"output {name!r} is missing, or of another shape than the original's"
            mask = _mask(inputs.groups[at], left[name]) if inputs else None
            a, b, lost = _cleaned(left[name], right[name], mask)
            if lost:
                return [], f"output {name!r} is no number in {lost} rows in which the original's is"
            ours.append(a)
            theirs.append(b)
        found.append(Pair(name, tuple(ours), tuple(theirs)))
    return found, ""


def _mask(group: Mapping[str, Array], output: Array) -> Array | None:
    """The input, named a mask, that says with 0 and 1 which positions [rows, positions] count."""
    for name, array in group.items():
        fits = "mask" in name.lower() and array.ndim == 2 and array.shape == output.shape[:2]
        if fits and array.dtype.kind in "biu" and bool(((array == 0) | (array == 1)).all()):
            return array.astype(bool)
    return None


def _cleaned(left: Array, right: Array, mask: Array | None) -> tuple[Array, Array, int]:
    """(both with what does not count set to 0, rows in which only the right one is no number)."""
    keep = np.ones(left.shape[:2], bool) if mask is None else mask
    keep = keep.reshape(*keep.shape, *[1] * (left.ndim - keep.ndim))
    if left.dtype.kind in EXACT:
        if mask is None:
            return left, right, 0
        blank = b"" if left.dtype.kind in "OSU" else left.dtype.type(0)
        return np.where(keep, left, blank), np.where(keep, right, blank), 0
    counts = np.isfinite(left) & keep
    lost = counts & ~np.isfinite(right)
    if counts.all() and not lost.any():
        return left, right, 0
    zero = np.zeros((), left.dtype)
    rows = int(lost.reshape(len(left), -1).any(axis=1).sum())
    return np.where(counts, left, zero), np.where(counts, right, zero), rows


# -- which measure ------------------------------------------------------------------------------------


def usual(pair: Pair) -> str:
    """The measure for an output, by its datatype, its shape, and what the original's rows hold."""
    if pair.ours[0].dtype.kind in EXACT:
        return "equal"
    if _single(pair):
        return "relative"
    shares = fits("top1", pair) and all(map(probabilities, pair.ours))
    return "top1" if shares else "cosine"


def fits(measure: str, pair: Pair) -> bool:
    """Whether an output can be measured so."""
    if measure == "equal":
        return True
    if pair.ours[0].dtype.kind in EXACT:
        return False
    columns = all(array.ndim == 2 and array.shape[1] > 1 for array in pair.ours)
    return {"top1": columns, "ranking": columns or _single(pair)}.get(measure, True)


def _single(pair: Pair) -> bool:
    return all(sized(array) == 1 for array in pair.ours)


# -- what each row lost -------------------------------------------------------------------------------


def losses(measure: str, pair: Pair) -> Floats:
    """[rows] of 0 where nothing was lost; rows in the order of the groups."""
    if measure == "ranking" and _single(pair):
        ours, theirs = (np.concatenate(side).reshape(1, -1) for side in (pair.ours, pair.theirs))
        return np.asarray(_displaced(ours, theirs)[0])
    scale = _scale(pair) if measure == "relative" else 1.0
    parts = [
        _row_losses(measure, ours[at : at + some], theirs[at : at + some], scale)
        for ours, theirs in zip(pair.ours, pair.theirs, strict=True)
        for some in [max(1, SOME * len(ours) // max(1, ours.size))]
        for at in range(0, len(ours), some)
    ]
    return np.concatenate(parts)


def _row_losses(measure: str, ours: Array, theirs: Array, scale: float) -> Floats:
    left, right = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    if measure == "equal":
        return np.asarray((left != right).any(axis=1), dtype=np.float64)
    a, b = left.astype(np.float64), right.astype(np.float64)
    if measure == "top1":
        return outvoted(a, b).astype(np.float64)
    if measure == "relative":
        return np.asarray(np.abs(a - b).mean(axis=1) / scale)
    if measure == "ranking":
        return np.asarray(_displaced(a, b).mean(axis=1))
    return apart(a, b)


def _displaced(a: Array, b: Array) -> Floats:
    """How far each value moved in its row's order, so that the mean is Spearman's footrule.

    0 is the same order, 1 on average one at random (Diaconis and Graham 1977, JRSS B 39:262).
    """
    places = [np.argsort(np.argsort(each, axis=1, kind="stable"), axis=1) for each in (a, b)]
    n = a.shape[1]
    return np.asarray(np.abs(places[0] - places[1]) * (3.0 * n / max(1, n * n - 1)))


def _scale(pair: Pair) -> float:
    """The original's standard deviation, or what its middle half tells of it if that is less.

    So values near 0 do no harm, and a few huge ones do not hide the errors of all others.
    """
    every = np.concatenate([array.astype(np.float64).ravel() for array in pair.ours])
    low, high = np.quantile(every, [0.25, 0.75])
    found = [spread for spread in (float(every.std()), float(high - low) / 1.349) if spread > 0]
    return min(found) if found else float(np.abs(every).max()) or 1.0
