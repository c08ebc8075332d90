"""What became of the requests that a rollout divides, kept as columns until the judge folds them in."""

import struct
from collections.abc import Callable
from math import inf, nan
from time import monotonic
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.errors import DeadlineExceeded, InstanceLost, Overloaded, PenstockError
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Timing
from penstock.rollout.evidence.requests import Floats, Requests
from penstock.serving.split import Relay

FULL = 2048
"""Requests that wait to be folded, which then takes about a millisecond; fewer cost more each."""
COLD = 50
"""First requests of the candidate during which no latency and no cost counts (rollout.md: 50 cold ones
with a tail of ten times gave 80 % false alarms where they counted)."""

Row: TypeAlias = tuple[bool, float, float, bool, bool, float, float, int, bool]
Answered: TypeAlias = Callable[[Ticket, Reply, bool, float, int], None]
"""Ticket, answer, whether the candidate gave it, odds, and the returning caller's number."""


class Rates(Struct, frozen=True):
    """What a core-second and a GPU-second cost now; 1 and nan where there is no price, or no energy."""

    cpu: float = 1.0
    gpu: float = 1.0
    cpu_joules: float = nan
    gpu_joules: float = nan


class Witness:
    """A ``serving.split.Witness``; lives on the event loop.

    ``fold`` hears of full columns, ``alarm`` of what acts at once, ``answered`` of every whole answer.
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
        self.paired = False
        """Whether a baseline is what latency and cost are compared with."""
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
        self.every = 1
        """Answers of each version of which one is handed on; those with an id are, too."""
        self._candidate: list[bool] = []
        self._odds: list[float] = []
        self._seconds: list[float] = []
        self._cpu: list[float] = []
        self._gpu: dict[int, float] = {}
        """Of plain answers, in order; GPU-seconds by place."""
        self._rows: list[Row] = []
        """All others."""
        self._late: set[Ticket] = set()

    # -- on the request path -----------------------------------------------------------------------

    def asked(self, ticket: Ticket, odds: float, unit: int, beside: bool, /) -> None:
        self.seen += 1
        self.flight[ticket] = (odds, unit, beside or not self.paired)
        if ticket.over:
            self._looked(ticket)
        else:
            ticket.watch = self._looked

    def refused(self, odds: float, unit: int, error: PenstockError, /) -> None:
        self.seen += 1
        self._failed(False, odds, unit, error)

    def _looked(self, ticket: Ticket) -> None:
        """The stable version's ticket is over."""
        odds, unit, counts = self.flight.pop(ticket)
        late = bool(self._late) and self._was_late(ticket)
        reply = ticket.reply
        if reply is not None:
            self.stable += 1
            if unit or late or not counts:
                self._note(False, odds, self._clock() - ticket.arrived, unit, reply.timing, counts, late)
            else:
                self._plain(False, odds, self._clock() - ticket.arrived, reply.timing)
            if ticket.request.id or not self.stable % self.every:
                self._answered(ticket, reply, False, odds, unit)
        elif ticket.error is not None:
            self._failed(False, odds, unit, ticket.error, late)

    def _plain(self, candidate: bool, odds: float, seconds: float, timing: Timing) -> None:
        """What most rows are: an answer to nobody in particular."""
        self._candidate.append(candidate)
        self._odds.append(odds)
        self._seconds.append(seconds)
        self._cpu.append(timing.cpu)
        if timing.gpu:
            self._gpu[len(self._odds) - 1] = timing.gpu
        if len(self._odds) >= FULL:
            self.flush()

    def tried(self, relay: Relay, /) -> None:
        self.seen += 1
        self._tried += 1
        self.flight[relay] = (relay.odds, relay.unit, True)

    def told(self, relay: Relay, reply: Reply | None, error: PenstockError | None, /) -> None:
        self.flight.pop(relay, None)
        late = bool(self._late) and self._was_late(relay)
        if reply is not None:
            self.candidate += 1
            if relay.unit or late:
                self._note(
                    True, relay.odds, self._clock() - relay.arrived, relay.unit, reply.timing, True, late
                )
            else:
                self._plain(True, relay.odds, self._clock() - relay.arrived, reply.timing)
            if relay.request.id or not self.candidate % self.every:
                self._answered(relay, reply, True, relay.odds, relay.unit)
        elif error is not None:
            self._failed(True, relay.odds, relay.unit, error, late)
            if isinstance(error, InstanceLost):
                self._alarm("crash", str(error))

    def spoilt(self, relay: Relay, /) -> None:
        self._alarm("non-finite", "an answer held NaN or infinity where the old version's did not")

    def saved(self, relay: Relay, /) -> None:
        self.rescued += 1
        self.stable += 1

    def _was_late(self, ticket: Ticket) -> bool:
        """Whether its latency was counted before it ended."""
        if ticket not in self._late:
            return False
        self._late.discard(ticket)
        return True

    def _failed(
        self, candidate: bool, odds: float, unit: int, error: PenstockError, late: bool = False
    ) -> None:
        timed_out = isinstance(error, DeadlineExceeded | Overloaded)
        cold = late or self._tried <= COLD
        self._add((candidate, odds, inf, not timed_out, timed_out, nan, nan, unit >> 11, cold))

    def _note(
        self,
        candidate: bool,
        odds: float,
        seconds: float,
        unit: int,
        timing: Timing,
        counts: bool,
        late: bool,
    ) -> None:
        """An answer; ``late``: its latency was counted before it came."""
        if not late:
            cost, joules = self.worth(timing)
            cold = self._tried <= COLD or not counts
            self._add((candidate, odds, seconds, False, False, cost, joules, unit >> 11, cold))

    def _add(self, row: Row) -> None:
        rows = self._rows
        rows.append(row)
        if len(rows) >= FULL:
            self.flush()

    def worth(self, timing: Timing) -> tuple[float, float]:
        """Money (or core-seconds) and joules of one run."""
        rates = self.rates
        if not self.costs:
            return nan, nan
        if not timing.gpu:
            return timing.cpu * rates.cpu, timing.cpu * rates.cpu_joules
        return (
            timing.cpu * rates.cpu + timing.gpu * rates.gpu,
            timing.cpu * rates.cpu_joules + timing.gpu * rates.gpu_joules,
        )

    # -- every now and then --------------------------------------------------------------------------

    def copied(self, rows: list[Row]) -> None:
        """Copies that ran on both versions."""
        self._rows += rows

    def overdue(self, now: float, age: float) -> list[Relay]:
        """Count those that have run for over ``age`` seconds as slow now, not when they end.

        Gives those that have used up half of their time, so that another version may be asked.
        """
        half: list[Relay] = []
        for ticket, (odds, unit, counts) in list(self.flight.items()):
            spent, relayed = now - ticket.arrived, isinstance(ticket, Relay)
            if spent > age and ticket not in self._late:
                self._late.add(ticket)
                cold = self._tried <= COLD or not counts
                self._add((relayed, odds, inf, False, False, nan, nan, unit >> 11, cold))
            if isinstance(ticket, Relay) and spent > (ticket.deadline - ticket.arrived) / 2:
                half.append(ticket)
        return half

    def flush(self) -> None:
        """Hand over what there is."""
        found: list[Requests] = []
        if self._odds:
            found.append(self._plain_columns())
            self._candidate, self._odds, self._seconds, self._cpu, self._gpu = [], [], [], [], {}
        if self._rows:
            found.append(columns(self._rows))
            self._rows = []
        if found:
            self._fold(found[0] if len(found) == 1 else joined(found))

    def _plain_columns(self) -> Requests:
        count, rates = len(self._odds), self.rates
        none, cold = np.zeros(count, bool), np.full(count, self._tried <= COLD)
        cpu, gpu = np.array(self._cpu), np.zeros(count)
        gpu[list(self._gpu)] = list(self._gpu.values())
        return Requests(
            candidate=np.array(self._candidate),
            odds=np.array(self._odds),
            seconds=np.array(self._seconds),
            failed=none,
            timed_out=none,
            cost=self._worth(cpu, gpu, rates.cpu, rates.gpu),
            joules=self._worth(cpu, gpu, rates.cpu_joules, rates.gpu_joules),
            unit=np.zeros(count, np.uint64),
            cold=cold,
        )

    def _worth(self, cpu: Floats, gpu: Floats, of_cpu: float, of_gpu: float) -> Floats:
        if not self.costs:
            return np.full(len(cpu), nan)
        return cpu * of_cpu + np.where(gpu > 0, gpu * of_gpu, 0.0)


_KINDS = {
    "candidate": "?",
    "odds": "<f8",
    "seconds": "<f8",
    "failed": "?",
    "timed_out": "?",
    "cost": "<f8",
    "joules": "<f8",
    "unit": "<u8",
    "cold": "?",
}
_DTYPE = np.dtype(list(_KINDS.items()))
_pack = struct.Struct("<?dd??ddQ?").pack


def joined(parts: list[Requests]) -> Requests:
    """One after the other."""
    return Requests(*(np.concatenate([getattr(part, name) for part in parts]) for name in _KINDS))


def columns(rows: list[Row]) -> Requests:
    """One array for each figure."""
    table = np.frombuffer(b"".join([_pack(*row) for row in rows]), _DTYPE)
    return Requests(*(np.ascontiguousarray(table[name]) for name in _KINDS))
