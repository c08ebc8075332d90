"""A sliding sum of the books' entries, kept by minutes: what each version used in the last hour."""

from msgspec import Struct

from penstock.metering.charges import NOTHING, Took, Used
from penstock.metering.hour import MINUTE, MINUTES

Version = tuple[str, str]
"""Model and version."""


class Sum(Struct, frozen=True):
    """Of several entries; not by payer, for sixty times some thousands of them would hold up the loop."""

    took: Took = NOTHING
    used: dict[Version, Used] = {}
    """By version; the payer in it is any one of its payers."""
    queries: dict[str, int] = {}
    """By tenant."""

    def __add__(self, other: "Sum") -> "Sum":
        used, queries = dict(self.used), dict(self.queries)
        for version, each in other.used.items():
            before = used.get(version)
            used[version] = each if before is None else before + each
        for tenant, count in other.queries.items():
            queries[tenant] = queries.get(tenant, 0) + count
        return Sum(self.took + other.took, used, queries)


class Lately:
    """The minute that runs and the sixty before it.

    Nothing is ever subtracted, so what is not known stays unknown and nothing drifts.
    Minutes lie on two stacks: of the older ones, ``_front``, each with all that came after it there.
    """

    def __init__(self) -> None:
        self._minute = 0.0
        self._now = Sum()
        self._front: list[tuple[float, Sum]] = []
        self._back: list[tuple[float, Sum]] = []
        self._back_sum = Sum()
        self._sum: Sum | None = Sum()

    def add(self, start: float, entry: Sum) -> None:
        """One more entry, which began then (seconds since the epoch)."""
        minute = start // MINUTE
        if minute != self._minute:
            self._turn(minute)
        self._now += entry
        self._sum = None

    @property
    def sum(self) -> Sum:
        """Of all of them; worked out once for each entry, when it is asked for."""
        if self._sum is None:
            older = self._front[-1][1] if self._front else Sum()
            self._sum = older + self._back_sum + self._now
        return self._sum

    def _turn(self, minute: float) -> None:
        self._back.append((self._minute, self._now))
        self._back_sum += self._now
        self._minute, self._now = minute, Sum()
        # Either way: a clock that was set back must not keep what it dated later for ever.
        while (oldest := self._oldest()) is not None and abs(minute - oldest) > MINUTES:
            self._front.pop()

    def _oldest(self) -> float | None:
        """Minute of what would go first; None where there is nothing."""
        if not self._front:
            after = Sum()
            for minute, each in reversed(self._back):
                after = each + after
                self._front.append((minute, after))
            self._back, self._back_sum = [], Sum()
        return self._front[-1][0] if self._front else None
