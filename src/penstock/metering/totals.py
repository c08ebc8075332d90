"""What was charged since the server started: sums for the metrics, and the last hour for full rates."""

from collections import deque

from penstock.core.account import Payer
from penstock.metering.charges import NOTHING, Span, Took, Used

HOUR = 3600.0


class Totals:
    """Lives on the event loop; grows with the number of payers, whom ``Accounts`` bounds."""

    def __init__(self) -> None:
        self.used: dict[Payer, Used] = {}
        """Since the start, at marginal cost."""
        self.took: Took = NOTHING
        """The machine since the start."""
        self.hour: Took = NOTHING
        """The machine in the last hour."""
        self.last: Span | None = None
        self._recent: deque[Span] = deque()

    def add(self, span: Span) -> None:
        """One more entry of the books."""
        for used in span.used:
            before = self.used.get(used.payer)
            self.used[used.payer] = used if before is None else before + used
        self.took += span.took
        self.last = span
        self._recent.append(span)
        while self._recent[0].start < span.start - HOUR:
            self._recent.popleft()
        self.hour = sum((each.took for each in self._recent), NOTHING)
