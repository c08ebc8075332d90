"""Whether answers stayed good: the drop of a metric with its bound, by labels or by the original's answers.

============================  ========================================  =================================
what there is                 metric, where none is asked for           drop; its bound
============================  ========================================  =================================
labels, an output of classes  ``accuracy``; also ``f1``                 difference; Tango's, f1: resampling
labels of two values, scores  ``auc``                                   difference; resampling
labels, numbers               ``mae``; also ``rmse``, ``r2``            the error's growth, r2: difference;
                                                                        of a mean
labels, whatever              ``"module:function"``, higher is better   difference; resampling
integers, booleans, text      ``equal``: all of a row's values are      share of rows that differ; Tango's
floats [rows], [rows, 1]      ``relative``: error over the original's   mean; of a mean
                              standard deviation
floats [rows, classes] ≥ 0    ``top1``: the best class is one of the    share of rows that differ; Tango's
that sum to 1                 original's best
other floats                  ``cosine``: 1 - cosine of the row, and    mean; of a mean
                              more where lengths differ
floats [rows, columns],       ``ranking``, on demand: Spearman's        mean; of a mean
or [rows]                     footrule of columns, or of rows
============================  ========================================  =================================

Bounds are in ``bounds``: ``drop_of_proportions``, ``paired_bootstrap``, ``upper_mean``.
Without labels every output must pass, each by its own measure.
"""

from collections.abc import Mapping
from math import isfinite, sqrt

import numpy as np

from penstock.core.errors import BadSetting
from penstock.core.tensors import Array
from penstock.optimize import bounds, likeness, metrics, misfit
from penstock.optimize.likeness import Pair
from penstock.optimize.samples import Samples
from penstock.optimize.types import Agreement

SHARES = ("accuracy", "equal", "top1")
"""Metrics that count rows, for which it can be said how many would do."""
FINITE = "finite"
"""What an agreement is about where answers are no numbers; no floor lets those pass."""
NO_BOUND = "is no number on all rows, or on most resamples of them, so the drop has no bound"
FLAT = 0.01
"""Of the labels' standard deviation: an error below is none, so that nothing is divided by it."""


def judge(
    reference: Samples,
    candidate: Samples,
    labels: Array | None = None,
    metric: str = "",
    max_drop: float = 0.01,
    inputs: Samples | None = None,
) -> Agreement:
    """Compare outputs of the same rows in the same groups, ``reference`` the original's.

    ``inputs`` are what both answered, for the mask among them: what it hides does not count.
    Raises BadSetting where the metric does not fit the labels or outputs, ValueError where rows do not.
    """
    if metric:
        needs = metrics.reads(metric)
        if labels is None and needs != "likeness":
            raise BadSetting(f"metric {metric!r} needs labels; give them, or use top1, equal or cosine")
    if labels is not None and len(labels) != reference.rows:
        raise ValueError(f"{len(labels)} labels for {reference.rows} rows")
    found, broken = likeness.pairs(reference, candidate, inputs)
    if broken:
        return _worthless(broken, max_drop, reference.rows)
    if labels is None or metrics.METRICS.get(metric) == "likeness":
        return _by_likeness(found, metric, max_drop)
    return _by_labels(found, labels, metric, max_drop)


def check(reference: Samples, labels: Array | None, metric: str = "") -> str:
    """What is to be said of labels by which the original is hardly right; empty where they fit.

    Raises BadSetting where they do not fit its answers, so that they could not tell good from bad.
    """
    if labels is None or metrics.METRICS.get(metric) == "likeness" or len(labels) != reference.rows:
        return ""
    ours, _ = _joined(likeness.pairs(reference, reference, None)[0])
    metric = metric or metrics.usual(ours, labels)
    needs = metrics.METRICS.get(metric)
    if needs is None:
        return ""
    name, read = {"classes": metrics.classes, "scores": metrics.scores}.get(needs, metrics.values)(
        ours, labels
    )
    told = read(ours[name])
    if needs == "classes":
        found = misfit.of_classes(told, labels)
    elif needs == "scores":
        found = misfit.of_scores(told, labels)
    else:
        found = misfit.of_values(told, labels, metric)
    if found.error:
        raise BadSetting(found.error)
    return found.doubt


# -- against the original's answers -------------------------------------------------------------------


def _by_likeness(found: list[Pair], metric: str, max_drop: float) -> Agreement:
    """The worst of the outputs, by name if there are several."""
    fit = [(pair, metric or likeness.usual(pair)) for pair in found if likeness.fits(metric or "equal", pair)]
    if not fit:
        raise BadSetting(
            f"metric {metric!r} fits none of the outputs {', '.join(each.name for each in found)}"
        )
    others = _others(found)
    judged = []
    for pair, measure in fit:
        lost = likeness.losses(measure, pair)
        drop, upper = (
            bounds.drop_of_proportions(int(lost.sum()), 0, len(lost))
            if measure in SHARES
            else bounds.upper_mean(lost)
        )
        name = f"{measure} of {pair.name}" if len(fit) > 1 else measure
        judged.append(_verdict(measure, name, drop, upper, max_drop, len(lost), others=others))
    return max(judged, key=lambda each: (not each.passed, each.upper))


def _others(found: list[Pair]) -> dict[str, float]:
    """Means of all measures that fit, 1 being the same but for ``relative``; of several outputs the worst."""
    worst: dict[str, float] = {}
    for pair in found:
        for measure in _telling(pair):
            worst[measure] = max(worst.get(measure, 0.0), float(likeness.losses(measure, pair).mean()))
    return {measure: lost if measure == "relative" else 1 - lost for measure, lost in worst.items()}


def _telling(pair: Pair) -> tuple[str, ...]:
    usual = likeness.usual(pair)
    if usual in ("equal", "relative"):
        return (usual, "ranking") if usual == "relative" else (usual,)
    return ("top1", "cosine", "ranking") if likeness.fits("top1", pair) else ("cosine",)


# -- against labels -----------------------------------------------------------------------------------


def _by_labels(found: list[Pair], labels: Array, metric: str, max_drop: float) -> Agreement:
    ours, theirs = _joined(found)
    metric = metric or metrics.usual(ours, labels)
    needs = metrics.METRICS.get(metric)
    if needs is None:
        drop, upper, before = _own(metric, ours, theirs, labels)
    elif needs == "values":
        name, read = metrics.values(ours, labels)
        drop, upper, before, after = _errors(metric, read(ours[name]), read(theirs[name]), labels)
        return _verdict(
            metric, metric, drop, upper, max_drop, len(labels), (before, after), others=_others(found)
        )
    else:
        name, read = (metrics.classes if needs == "classes" else metrics.scores)(ours, labels)
        drop, upper, before = _classified(metric, read(ours[name]), read(theirs[name]), labels)
    if not isfinite(upper):
        return _worthless(f"metric {metric!r} {NO_BOUND}", max_drop, len(labels))
    values = (before, before - drop)
    return _verdict(metric, metric, drop, upper, max_drop, len(labels), values, others=_others(found))


def _joined(found: list[Pair]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs of the original and the candidate over all groups, where these have one shape."""
    even = [pair for pair in found if len({array.shape[1:] for array in pair.ours}) == 1]
    return (
        {pair.name: np.concatenate(pair.ours) for pair in even},
        {pair.name: np.concatenate(pair.theirs) for pair in even},
    )


def _classified(metric: str, ours: Array, theirs: Array, labels: Array) -> tuple[float, float, float]:
    """(drop, its bound, the original's value)."""
    if metric == "accuracy":
        before, after = metrics.right(ours, labels), metrics.right(theirs, labels)
        lost, won = int((before & ~after).sum()), int((after & ~before).sum())
        return *bounds.drop_of_proportions(lost, won, len(labels)), float(before.mean())
    if metric == "f1":
        value = metrics.f1
        labels, ours, theirs = metrics.codes(labels, ours, theirs)
    else:
        value = metrics.auc
        labels = np.unique(labels.reshape(-1), return_inverse=True)[1]
    whole = np.ones((1, len(labels)))
    return *bounds.paired_bootstrap(value, ours, theirs, labels), float(value(ours, labels, whole)[0])


def _own(
    metric: str, ours: Mapping[str, Array], theirs: Mapping[str, Array], labels: Array
) -> tuple[float, float, float]:
    value = metrics.weighted(metrics.own(metric), metric)
    count = metrics.affordable(value, ours, labels)
    drop, upper = bounds.paired_bootstrap(value, ours, theirs, labels, resamples=count)
    return drop, upper, float(value(ours, labels, np.ones((1, len(labels))))[0])


def _errors(metric: str, ours: Array, theirs: Array, labels: Array) -> tuple[float, float, float, float]:
    """(drop, its bound, the original's value, the candidate's), from the rows' errors."""
    right = labels.reshape(len(labels), -1).astype(np.float64)
    spread = float(right.std()) or 1.0
    a, b = np.abs(ours - right), np.abs(theirs - right)
    if metric == "mae":
        a, b = a.mean(axis=1), b.mean(axis=1)
        base = max(float(a.mean()), FLAT * spread)
        return *bounds.upper_mean((b - a) / base), float(a.mean()), float(b.mean())
    a, b = (a * a).mean(axis=1), (b * b).mean(axis=1)
    before, after = float(a.mean()), float(b.mean())
    if metric == "r2":
        whole = spread * spread
        return *bounds.upper_mean((b - a) / whole), 1 - before / whole, 1 - after / whole
    base = max(before, (FLAT * spread) ** 2)
    drop, upper = (sqrt(max(0.0, 1 + part)) - 1 for part in bounds.upper_mean((b - a) / base))
    return drop, upper, sqrt(before), sqrt(after)


# -- the verdict --------------------------------------------------------------------------------------


def _worthless(why: str, max_drop: float, rows: int) -> Agreement:
    return Agreement(metric=FINITE, drop=1.0, upper=1.0, max_drop=max_drop, rows=rows, passed=False, why=why)


def _verdict(
    metric: str,
    name: str,
    drop: float,
    upper: float,
    max_drop: float,
    rows: int,
    values: tuple[float, float] | tuple[None, None] = (None, None),
    *,
    others: Mapping[str, float],
) -> Agreement:
    passed = upper <= max_drop
    return Agreement(
        metric=name,
        drop=drop,
        upper=upper,
        max_drop=max_drop,
        rows=rows,
        passed=passed,
        reference=values[0],
        value=values[1],
        others=others,
        why="" if passed else _why(metric, drop, upper, max_drop, rows),
    )


def _why(metric: str, drop: float, upper: float, max_drop: float, rows: int) -> str:
    if drop > max_drop:
        return f"the drop is {drop:.3g} (up to {upper:.3g} at 95 %), more than {max_drop:g}"
    if metric in SHARES and not max_drop:
        return f"{rows} rows bound the drop at {upper:.3g}; a floor of 0 is proven by no number of rows"
    enough = bounds.rows_needed(max_drop) if max_drop else 0
    if metric in SHARES and rows < enough:
        return (
            f"too few rows to prove it: {rows} rows bound the drop at {upper:.3g}; "
            f"{enough} without a difference would do"
        )
    return f"the drop is {drop:.3g}, but may be {upper:.3g} at 95 % on {rows} rows, more than {max_drop:g}"
