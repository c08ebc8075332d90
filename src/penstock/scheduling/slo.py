"""The default policy: never waits, sizes batches by learned run times, gives up what is late."""

from collections.abc import Sequence
from math import inf, sqrt

from penstock.core.ports import Line, Take, Wait, Waiting
from penstock.core.spec import Batching
from penstock.scheduling.policy import LARGEST, expired, fit
from penstock.scheduling.profile import Profile
from penstock.scheduling.shed import Backlog, choose, quick

NEAR = 1.02
"""A smaller batch whose row costs at most this much more is preferred."""
STAY = 1.01
"""The batch size changes only for a row that costs this much less."""
SURE = 64
"""Runs after which a size's cost needs no more looking into."""
LUCK = 2.0
"""Standard errors by which a size may turn out cheaper, for it to be tried."""
EVERY, SELDOM = 7, 63
"""Masks: every eighth batch may try a size, every 64th if heads must be given up for it."""
VAGUE, RARELY = 12, 31
"""Every 32nd batch may be of a size that has run fewer times than this, whatever is thought of it."""
PATIENCE, SLOWDOWN = 0.05, 20
"""Without a target, a batch may take 50 ms, or 20 times as long as one row if that is more."""
CAREFUL = 0.002
"""Seconds of a batch from which it pays to weigh every way of giving up heads (0.1 ms)."""
SEEN = 256
"""Requests looked at."""


class Slo:
    """Work-conserving batches of at most the size at which a row costs least.

    That size is the smallest of a coarse grid whose cost per row is within 2 % of the least,
    among those that run within the target.
    Sizes not known well enough are tried when enough rows wait: they cost a little, never a wait.
    Under a target, a request that cannot be met any more is given up,
    and under backlog as many heads as bring the most rows in time.
    Without a target only what is past its own deadline is given up.
    """

    def __init__(self, batching: Batching, target: float) -> None:
        self.cap = 1
        self._target = target
        self.profile = Profile(batching.max_rows or LARGEST)
        self._takes = [Take(count) for count in range(self.profile.largest + 1)]
        self._best = [1] * (self.profile.largest + 1)
        """The size to run, by rows waiting."""
        self._need = [0.0] * (self.profile.largest + 1)
        """Seconds that a batch takes, on the careful side."""
        self._fastest = [0.0] * (self.profile.largest + 1)
        """Seconds that a batch takes at the very least."""
        self._forced: tuple[int, ...] = ()
        self._unsure: tuple[int, ...] = ()
        self._vague: tuple[int, ...] = ()
        self._turn = 0

    # -- deciding ------------------------------------------------------------------------------

    def decide(self, line: Line, /) -> Take | Wait:
        waiting = line.waiting
        self._turn += 1
        total = len(waiting)
        # Rows count every line, so they equal the requests only if each is of one row.
        if total != line.rows or self._forced or not self._turn & EVERY:
            return self._decide(line)
        size = self._best[min(self.cap, total)]
        if waiting[0].deadline - line.now < self._need[size]:
            return self._decide(line)
        return self._takes[size]

    def _decide(self, line: Line) -> Take:
        now, waiting = line.now, line.waiting
        if self._target == inf:
            skip = expired(waiting, now)
        else:
            skip = expired(waiting, now + self.profile.seconds[1])
        if skip == len(waiting):
            return self._rest(line, skip)
        total = len(waiting) - skip if len(waiting) == line.rows else self._there(waiting, skip)
        wanted = min(total, self.cap)
        explored = self._explored(total)
        size = explored or self._best[wanted]
        if self._target == inf or waiting[skip].deadline - now >= self._need[explored or wanted]:
            return Take(fit(waiting, size, skip), skip)
        if explored and (self._forced or not self._turn & SELDOM):
            # What it teaches is worth a few heads, but rows that are late anyway need not pay for it.
            more = expired(waiting, now + self._need[explored])
            start = more if len(waiting) - more >= explored else skip
            return Take(fit(waiting, explored, start), start)
        return self._pressed(line, skip, single=total == len(waiting) - skip)

    def _rest(self, line: Line, skip: int) -> Take:
        """All that is seen of the line is late: give it up, but for the newest if nobody else waits.

        Were all given up, there might never again be a run from which to learn that they need not be.
        """
        seen = 0
        for request in line.waiting:
            seen += request.rows
        if self._target == inf or seen < line.rows:
            return Take(0, skip)
        return Take(1, skip - 1)

    def _there(self, waiting: Sequence[Waiting], start: int) -> int:
        """Rows waiting, of the first few hundred requests."""
        return sum([request.rows for request in waiting[start : start + SEEN]])

    def _rows(self, waiting: Sequence[Waiting], start: int) -> list[float]:
        """The deadline of every row from ``start`` on, of the first few hundred."""
        deadlines: list[float] = []
        for request in waiting[start : start + SEEN]:
            deadlines.extend([request.deadline] * max(1, request.rows))
        return deadlines[: max(SEEN, waiting[start].rows)]

    def _pressed(self, line: Line, skip: int, *, single: bool) -> Take:
        """The head has no time for the batch that should run: a smaller one, or give heads up."""
        now, waiting = line.now, line.waiting
        deadlines = [job.deadline for job in waiting[skip:]] if single else self._rows(waiting, skip)
        profile, wanted = self.profile, min(len(deadlines), self.cap)
        profile.refresh()
        slack = (deadlines[0] - now) / profile.slow
        kept = wanted
        while kept > 1 and profile.seconds[kept] > slack:
            kept -= 1
        kept = self._best[kept]
        if kept >= self._best[wanted]:
            return Take(fit(waiting, kept, skip), skip)
        backlog = Backlog(now, deadlines, profile, self.cap)
        careful = profile.seconds[self.cap] >= CAREFUL
        choice = choose(backlog, kept) if careful else quick(backlog)
        if choice.size == 0:
            return self._rest(line, len(waiting))
        heads = skip + choice.skip if single else self._heads(waiting, skip, choice.skip)
        return Take(fit(waiting, choice.size, heads), heads)

    def _heads(self, waiting: Sequence[Waiting], start: int, rows: int) -> int:
        """The first request that is still served when that many rows from ``start`` on are given up."""
        while rows >= waiting[start].rows and start < len(waiting) - 1:
            rows -= waiting[start].rows
            start += 1
        return start

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        """Refuses only what would be late even if it ran at once and as fast as ever."""
        return not line_rows or now + self._fastest[min(newcomer.rows, self.cap)] <= newcomer.deadline

    # -- learning ------------------------------------------------------------------------------

    def learn(self, rows: int, seconds: float, /) -> None:
        if self.profile.learn(rows, seconds):
            self._plan()

    def _explored(self, rows: int) -> int:
        """A size to try now for what it teaches, or 0."""
        for size in self._forced:
            if size <= rows:
                return size
        if self._turn & EVERY:
            return 0
        for size in self._unsure:
            if size <= rows:
                return size
        if not self._turn & RARELY:
            for size in self._vague:
                if size <= rows:
                    return size
        if self._turn & 127:
            return 0
        sizes = self.profile.sizes
        at = sizes.index(self.cap) + (1 if self._turn & 128 else -1)
        near = sizes[max(0, min(at, len(sizes) - 1))]
        return near if near <= rows else 0

    def _plan(self) -> None:
        """Work out from the run times what to run for any number of rows."""
        profile = self.profile
        seconds = profile.seconds
        limit = self._target if self._target < inf else max(PATIENCE, SLOWDOWN * seconds[1])
        allowed = [size for size in profile.sizes if seconds[size] <= limit] or [1]
        self.cap = self._cheapest(allowed)
        self._best[1:] = self._sizes()
        slow = profile.slow
        self._need = [time * slow for time in seconds]
        luck = 0.9 * min(1.0, profile.spread[0])
        self._fastest = [time * luck for time in seconds]
        reach = [size for size in profile.sizes if size <= 4 * self.cap] if seconds[1] <= limit else []
        # No prediction may bar a size that has not run: one stalled run would bar it for good.
        self._forced = tuple(s for s in reach if s & (s - 1) == 0 and profile.count[s] < 3)
        hopes = sorted((self._hope(size), size) for size in reach if size in allowed and size != self.cap)
        mark = 0.99 * seconds[self.cap] / self.cap
        self._unsure = tuple(size for hope, size in hopes if hope < mark and profile.count[size] < SURE)

        # However dear a size looked, it may have been the machine's bad moment: least known first.
        vague = [size for size in allowed if size != self.cap and profile.count[size] < VAGUE]
        self._vague = tuple(sorted(vague, key=lambda size: (profile.count[size], -size)))

    def _hope(self, size: int) -> float:
        """What a row may cost at that size, with some luck."""
        profile = self.profile
        return profile.seconds[size] / size * (1 - LUCK * profile.noise / sqrt(max(profile.count[size], 2)))

    def _cheapest(self, sizes: list[int]) -> int:
        """The smallest size whose row costs nearly the least; the present one if no larger is worth it."""
        seconds = self.profile.seconds
        least = min(seconds[size] / size for size in sizes)
        near = next(size for size in sizes if seconds[size] <= NEAR * least * size)
        now = self.cap
        if now < near and now in sizes and seconds[now] <= NEAR * STAY * least * now:
            return now
        return near

    def _sizes(self) -> list[int]:
        """For every number of rows up to ``cap``, the smallest size whose row costs nearly the least."""
        seconds = self.profile.seconds
        sizes = [size for size in self.profile.sizes if size <= self.cap]
        chosen: list[int] = []
        least = inf
        for rows in range(1, self.profile.largest + 1):
            if rows > self.cap:
                chosen.append(self.cap)
                continue
            if rows in sizes:
                least = min(least, seconds[rows] / rows)
            limit = NEAR * min(least, seconds[rows] / rows)
            chosen.append(next((s for s in sizes if s <= rows and seconds[s] <= limit * s), rows))
        chosen[self.cap - 1] = self.cap
        return chosen
