"""A sliding sum of the books' entries, kept by minutes: who used what in the last hour."""

from msgspec import Struct

from penstock.core.account import Payer
from penstock.metering.charges import NOTHING, Span, Took, Used

MINUTE = 60.0
MINUTES = 60


class Sum(Struct, frozen=True):
    """Of several entries."""

    took: Took = NOTHING
    used: dict[Payer, Used] = {}

    def __add__(self, other: "Sum") -> "Sum":
        used = dict(self.used)
        _pour(used, other.used)
        return Sum(self.took + other.took, used)


def _pour(into: dict[Payer, Used], used: dict[Payer, Used]) -> None:
    for payer, each in used.items():
        before = into.get(payer)
        into[payer] = each if before is None else before + each


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

    def add(self, span: Span) -> None:
        """One more entry; some µs for each who used anything."""
        minute = span.start // MINUTE
        if minute != self._minute:
            self._turn(minute)
        self._now += Sum(span.took, {used.payer: used for used in span.used})
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
        while (oldest := self._oldest()) is not None and oldest < minute - MINUTES:
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
