"""Which late requests to give up when a line's head leaves no time for an efficient batch."""

from collections.abc import Sequence

from msgspec import Struct

from penstock.scheduling.profile import Profile

WORTH = 1.05
"""Giving up more heads must bring this much more."""


class Choice(Struct, frozen=True):
    """Give up the first ``skip`` rows, run the next ``size``; 0 if all are better given up."""

    skip: int
    size: int


class Backlog(Struct, frozen=True):
    """Rows that wait, by deadline in service order, and what is known of run times."""

    now: float
    deadlines: Sequence[float]
    profile: Profile
    size: int
    """The batch size that costs least per row."""

    def late(self, seconds: float, start: int = 0) -> int:
        """The first row from ``start`` on whose deadline leaves that many seconds."""
        limit = self.now + seconds
        for index in range(start, len(self.deadlines)):
            if self.deadlines[index] >= limit:
                return index
        return len(self.deadlines)


def quick(backlog: Backlog) -> Choice:
    """Give up heads until the next batch is in time, of full size or of all that is left; one pass.

    Where rows abound, a few more heads buy a batch that is late more seldom.
    """
    now, deadlines, profile = backlog.now, backlog.deadlines, backlog.profile
    total, slow = len(deadlines), profile.slow
    full = total - backlog.size
    # Up to the last full batch all must leave the same time, which is quickly passed over.
    first = backlog.late(profile.seconds[backlog.size] * slow) if full >= 0 else 0
    for skip in range(min(first, max(full, 0)), total):
        size = min(backlog.size, total - skip)
        if deadlines[skip] >= now + profile.seconds[size] * slow:
            safe = backlog.late(profile.seconds[size] * profile.spread[7], skip)
            return Choice(safe if total - safe >= 2 * backlog.size else skip, size)
    return Choice(total, 0)


def best(backlog: Backlog) -> Choice:
    """The batch with the most rows in time per second, over how many heads to give up and sizes."""
    total = len(backlog.deadlines)
    seconds, spread = backlog.profile.seconds, backlog.profile.spread
    sizes = [size for size in backlog.profile.sizes if size <= min(backlog.size, total)]
    if total < backlog.size and total not in sizes:
        sizes.append(total)
    options: list[tuple[int, int, float]] = []
    for size in sizes:
        starts: list[int] = []
        at = 0
        for ratio in spread:
            at = backlog.late(seconds[size] * ratio, at)
            starts.append(at)
        for skip in {0, *starts}:
            if skip < total:
                count = min(size, total - skip)
                options.append((skip, count, in_time(skip, count, starts) / seconds[count]))
    options.sort()
    chosen, rate = Choice(total - 1, 1), 0.0
    for skip, count, found in options:
        if found > rate * (WORTH if skip > chosen.skip else 1.0):
            chosen, rate = Choice(skip, count), found
    return chosen


def in_time(skip: int, count: int, starts: Sequence[int]) -> float:
    """Rows expected in time, where the rows in time begin at ``starts``, each as likely."""
    end = skip + count
    total = 0
    for start in starts:
        if start < end:
            total += end - (max(skip, start))
    return total / len(starts)


def drain(backlog: Backlog, choice: Choice) -> tuple[float, float]:
    """Rows in time and seconds used, were the line served to its end after this choice."""
    deadlines, profile = backlog.deadlines, backlog.profile
    seconds, slow = profile.seconds, profile.slow
    total = len(deadlines)
    if not choice.size:
        return 0.0, 1.0
    starts = [backlog.late(seconds[choice.size] * ratio) for ratio in profile.spread]
    rows = in_time(choice.skip, choice.size, starts)
    used = seconds[choice.size]
    at = choice.skip + choice.size
    for _ in range(30):
        size = min(backlog.size, total - at)
        at = backlog.late(used + seconds[size] * slow, at)
        if at >= total:
            break
        size = min(backlog.size, total - at)
        rows += size
        used += seconds[size]
        at += size
    return rows, used


def choose(backlog: Backlog, kept: int) -> Choice:
    """Keep the head and run ``kept`` rows, or give heads up for a better batch.

    If the line can be served whole, the choice with more rows in time wins.
    If not, the one with more of them per second, for others are on their way.
    """
    options = [Choice(0, kept), best(backlog), quick(backlog)]
    drained = [drain(backlog, option) for option in options]
    if max(rows for rows, _ in drained) < 0.97 * len(backlog.deadlines) - 0.5:
        worth = [rows / used for rows, used in drained]
    else:
        worth = [rows for rows, _ in drained]
    return options[worth.index(max(worth))]
