"""Metrics of answers against labels: which output each looks at, and its value for weighted rows."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Literal, TypeAlias

import numpy as np

from penstock.core.errors import BadSetting, one_line
from penstock.core.importing import find
from penstock.core.likeness import EXACT, scored, sized, tells
from penstock.core.tensors import Array, as_bytes
from penstock.optimize.bounds import RESAMPLES, Floats, Weighted

Reads: TypeAlias = Literal["classes", "scores", "values", "likeness"]
"""What a metric needs: a class for each row, a score of the positive one, numbers, or no labels at all."""

METRICS: dict[str, Reads] = {
    "accuracy": "classes",
    "f1": "classes",
    "auc": "scores",
    "mae": "values",
    "rmse": "values",
    "r2": "values",
    "top1": "likeness",
    "equal": "likeness",
    "cosine": "likeness",
    "relative": "likeness",
    "ranking": "likeness",
}
"""By name; a user's own is ``"module:function"``, called with (outputs by name, labels), higher is better.

``f1`` is the mean over the classes among the labels; ``auc`` is for two classes.
``mae`` and ``rmse`` drop by the part by which the error grows; all others by the difference.
"""
Own: TypeAlias = Callable[[Mapping[str, Array], Array], float]
OWN_SECONDS = 10.0
"""That resampling a user's metric may take, roughly."""


def reads(metric: str) -> Reads | None:
    """What a metric needs; None for a user's own. Raises BadSetting for a name that there is not."""
    if metric not in METRICS and ":" not in metric:
        find(metric, dict.fromkeys(METRICS, ""), "metric")
    return METRICS.get(metric)


def usual(outputs: Mapping[str, Array], labels: Array) -> str:
    """The metric for such outputs and labels where none was asked for.

    ``accuracy`` where labels are classes and an output tells some; else ``auc`` for two classes, and
    ``mae`` for numbers.
    """
    if labels.dtype.kind in EXACT or (labels.size and bool((labels == np.round(labels)).all())):
        if sized(labels) == 1 and (tells(outputs) or scored(outputs)):
            return "accuracy"
        if sized(labels) == 1 and len(np.unique(labels)) == 2:
            return "auc"
    return "mae"


# -- which output -------------------------------------------------------------------------------------


def classes(outputs: Mapping[str, Array], labels: Array) -> tuple[str, Callable[[Array], Array]]:
    """(output, how to read it): the one that holds a label for each row, else scores [rows, classes].

    Raises BadSetting where there is none, or the labels are no numbers of such classes.
    """
    told = tells(outputs)
    if told:
        return told, lambda array: array.reshape(len(array))
    name = scored(outputs)
    if not name:
        raise _none("classes: text, integers [rows], or scores [rows, classes]", outputs)
    count = outputs[name].shape[1]
    if labels.dtype.kind in "OSU" or not 0 <= labels.min() <= labels.max() < count:
        raise BadSetting(f"output {name!r} has {count} scores; labels must be the numbers 0 to {count - 1}")
    return name, lambda array: array.argmax(axis=1)


def scores(outputs: Mapping[str, Array], labels: Array) -> tuple[str, Callable[[Array], Array]]:
    """(output, how to read it): a float for each row, or the second of two less the first."""
    if len(np.unique(labels)) != 2:
        raise BadSetting("metric 'auc' is for labels of just two values; for more use 'accuracy' or 'f1'")
    for name, array in outputs.items():
        if array.dtype.kind not in EXACT and sized(array) == 1:
            return name, lambda array: array.reshape(len(array)).astype(np.float64)
        if array.dtype.kind not in EXACT and array.shape[1:] == (2,):
            return name, lambda array: array[:, 1].astype(np.float64) - array[:, 0]
    raise _none("scores of two classes: floats [rows] or [rows, 2]", outputs)


def values(outputs: Mapping[str, Array], labels: Array) -> tuple[str, Callable[[Array], Array]]:
    """(output, how to read it): numbers, as many for a row as the labels have; floats before integers."""
    if labels.dtype.kind in "OSU":
        raise BadSetting("labels are text; errors are of numbers, so use 'accuracy' or 'f1'")
    fit = [
        name
        for name, array in outputs.items()
        if array.dtype.kind not in "OSU" and sized(array) == sized(labels)
    ]
    fit.sort(key=lambda name: outputs[name].dtype.kind in EXACT)
    if not fit:
        raise _none(f"{sized(labels)} numbers a row, as the labels have", outputs)
    return fit[0], lambda array: array.reshape(len(array), -1).astype(np.float64)


def _none(wanted: str, outputs: Mapping[str, Array]) -> BadSetting:
    have = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in outputs.items())
    return BadSetting(f"no output holds {wanted}; have {have or 'none of one shape for all rows'}")


# -- what they are worth ------------------------------------------------------------------------------


def right(told: Array, labels: Array) -> Array:
    """[rows] of booleans; where one side is text, both are compared as text."""
    flat = labels.reshape(len(labels), -1)[:, 0]
    if told.dtype.kind in "OSU" or flat.dtype.kind in "OSU":
        return np.array([_text(a) == _text(b) for a, b in zip(told, flat, strict=True)], dtype=bool)
    return np.asarray(told == flat)


def _text(value: Any) -> bytes:
    return as_bytes(value) if isinstance(value, str | bytes) else str(value).encode()


def codes(labels: Array, *told: Array) -> tuple[Array, ...]:
    """Labels and what was told as numbers of the classes among the labels; -1 for any other."""
    flat = labels.reshape(len(labels), -1)[:, 0]
    if any(array.dtype.kind in "OSU" for array in (flat, *told)):
        flat, *told = [np.array([_text(value) for value in array], dtype="S") for array in (flat, *told)]  # type: ignore[assignment]
    known = np.unique(flat)

    def coded(array: Array) -> Array:
        at = np.searchsorted(known, array).clip(0, len(known) - 1)
        return np.where(known[at] == array, at, -1)

    return tuple(coded(array) for array in (flat, *told))


def f1(told: Array, labels: Array, weights: Floats) -> Floats:
    """Macro-averaged; both as ``codes``. A class that a resample holds nowhere does not count there."""
    known = np.arange(int(labels.max()) + 1)
    is_, said = labels[:, None] == known, told[:, None] == known
    hits = weights @ (is_ & said).astype(np.float64)
    of = weights @ (is_.astype(np.float64) + said)
    with np.errstate(invalid="ignore"):
        each = np.where(of > 0, 2 * hits / of, np.nan)
    return np.asarray(np.nanmean(each, axis=1))


def auc(told: Array, labels: Array, weights: Floats) -> Floats:
    """The chance that a positive row's score is above a negative one's; of ``labels`` 1 is positive."""
    order = np.argsort(told, kind="stable")
    sorted_, positive = told[order], (labels == 1)[order]
    begins = np.flatnonzero(np.append(True, sorted_[1:] != sorted_[:-1]))
    weights = weights[:, order]
    above = np.add.reduceat(weights * positive, begins, axis=1)
    below = np.add.reduceat(weights * ~positive, begins, axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    ahead = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, ahead / pairs, np.nan))


def own(path: str) -> Own:
    """A user's function. Raises BadSetting where it cannot be imported."""
    found: Own = find(path, {}, "metric")
    return found


def weighted(function: Own, name: str) -> Weighted:
    """A user's function for resamples: called with each row as often as it was drawn.

    Raises BadSetting with what it raises on all rows; a resample on which it raises does not count.
    """

    def value(told: Mapping[str, Array], labels: Array, weights: Floats) -> Floats:
        return np.array([one(told, labels, drawn.astype(np.int64)) for drawn in weights])

    def one(told: Mapping[str, Array], labels: Array, drawn: Array) -> float:
        rows = np.repeat(np.arange(len(labels)), drawn)
        try:
            return float(function({key: array[rows] for key, array in told.items()}, labels[rows]))
        except Exception as error:
            if (drawn == 1).all():
                raise BadSetting(
                    f"metric {name!r} failed: {type(error).__name__}: {one_line(error)}"
                ) from error
            return float("nan")

    return value


def affordable(metric: Weighted, told: Any, labels: Array) -> int:
    """Resamples for which there is time: 2000, or fewer for a slow function, but 200 at the least."""
    began = perf_counter()
    metric(told, labels, np.ones((1, len(labels))))
    took = perf_counter() - began
    return next((each for each in (RESAMPLES, 1000, 500) if 2 * took * each <= OWN_SECONDS), 200)
