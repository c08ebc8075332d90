"""Spans that are yet to be written to the books, folded so that days without a disk stay small."""

from collections.abc import Iterable

from penstock.metering.books.tables import DAY, HOUR, MINUTE
from penstock.metering.charges import Span
from penstock.metering.entry import summed

MOST = 20_000
"""Payers of all spans together, about 20 MB; where there are more, minutes become hours, then days."""


class Backlog:
    """Belongs to one thread; ``add`` what could not be written, ``take`` it when it is tried again.

    Sums stay what they are, whatever is folded.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._width = MINUTE
        self._spans: dict[tuple[float, str], Span] = {}
        self._size = 0

    def __len__(self) -> int:
        """Spans that wait, after folding."""
        return len(self._spans)

    def add(self, spans: Iterable[Span]) -> None:
        """They are to wait."""
        for span in spans:
            self._add(span)
        while self._size > self._most and self._width < DAY:
            self._width = HOUR if self._width < HOUR else DAY
            for span in self._emptied():
                self._add(span)

    def take(self) -> list[Span]:
        """All of them, the earliest first; none wait then."""
        spans, self._width = self._emptied(), MINUTE
        return sorted(spans, key=lambda span: span.start)

    def _add(self, span: Span) -> None:
        key = span.start // self._width, span.took.currency
        before = self._spans.get(key)
        folded = span if before is None else _folded(before, span)
        self._spans[key] = folded
        self._size += 1 + len(folded.used) - (0 if before is None else 1 + len(before.used))

    def _emptied(self) -> list[Span]:
        spans = list(self._spans.values())
        self._spans.clear()
        self._size = 0
        return spans


def _folded(one: Span, other: Span) -> Span:
    used = tuple(summed((*one.used, *other.used)).values())
    return Span(min(one.start, other.start), one.took + other.took, used)
