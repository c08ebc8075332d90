"""What one instance carries within its target, from learned run times and from what really happened."""

from collections.abc import Sequence
from math import log, sqrt

from msgspec import Struct
from msgspec.structs import replace

from penstock.scaling import staffing

TAIL = 0.01
"""Share of requests that may miss the target of an instance at the rate that it carries."""
NORMAL = 2.33
"""Standard deviations under which 99 % lie."""
LEAST_MISSES = 10.0
"""Requests over the target, seen or foreseen, without which nothing is learned of the capacity."""
TRUST = 0.25
"""Part of the way that one look may move the correction."""
LOWEST, HIGHEST = 0.4, 1.25
"""Of the corrected capacity over the computed one."""


class Capacity(Struct, frozen=True):
    """Of one instance."""

    rows: int
    """Rows of the batches that it is reckoned with."""
    run_s: float
    """Seconds of such a batch, p99."""
    carries: float
    """Requests/s that it works off in such batches; what staffing goes by."""
    wait_s: float
    """Seconds that a request may wait in the queue so that it is in time."""
    alone: float
    """Requests/s at which one instance by itself answers 99 % within the target."""
    factor: float = 1.0
    """By how much what happened corrected ``carries`` and ``alone``."""


def capacity(
    seconds: Sequence[float], spread: Sequence[float], target_s: float, rows: float = 1.0, most: int = 0
) -> Capacity:
    """From seconds by rows of a batch, and run times over their estimates at even quantiles.

    ``seconds[0]`` is not read; ``rows`` are those of a mean request, ``most`` is the largest batch.
    Every batch size is tried, and the one taken at which one instance carries most.
    Raises ValueError where no run time is known.
    """
    sizes = range(1, min(most or len(seconds) - 1, len(seconds) - 1) + 1)
    known = [size for size in sizes if seconds[size] > 0]
    if not known:
        raise ValueError("no run time is known; a model is measured when it is loaded")
    usual, slow, noise = sum(spread) / len(spread), _tail(spread), _variance(spread)
    found = [_of(size, seconds[size] * usual, seconds[size] * slow, noise, target_s) for size in known]
    best = max(found, key=lambda each: (each.alone, each.carries))
    return replace(best, carries=best.carries / rows, alone=best.alone / rows)


def _of(size: int, mean: float, slow: float, noise: float, target_s: float) -> Capacity:
    """With batches of at most this size."""
    carries = size / mean
    # A batch begins when the last one ends, so a row waits for up to a run even without a queue.
    wait = target_s - slow - (mean if size > 1 else 0.0)
    alone = max(_queued(carries, noise, size, wait), _prompt(size, mean, slow, target_s))
    return Capacity(rows=size, run_s=slow, carries=carries, wait_s=max(0.0, target_s - slow), alone=alone)


def _queued(carries: float, noise: float, size: int, wait: float) -> float:
    """The rate of Poisson requests of which 1 % wait longer, by P(wait > T) ≈ exp(−2 (μ − λ) T / c²).

    For one instance that is closer than the formula of ``staffing``, which is for many.
    """
    if wait <= 0:
        return 0.0
    return max(0.0, carries - (1 + noise * size) * log(1 / TAIL) / (2 * wait))


def _prompt(size: int, mean: float, slow: float, target_s: float) -> float:
    """The rate at which all that comes during a batch fits into the next one: nobody waits for two."""
    if mean + slow > target_s:
        return 0.0
    # size = λs + 2.33 √(λs), solved for λ
    root = (-NORMAL + sqrt(NORMAL * NORMAL + 4 * size)) / 2
    return root * root / mean


def _tail(spread: Sequence[float]) -> float:
    """The p99 over the estimate, carried on from the highest quantiles known (of eight: 81 and 94 %)."""
    if len(spread) < 2:
        return 1.0
    return max(1.0, spread[-1] + 0.5 * (spread[-1] - spread[-2]))


def _variance(spread: Sequence[float]) -> float:
    """Squared coefficient of variation."""
    mean = sum(spread) / len(spread)
    return sum((each - mean) ** 2 for each in spread) / len(spread) / mean**2


# -- what really happened -------------------------------------------------------------------------


class Happened(Struct, frozen=True):
    """Requests while so many instances answered."""

    instances: int
    rate: float
    """Requests/s of all of them."""
    burst: float
    asked: float
    missed: float
    """Over the target, or refused for want of capacity."""


def corrected(known: Capacity, seen: Happened) -> Capacity:
    """Moved towards the capacity at which as many would have missed as did.

    That is the capacity which staffing asks for at the observed share.
    Where too few missed, and too few should have, there is nothing to learn.
    """
    if seen.asked <= 0 or seen.rate <= 0 or not seen.instances or known.wait_s <= 0:
        return known
    nominal = seen.instances * known.carries
    foreseen = staffing.late(seen.rate, nominal, seen.burst, known.wait_s) if nominal > seen.rate else 1.0
    if max(seen.missed, foreseen * seen.asked) < LEAST_MISSES:
        return known
    share = min(0.999, (seen.missed + 0.5) / (seen.asked + 1))
    explained = staffing.needed(seen.rate, seen.burst, known.wait_s, share)
    step = (explained / nominal) ** TRUST
    factor = min(max(known.factor * step, LOWEST), HIGHEST)
    scale = factor / known.factor
    return replace(known, carries=known.carries * scale, alone=known.alone * scale, factor=factor)
