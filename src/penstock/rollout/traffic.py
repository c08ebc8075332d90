"""How much each model is asked: requests a second over the last minute, for those who plan a rollout."""

from collections import deque
from collections.abc import Mapping

SPAN = 60.0
"""Seconds that are looked back on."""
EVERY = 2.0
"""Seconds between two looks."""


class Traffic:
    """Told of counts that only grow; no clock of its own."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def due(self, now: float) -> bool:
        """Whether it is time for another look (monotonic seconds)."""
        return not self._looks or now - self._looks[-1][0] >= EVERY

    def note(self, now: float, counts: Mapping[str, int]) -> None:
        """Requests that each model has answered so far."""
        self._looks.append((now, counts))
        while len(self._looks) > 2 and now - self._looks[1][0] >= SPAN:
            self._looks.popleft()

    @property
    def span(self) -> float:
        """Seconds that are looked back on so far."""
        return self._looks[-1][0] - self._looks[0][0] if self._looks else 0.0

    def rate(self, model: str) -> float:
        """Requests a second; 0 where nothing is known yet."""
        if len(self._looks) < 2:
            return 0.0
        (before, then), (after, now) = self._looks[0], self._looks[-1]
        return max(0, now.get(model, 0) - then.get(model, 0)) / (after - before)
