"""What was charged since the server started: sums for the metrics, and the last hour for full rates."""

from penstock.core.account import Payer
from penstock.metering.charges import NOTHING, Span, Took, Used
from penstock.metering.lately import Lately


class Totals:
    """Lives on the event loop; grows with the number of payers, whom ``Accounts`` bounds."""

    def __init__(self) -> None:
        self.used: dict[Payer, Used] = {}
        """Since the start, at marginal cost."""
        self.took: Took = NOTHING
        """The machine since the start."""
        self.last: Span | None = None
        self._lately = Lately()

    @property
    def hour(self) -> Took:
        """The machine in the last hour, to a minute."""
        return self._lately.sum.took

    @property
    def hour_used(self) -> dict[Payer, Used]:
        """Who used what in that hour, at marginal cost; the same object until the next entry."""
        return self._lately.sum.used

    def add(self, span: Span) -> None:
        """One more entry of the books."""
        for used in span.used:
            before = self.used.get(used.payer)
            self.used[used.payer] = used if before is None else before + used
        self.took += span.took
        self.last = span
        self._lately.add(span)
