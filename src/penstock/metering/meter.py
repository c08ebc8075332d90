"""The meter: every few seconds it takes what was used, prices it, and enters it in the books."""

from collections.abc import Mapping

from penstock.core.spec import Scalar
from penstock.core.types import Timing
from penstock.metering.ledger import Ledger
from penstock.metering.tariff import Tariff
from penstock.metering.totals import Totals


class Meter:
    """A ``core.ports.Till``; lives on the event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self.tariff = Tariff()
        """Swapped whole with each entry."""
        self.totals = Totals()
        self.carried = ledger.carried

    def quote(self, timing: Timing) -> Mapping[str, Scalar]:
        return self.tariff.quote(timing)
