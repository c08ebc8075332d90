"""How others decide to take a version back, on the same simulated requests: each says whether it would have.

All look once a minute and at 1 % where a level can be set, with arms pooled over stages as is usual.
Formulas from memory of their papers and documentation.
"""

from collections.abc import Callable, Iterator
from math import e, log, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.rollout_streams import P99, Run
from penstock.rollout.evidence.requests import Floats, Ints

LEVEL = 0.01
Z = NormalDist().inv_cdf(1 - LEVEL)
STRIKES = 5
"""Failed minutes that take a version back, as in Flagger's examples."""
BINS = np.exp(np.linspace(np.log(0.01), np.log(100.0), 600))


class Minutes(NamedTuple):
    """One run cut into minutes; by minute and arm (stable, candidate)."""

    counts: NDArray[Any]
    """[minutes, 2, bins] of latencies."""
    sums: NDArray[Any]
    """[minutes, 2, 2]: of latencies and their squares."""
    failed: NDArray[Any]
    requests: NDArray[Any]
    p99: Floats

    @property
    def running(self) -> Ints:
        """All up to each minute, [minutes, 2, bins]."""
        return np.asarray(self.counts.cumsum(axis=0))


def minutes(run: Run) -> Minutes:
    arm, minute = run.seen.candidate.astype(np.int64), run.minute
    seconds = np.where(run.seen.failed, 30.0, run.seen.seconds)
    last = int(minute[-1]) + 1
    place = (minute * 2 + arm) * (len(BINS) + 1) + np.searchsorted(BINS, seconds)
    counts = np.bincount(place, minlength=last * 2 * (len(BINS) + 1)).reshape(last, 2, -1)
    group = minute * 2 + arm
    timed = np.where(run.seen.failed, 0.0, run.seen.seconds)
    sums = [np.bincount(group, weights=timed**power, minlength=2 * last) for power in (1, 2)]
    failed = np.bincount(group, weights=run.seen.failed, minlength=2 * last).astype(np.int64)
    requests = np.bincount(group, minlength=2 * last)
    p99 = np.full((last, 2), np.nan)
    for at in range(last):
        for which in (0, 1):
            some = seconds[(minute == at) & (arm == which)]
            p99[at, which] = np.quantile(some, 0.99) if len(some) else np.nan
    return Minutes(
        counts, np.stack(sums, -1).reshape(last, 2, 2), failed.reshape(-1, 2), requests.reshape(-1, 2), p99
    )


def fixed_p99(cut: Minutes) -> bool:
    """p99 over 1.2 times what it is in calm hours, in five minutes."""
    return int((cut.p99[:, 1] > 1.2 * P99).sum()) >= STRIKES


def relative_p99(cut: Minutes) -> bool:
    """p99 over 1.2 times the stable version's of the same minute, in five minutes."""
    return int((cut.p99[:, 1] > 1.2 * cut.p99[:, 0]).sum()) >= STRIKES


def fixed_errors(cut: Minutes) -> bool:
    """More than 1 % errors, in five minutes."""
    return int((cut.failed[:, 1] > 0.01 * cut.requests[:, 1]).sum()) >= STRIKES


def peeked_z(cut: Minutes) -> bool:
    """Test of the means by z at each look."""
    return any(difference > Z * sqrt(variance) for difference, variance in _means(cut))


def peeked_errors(cut: Minutes) -> bool:
    """Test of the error rates by z at each look."""
    for failed, requests in zip(cut.failed.cumsum(0), cut.requests.cumsum(0), strict=True):
        if min(requests) and failed.sum():
            whole = failed.sum() / requests.sum()
            spread = sqrt(whole * (1 - whole) * (1 / requests[0] + 1 / requests[1]))
            if failed[1] / requests[1] - failed[0] / requests[0] > Z * spread:
                return True
    return False


def mixture_sprt(cut: Minutes) -> bool:
    """Johari's mixture SPRT of the means, over effects of 0.1."""
    tau = 0.1**2
    for difference, variance in _means(cut):
        root = sqrt(variance / (variance + tau))
        power = difference**2 * tau / (2 * variance * (variance + tau))
        if difference > 0 and log(root) + power >= log(1 / LEVEL):
            return True
    return False


def _means(cut: Minutes) -> Iterator[tuple[float, float]]:
    """Difference of the pooled means and its variance at each look."""
    for sums, requests in zip(cut.sums.cumsum(0), cut.requests.cumsum(0), strict=True):
        if min(requests) >= 20:
            means = sums[:, 0] / requests
            variances = (sums[:, 1] / requests - means**2) / requests
            yield float(means[1] - means[0]), float(variances.sum())


def mann_whitney(counts: Ints) -> bool:
    """Are the candidate's values greater, by counts [2, bins]?"""
    stable, mine = counts.astype(float)
    below = stable.cumsum() - stable
    u = float((mine * (below + stable / 2)).sum())
    n, m = stable.sum(), mine.sum()
    if not n or not m:
        return False
    return bool((u - n * m / 2) > Z * sqrt(n * m * (n + m + 1) / 12))


def peeked_ranks(cut: Minutes) -> bool:
    """Mann–Whitney of all requests at each look."""
    return any(mann_whitney(counts) for counts in cut.running)


def final_ranks(cut: Minutes) -> bool:
    """Mann–Whitney of all requests, once at the end."""
    return mann_whitney(cut.running[-1])


def windowed_ranks(cut: Minutes) -> bool:
    """Mann–Whitney of each minute's p99, the last sixteen, at 98 % as Kayenta does, at each look."""
    known = cut.p99[~np.isnan(cut.p99).any(axis=1)]
    for at in range(4, len(known) + 1):
        some = known[max(0, at - 16) : at]
        n = len(some)
        u = float((some[:, 1, None] > some[None, :, 0]).sum())
        if (u - n * n / 2) > NormalDist().inv_cdf(0.99) * sqrt(n * n * (2 * n + 1) / 12):
            return True
    return False


def bands(cut: Minutes) -> bool:
    """Time-uniform bands around both distributions (Howard & Ramdas) that part somewhere."""
    for counts in cut.running:
        total = counts.sum(axis=1)
        if min(total) >= 10:
            shares = counts.cumsum(axis=1) / total[:, None]
            width = sum(0.85 * sqrt((log(log(e * t)) + 0.8 * log(1612 / (LEVEL / 2))) / t) for t in total)
            if float((shares[0] - shares[1]).max()) > width:
                return True
    return False


RIVALS: dict[str, Callable[[Minutes], bool]] = {
    "p99 over a fixed threshold, 5 minutes": fixed_p99,
    "p99 over 1.2 × stable's, 5 minutes": relative_p99,
    "errors over 1 %, 5 minutes": fixed_errors,
    "z of means, peeking": peeked_z,
    "z of error rates, peeking": peeked_errors,
    "Mann–Whitney, peeking": peeked_ranks,
    "Mann–Whitney, once at the end": final_ranks,
    "Mann–Whitney of minutes' p99 (as Kayenta)": windowed_ranks,
    "mSPRT of means": mixture_sprt,
    "time-uniform DKW bands": bands,
}
