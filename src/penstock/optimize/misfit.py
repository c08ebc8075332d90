"""Labels that do not fit the original's answers: what is refused, and what is only said aloud.

Against labels that say nothing of the answers, no drop can be seen, and garbage would pass.
"""

from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from penstock.core.tensors import Array
from penstock.optimize import metrics
from penstock.optimize.bounds import Z

ENOUGH = 100
"""Rows from which an original that seems to guess is refused; with fewer it may be bad luck."""
FAR = 2.0
"""Times the error of a constant, from which labels are in another unit, whatever they go along with."""
CLOSE = 0.95
"""Of the error of a constant, from which an original's is worth a word."""
REMEDY = "give each row its own label, or judge by the original's answers with --metric"


class Misfit(NamedTuple):
    """At most one of the two is there."""

    error: str = ""
    doubt: str = ""


def of_classes(told: Array, labels: Array) -> Misfit:
    """Of what the original told for each row, and the labels; both [rows]."""
    right, said = metrics.codes(labels, told)
    if (said < 0).all():
        return Misfit(
            f"no label is ever told: labels are {_some(labels)}, answers are {_some(told)}; give labels as "
            "the output tells them, or judge by the original's answers with --metric top1 or equal"
        )
    rows, accuracy = len(right), float((right == said).mean())
    shares = np.bincount(right) / rows
    most = float(shares.max())
    if len(shares) == 1:  # nothing says whether they are of these rows
        words = f"all labels are {_some(labels)}, but the original says so in {accuracy:.0%} of the rows only"
        return Misfit(doubt=words if accuracy < 0.5 else "")
    if accuracy > most:
        return Misfit()
    chance = float((shares * [(said == at).mean() for at in range(len(shares))]).sum())
    guesses = accuracy - chance < Z * sqrt(chance * (1 - chance) / rows)
    words = (
        f"the original is right on {accuracy:.1%} of {rows} rows; one answer for all would be on {most:.1%}"
    )
    if guesses and rows >= ENOUGH and len(np.unique(said)) > 1:
        return Misfit(
            f"{words}, and guessing on {chance:.1%}: labels seem to be of other rows; {_remedy('top1')}"
        )
    return Misfit(doubt=f"{words}, so accuracy tells little; --metric f1 tells more of the rare classes")


def of_scores(told: Array, labels: Array) -> Misfit:
    """Of the original's scores for the greater one of two labels; both [rows]."""
    low, high = np.unique(labels)
    positive = labels.reshape(-1) == high
    area = float(metrics.auc(told, positive.astype(int), np.ones((1, len(told))))[0])
    there, others = int(positive.sum()), int((~positive).sum())
    words = (
        f"auc of the original is {area:.3g}: rows labelled {high} score no higher than those labelled {low}"
    )
    if area <= 0.5 and len(told) >= ENOUGH:
        return Misfit(
            f"{words}; the labels seem to be of other rows, or the other way round; {_remedy('relative')}"
        )
    guesses = area - 0.5 < Z * sqrt((there + others + 1) / (12 * there * others))
    return Misfit(doubt=f"{words}, or no more than by chance" if guesses else "")


def of_values(told: Array, labels: Array, metric: str) -> Misfit:
    """Of the numbers that the original told, and the right ones; both [rows, numbers]."""
    right = labels.reshape(len(labels), -1).astype(np.float64)
    if not right.std():
        return Misfit()
    centre = np.median(right, axis=0) if metric == "mae" else right.mean(axis=0)
    power = 1 if metric == "mae" else 2
    errors, usual = (float((abs(each - right) ** power).mean() ** (1 / power)) for each in (told, centre))
    ratio = errors / usual
    if ratio < CLOSE:
        return Misfit()
    together = float(np.corrcoef(told.ravel(), right.ravel())[0, 1]) if told.std() else 0.0
    apart = together * sqrt(len(right)) < Z
    words = f"the original is off by {errors:.3g}, and one number for all rows would be by {usual:.3g}"
    if ratio >= 1 and len(right) >= ENOUGH and (apart or ratio >= FAR):
        why = "of other rows" if apart else "in another unit"
        return Misfit(f"{words}: labels seem to be {why}; {_remedy('relative')}")
    return Misfit(doubt=f"{words}, so {metric} tells little of the answers")


def _remedy(metric: str) -> str:
    return f"{REMEDY} {metric}"


def _some(values: Array) -> str:
    """A few of them, to be told apart."""
    flat: list[Any] = [
        each.decode(errors="replace") if isinstance(each, bytes) else each
        for each in values.ravel()[:1000].tolist()
    ]
    few = sorted(set(flat), key=str)
    return ", ".join(map(repr, few[:3])) + (" …" if len(few) > 3 else "")
