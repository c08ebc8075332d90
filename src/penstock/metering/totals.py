"""What was charged since the server started: sums for the metrics, and the last hour for full rates."""

from typing import TypeVar

from penstock.core.account import Payer
from penstock.metering.charges import NOTHING, Span, Took, Used
from penstock.metering.lately import Lately

Key = TypeVar("Key")


class Totals:
    """Lives on the event loop; grows with the number of payers, whom ``Accounts`` bounds."""

    def __init__(self) -> None:
        self.used: dict[Payer, Used] = {}
        """Since the start, at marginal cost."""
        self.by_version: dict[tuple[str, str], Used] = {}
        """The same by model and version, whoever asked; the payer in it is any one of them."""
        self.by_tenant: dict[str, Used] = {}
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
            payer = used.payer
            _add(self.used, payer, used)
            _add(self.by_version, (payer.model, payer.version), used)
            _add(self.by_tenant, payer.tenant, used)
        self.took += span.took
        self.last = span
        self._lately.add(span)


def _add(sums: dict[Key, Used], key: Key, used: Used) -> None:
    before = sums.get(key)
    sums[key] = used if before is None else before + used
