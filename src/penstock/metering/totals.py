"""What was charged since the server started: sums for the metrics, and the last hour for full rates."""

from collections.abc import Mapping
from typing import TypeVar

from penstock.metering.charges import NOTHING, Span, Took, Used
from penstock.metering.lately import Lately, Sum, Version

Key = TypeVar("Key")


class Totals:
    """Lives on the event loop; grows with versions and tenants, the latter of which ``Accounts`` bounds."""

    def __init__(self) -> None:
        self.by_version: dict[Version, Used] = {}
        """Since the start, at marginal cost, whoever asked; the payer in it is any one of them."""
        self.by_tenant: dict[str, Used] = {}
        """The same, whatever was asked."""
        self.took: Took = NOTHING
        """The machine since the start."""
        self.last: Span | None = None
        self._lately = Lately()

    @property
    def hour(self) -> Took:
        """The machine in the last hour, to a minute."""
        return self._lately.sum.took

    @property
    def hour_used(self) -> Mapping[Version, Used]:
        """What each version used in that hour, at marginal cost; the payer in it is any one of them."""
        return self._lately.sum.used

    @property
    def hour_queries(self) -> Mapping[str, int]:
        """Of that hour, by tenant; with those of before the start."""
        return self._lately.sum.queries

    def restore(self, start: float, queries: Mapping[str, int]) -> None:
        """What tenants had asked before this server started; to be called with the earliest first."""
        self._lately.add(start, Sum(queries=dict(queries)))

    def add(self, span: Span) -> None:
        """One more entry of the books; about 2 µs for each payer."""
        by_version: dict[Version, Used] = {}
        by_tenant: dict[str, Used] = {}
        for used in span.used:
            _add(by_version, used.payer[:2], used)
            _add(by_tenant, used.payer.tenant, used)
        for version, used in by_version.items():
            _add(self.by_version, version, used)
        for tenant, used in by_tenant.items():
            _add(self.by_tenant, tenant, used)
        self.took += span.took
        self.last = span
        queries = {tenant: used.account.queries for tenant, used in by_tenant.items()}
        self._lately.add(span.start, Sum(span.took, by_version, queries))


def _add(sums: dict[Key, Used], key: Key, used: Used) -> None:
    before = sums.get(key)
    sums[key] = used if before is None else before + used
