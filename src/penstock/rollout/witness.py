"""What became of the requests that a rollout divides, kept until the judge folds it in."""

from collections.abc import Callable
from math import inf, nan
from time import monotonic
from typing import TypeAlias

from penstock.core.errors import DeadlineExceeded, InstanceLost, Overloaded, PenstockError
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Timing
from penstock.rollout.columns import Plain, Rates, Row, columns, joined
from penstock.rollout.evidence.requests import Requests
from penstock.serving.split import Relay

FULL = 2048
"""Requests that wait to be folded, which then takes about a millisecond; fewer cost more each."""
COLD = 50
"""First requests of the candidate during which no latency and no cost counts: so many with a tail of ten
times gave 80 % false alarms where they counted."""

Answered: TypeAlias = Callable[[Ticket, Reply, bool, float, int], None]
"""Ticket, answer, whether the candidate gave it, odds, and the returning caller's number."""


class Witness:
    """A ``serving.split.Witness``; lives on the event loop.

    ``fold`` hears of what has gathered, ``alarm`` of what acts at once, ``answered`` of some answers.
    """

    def __init__(
        self,
        fold: Callable[[Requests], None],
        alarm: Callable[[str, str], None],
        answered: Answered,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.rates = Rates()
        self.costs = True
        """Whether what runs cost is evidence."""
        self.aside = False
        """Whether latency and cost are compared with a baseline's, or with copies'."""
        self.every = 1
        """Answers of each version of which one is handed on; those with an id are, too."""
        self.flight: dict[Ticket, tuple[float, int, bool]] = {}
        """Requests on their way: odds, unit, and whether latency and cost count."""
        self.stable = self.candidate = 0
        """Requests that each has answered."""
        self.rescued = 0
        self.seen = 0
        """Requests that were divided."""
        self._tried = 0
        self._fold, self._alarm, self._answered = fold, alarm, answered
        self._clock = clock
        self._plain = Plain()
        self._rows: list[Row] = []
        """All that is not plain."""
        self._late: set[Ticket] = set()
        """Whose latency was counted before they ended."""
        self._spent: set[Ticket] = set()
        """Of the stable version's, who have used up half of their time: no more is counted of them."""

    # -- on the request path -----------------------------------------------------------------------

    def asked(self, ticket: Ticket, odds: float, unit: int, /) -> None:
        self.seen += 1
        self.flight[ticket] = (odds, unit, not self.aside and self._tried >= COLD)
        if ticket.over:
            self._looked(ticket)
        else:
            ticket.watch = self._looked

    def refused(self, odds: float, unit: int, error: PenstockError, /) -> None:
        self.seen += 1
        self._failed(False, odds, unit, error, not self.aside and self._tried >= COLD)

    def _looked(self, ticket: Ticket) -> None:
        """The stable version's ticket is over."""
        odds, unit, counts = self.flight.pop(ticket)
        reply = ticket.reply
        self.stable += reply is not None
        if self._spent and ticket in self._spent:
            self._spent.discard(ticket)
            self._late.discard(ticket)
        elif reply is not None:
            self._note(ticket, False, odds, self._clock() - ticket.arrived, unit, reply, counts)
        elif ticket.error is not None:
            counts = counts and not self._was_late(ticket)
            self._failed(False, odds, unit, ticket.error, counts)
        if reply is not None and (ticket.request.id or not self.stable % self.every):
            self._answered(ticket, reply, False, odds, unit)

    def tried(self, relay: Relay, /) -> None:
        self.seen += 1
        self.flight[relay] = (relay.odds, relay.unit, self._tried >= COLD)
        self._tried += not relay.beside

    def told(self, relay: Relay, reply: Reply | None, error: PenstockError | None, /) -> None:
        odds, unit, counts = self.flight.pop(relay)
        candidate = not relay.beside
        if reply is not None:
            if candidate:
                self.candidate += 1
            else:
                self.stable += 1
            self._note(relay, candidate, odds, relay.ended - relay.arrived, unit, reply, counts)
            if relay.request.id or not (self.candidate if candidate else self.stable) % self.every:
                self._answered(relay, reply, candidate, odds, unit)
        elif error is not None:
            counts = counts and not self._was_late(relay)
            self._failed(candidate, odds, unit, error, counts)
            if candidate and isinstance(error, InstanceLost):
                self._alarm("crash", str(error))
        else:
            self._late.discard(relay)

    def spoilt(self, relay: Relay, /) -> None:
        if not relay.beside:
            self._alarm("non-finite", "an answer held NaN or infinity where the old version's did not")

    def saved(self, relay: Relay, /) -> None:
        self.rescued += not relay.beside
        self.stable += 1

    def _was_late(self, ticket: Ticket) -> bool:
        if ticket not in self._late:
            return False
        self._late.discard(ticket)
        return True

    def _note(
        self,
        ticket: Ticket,
        candidate: bool,
        odds: float,
        seconds: float,
        unit: int,
        reply: Reply,
        counts: bool,
    ) -> None:
        """An answer came."""
        if self._late and self._was_late(ticket):
            return
        if counts and not unit:
            if self._plain.add(candidate, odds, seconds, reply.timing) >= FULL:
                self.flush()
            return
        cost, joules = self.worth(reply.timing)
        self._add((candidate, odds, seconds, False, False, cost, joules, unit >> 11, not counts))

    def _failed(self, candidate: bool, odds: float, unit: int, error: PenstockError, counts: bool) -> None:
        late = isinstance(error, DeadlineExceeded | Overloaded)
        self._add((candidate, odds, inf, not late, late, nan, nan, unit >> 11, not counts))

    def _add(self, row: Row) -> None:
        rows = self._rows
        rows.append(row)
        if len(rows) >= FULL:
            self.flush()

    def worth(self, timing: Timing) -> tuple[float, float]:
        """Money (or core-seconds) and joules of one run; nan where they are no evidence."""
        return self.rates.worth(timing) if self.costs else (nan, nan)

    # -- every now and then --------------------------------------------------------------------------

    def copied(self, rows: list[Row]) -> None:
        """Copies that ran on both versions."""
        self._rows += rows

    def overdue(self, now: float, age: float) -> list[Relay]:
        """Count those that have run for over ``age`` seconds as slow now, not when they end.

        Who has used up half of his time counts as out of time, in both arms alike; of these it gives those
        whom the stable version may still answer.
        """
        half: list[Relay] = []
        for ticket, (odds, unit, counts) in list(self.flight.items()):
            spent = now - ticket.arrived
            if spent > (ticket.deadline - ticket.arrived) / 2:
                if isinstance(ticket, Relay):
                    half.append(ticket)
                elif ticket not in self._spent:
                    self._spent.add(ticket)
                    late = not counts or ticket in self._late
                    self._add((False, odds, inf, False, True, nan, nan, unit >> 11, late))
            elif spent > age and ticket not in self._late:
                self._late.add(ticket)
                candidate = isinstance(ticket, Relay) and not ticket.beside
                self._add((candidate, odds, inf, False, False, nan, nan, unit >> 11, not counts))
        return half

    def flush(self) -> None:
        """Hand over what there is."""
        plain = self._plain.take(self.rates if self.costs else None)
        rows, self._rows = self._rows, []
        found = [*([plain] if plain is not None else []), *([columns(rows)] if rows else [])]
        if found:
            self._fold(joined(found))
