"""What became of the requests that a rollout divides, kept as columns until the judge folds them in."""

from collections.abc import Callable
from math import inf, nan
from time import monotonic
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.errors import DeadlineExceeded, InstanceLost, Overloaded, PenstockError
from penstock.core.types import Reply, Timing
from penstock.rollout.evidence.requests import Requests
from penstock.serving.split import Relay

FULL = 512
"""Requests that wait to be folded; folding so many takes under a millisecond."""
COLD = 50
"""First requests of the candidate during which no latency and no cost counts (rollout.md: 50 cold ones
with a tail of ten times gave 80 % false alarms where they counted)."""

Row: TypeAlias = tuple[bool, float, float, bool, bool, float, float, int, bool]
Answered: TypeAlias = Callable[[Relay, Reply], None]


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
        self.flight: set[Relay] = set()
        """Requests on their way."""
        self.stable = self.candidate = 0
        """Requests that each has answered."""
        self.rescued = 0
        self.last = clock()
        """When the last request came."""
        self.seen = 0
        """Requests that were divided."""
        self._tried = 0
        self._fold, self._alarm, self._answered = fold, alarm, answered
        self._clock = clock
        self._rows: list[Row] = []
        self._late: set[Relay] = set()

    # -- on the request path -----------------------------------------------------------------------

    def asked(self, relay: Relay, /) -> None:
        self.flight.add(relay)
        self.last = relay.arrived
        self.seen += 1
        self._tried += relay.candidate

    def told(self, relay: Relay, reply: Reply | None, error: PenstockError | None, /) -> None:
        self.flight.discard(relay)
        late = relay in self._late
        if late:
            self._late.discard(relay)
        if reply is not None:
            if relay.candidate:
                self.candidate += 1
            else:
                self.stable += 1
            if not late:
                self._note(relay, self._clock() - relay.arrived, timing=reply.timing)
            self._answered(relay, reply)
        elif error is not None:
            timed_out = isinstance(error, DeadlineExceeded | Overloaded)
            self._note(relay, inf, failed=not timed_out, timed_out=timed_out, cold=late)
            if relay.candidate and isinstance(error, InstanceLost):
                self._alarm("crash", str(error))

    def spoilt(self, relay: Relay, /) -> None:
        self._alarm("non-finite", "an answer held NaN or infinity where the old version's did not")

    def saved(self, relay: Relay, /) -> None:
        self.rescued += 1
        self.stable += 1

    def _note(
        self,
        relay: Relay,
        seconds: float,
        *,
        failed: bool = False,
        timed_out: bool = False,
        cold: bool = False,
        timing: Timing | None = None,
    ) -> None:
        cost, joules = self.worth(timing) if timing is not None else (nan, nan)
        cold = cold or self._tried <= COLD
        unit = relay.unit >> 11  # 53 bits, which a double holds
        self._rows.append((relay.candidate, relay.odds, seconds, failed, timed_out, cost, joules, unit, cold))
        if len(self._rows) >= FULL:
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
        for relay in self.flight:
            spent = now - relay.arrived
            if spent > age and relay not in self._late:
                self._late.add(relay)
                self._note(relay, inf)
            if relay.candidate and not relay.settled and spent > (relay.deadline - relay.arrived) / 2:
                half.append(relay)
        return half

    def flush(self) -> None:
        """Hand over what there is."""
        if self._rows:
            rows, self._rows = self._rows, []
            self._fold(columns(rows))


def columns(rows: list[Row]) -> Requests:
    """One array for each figure."""
    table = np.array(rows, np.float64).T
    candidate, odds, seconds, failed, timed_out, cost, joules, unit, cold = table
    return Requests(
        candidate=candidate > 0,
        odds=odds,
        seconds=seconds,
        failed=failed > 0,
        timed_out=timed_out > 0,
        cost=cost,
        joules=joules,
        unit=unit.astype(np.uint64),
        cold=cold > 0,
    )
