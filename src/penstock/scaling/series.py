"""A model's requests over time: seconds for 15 minutes, 10 seconds for two weeks, 5 minutes for eight."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.float32]

FINE, COARSE = 10, 300
"""Seconds of a bucket."""
MINUTES_15, WEEKS_2, WEEKS_8 = 900, 14 * 8640, 56 * 288
"""Buckets kept of each width."""
DAY = 86400 // FINE
GAP = 30
"""Seconds between what was restored and what is seen from which nobody watched in between."""


class Ring:
    """The last so many buckets of one width in a row of memory, the open one at its end."""

    def __init__(self, width: int, size: int) -> None:
        self.width = width
        self.size = size
        self.open = 0
        """Which bucket is filled now: its start over the width."""
        self._data: Counts = np.zeros(64, np.float32)
        self._count = 0

    def __len__(self) -> int:
        """Finished buckets."""
        return max(0, self._count - 1)

    def add(self, bucket: int, count: float) -> None:
        """Into that bucket, or into the open one if that is later."""
        if bucket > self.open or not self._count:
            self.advance(bucket)
        self._data[self._count - 1] += count

    def advance(self, bucket: int) -> None:
        """Buckets up to this one are finished; those that nothing was added to are 0."""
        if not self._count:
            self.open, self._count = bucket, 1
        gap = min(bucket - self.open, self.size + 1)
        if gap <= 0:
            return
        if self._count + gap > len(self._data):
            self._make_room(gap)
        self._data[self._count : self._count + gap] = 0
        self._count += gap
        self.open = bucket

    def _make_room(self, gap: int) -> None:
        kept = min(self._count, self.size + 1 - min(gap, self.size))
        room = min(2 * (kept + gap), self.size + self.size // 8 + 2)
        data = np.zeros(max(room, kept + gap, len(self._data)), np.float32)
        data[:kept] = self._data[self._count - kept : self._count]
        self._data, self._count = data, kept

    def last(self, most: int | None = None) -> Counts:
        """The newest finished buckets, oldest first; a view."""
        most = self.size if most is None else min(most, self.size)
        return self._data[max(0, self._count - 1 - most) : max(0, self._count - 1)]

    @property
    def nbytes(self) -> int:
        return self._data.nbytes


class Series:
    """Requests of one model; ``add`` and ``advance`` mutate it, all else reads.

    Times are Unix seconds and do not go back: what comes late is counted in the newest second.
    """

    def __init__(self) -> None:
        self.seconds = Ring(1, MINUTES_15)
        self.fine = Ring(FINE, WEEKS_2)
        self.coarse = Ring(COARSE, WEEKS_8)
        self.watched = 0
        """Since when there is a record without a gap."""
        self.exact = 0
        """Since when single seconds were counted, not spread from a kept bucket."""
        self.last = 0
        """When the last request came; 0: never."""
        self._restored = 0
        """End of what was restored."""

    def __len__(self) -> int:
        """Finished buckets of 10 s."""
        return len(self.fine)

    def add(self, at: float, count: float) -> None:
        """Requests that arrived in the second ``at``."""
        self.advance(at)
        second = max(int(at), self.seconds.open)
        self.seconds.add(second, count)
        self.fine.add(second // FINE, count)
        self.coarse.add(second // COARSE, count)
        if count > 0:
            self.last = second

    def advance(self, now: float) -> None:
        """Time passes without requests."""
        second = int(now)
        if not self.exact:
            self.exact = second
            if not self._restored or second - self._restored > GAP:
                self.watched = second
        self.seconds.advance(second)
        self.fine.advance(second // FINE)
        self.coarse.advance(second // COARSE)

    def extend(self, start: int, counts: Floats) -> None:
        """Requests of whole seconds from ``start`` on."""
        for second, count in enumerate(counts.tolist(), start):
            self.add(second, count)

    def rate(self, seconds: int) -> float:
        """Requests/s over the last finished seconds, or since watching began if that is shorter."""
        span = max(1, min(seconds, self.seconds.open - self.watched))
        if span > MINUTES_15:
            return float(self.fine.last(seconds // FINE).mean(dtype=np.float64)) / FINE
        counts = self.seconds.last(span)
        return float(counts.sum(dtype=np.float64)) / span if len(counts) else 0.0

    # -- what a database keeps -----------------------------------------------------------------

    def buckets(self, since: float) -> list[tuple[int, int, float]]:
        """Start, width (10 or 300 s) and count of every bucket finished after ``since``, oldest first."""
        found: list[tuple[int, int, float]] = []
        for ring in (self.coarse, self.fine):
            fresh = min(len(ring), max(0, ring.open - int(since // ring.width)))
            start = (ring.open - fresh) * ring.width
            counts = ring.last(fresh).tolist() if fresh else []
            found += [(start + i * ring.width, ring.width, count) for i, count in enumerate(counts)]
        return sorted(found)

    def restore(self, rows: Iterable[tuple[int, int, float]]) -> None:
        """What a database kept, oldest first, into a new series; raises ValueError for another width.

        Rows of 300 s may be all, or only those before the rows of 10 s.
        """
        kept = sorted(rows)
        whole = {start // COARSE for start, width, _ in kept if width == COARSE}
        for start, width, count in kept:
            if width == COARSE:
                self.coarse.add(start // COARSE, count)
            elif width == FINE:
                self.fine.add(start // FINE, count)
                if start // COARSE not in whole:
                    self.coarse.add(start // COARSE, count)
            else:
                raise ValueError(f"a bucket of {width} s; have buckets of {FINE} and {COARSE} s")
            self._restored = max(self._restored, start + width)
            if count > 0:
                self.last = max(self.last, start + width - 1)
        if kept:
            self._resume()

    def _resume(self) -> None:
        """Opens the next buckets, and spreads the last quarter of an hour over its seconds."""
        end = self._restored
        self.fine.advance(end // FINE)
        self.coarse.advance(end // COARSE)
        counts = self.fine.last(MINUTES_15 // FINE)
        start = end - end % FINE - len(counts) * FINE
        for i, count in enumerate(np.repeat(counts / FINE, FINE).tolist()):
            self.seconds.add(start + i, count)
        self.seconds.advance(end)
        self.watched = end - max(1, len(self.fine)) * FINE
