"""Copies of requests, run on both versions beside the answers that callers get, to compare what they say.

A copy runs on the stable version once more and on the candidate; where the first already differs from what
the caller got, the model itself is not steady, and the candidate is not to blame.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from math import inf, nan
from random import Random
from time import monotonic

from msgspec import Struct

from penstock.core.account import Account
from penstock.core.errors import DeadlineExceeded, InstanceLost, Overloaded, PenstockError, one_line
from penstock.core.ports import Executor
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Tensors
from penstock.rollout.columns import Row
from penstock.rollout.compare import Comparison
from penstock.rollout.witness import COLD, Witness
from penstock.serving.recording import kept
from penstock.serving.split import finite

log = logging.getLogger("penstock.rollout")

MOST = 16
"""Copies under way at once; what comes meanwhile is not copied."""
INLINE = 1 << 16
"""Bytes of an answer up to which comparing on the loop is cheaper than in a thread."""


class Pair(Struct, frozen=True):
    """The two executors that copies go to, and the accounts that they are charged to."""

    stable: Executor
    candidate: Executor
    accounts: tuple[Account, Account]
    priority: int
    """The least urgent that there is."""


class Mirror:
    """Lives on the event loop, at a witness's side."""

    def __init__(
        self,
        pair: Callable[[], Pair | None],
        compared: Callable[[Sequence[bool], Sequence[bool]], None],
        comparison: Comparison,
        alarm: Callable[[str, str], None],
        *,
        foreign: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``compared`` hears whether candidate and control differ, ``alarm`` of what acts at once.

        ``foreign``: the comparison is a user's own, and may take its time.
        """
        self.part = 0.0
        """Of the requests that are copied."""
        self.timed = False
        """Whether copies are evidence for latency and errors, too: no request goes to the candidate."""
        self.count = 0
        """Copies that ran."""
        self.broken = ""
        """Why the comparison failed last."""
        self.running = 0
        self.alarm, self.clock = alarm, clock
        self.random = Random().random
        self._pair, self._compared, self._comparison = pair, compared, comparison
        self._foreign = foreign

    def offer(self, request: Request, reply: Reply, witness: Witness, every: int = 1) -> None:
        """An answer of the stable version that may be copied; one in ``every`` is offered."""
        if self.running >= MOST or self.random() >= self.part * every:
            return
        pair = self._pair()
        if pair is None:
            return
        given = _lasting(reply) or {}
        _Copy(self, witness, pair, kept(request.inputs), request.outputs, given).start()

    def compare(self, given: Tensors, again: Reply | None, new: Reply | None) -> None:
        """Let the judge know whether each differs from what the caller got."""
        size = sum(array.nbytes for array in given.values())
        if self._foreign or size > INLINE:
            loop = asyncio.get_running_loop()
            work = partial(self._differences, given, _lasting(again), _lasting(new))
            loop.run_in_executor(None, work).add_done_callback(self._ended)
            return
        try:
            self._tell(
                self._differences(given, again.outputs if again else None, new.outputs if new else None)
            )
        finally:
            self.running -= 1

    def _differences(self, given: Tensors, again: Tensors | None, new: Tensors | None) -> tuple[bool, bool]:
        try:
            differs = self._comparison
            control = again is None or differs(given, again)
            return new is None or differs(given, new), control
        except Exception as error:
            self.broken = f"the comparison fails: {one_line(error)}"
            raise

    def _ended(self, done: "asyncio.Future[tuple[bool, bool]]") -> None:
        self.running -= 1
        if done.cancelled():
            return
        known = self.broken
        if done.exception() is None:
            self._tell(done.result())
        elif not known:
            log.warning("answers could not be compared: %s", done.exception())

    def _tell(self, differ: tuple[bool, bool]) -> None:
        self._compared(*([each] for each in differ))


def _lasting(reply: Reply | None) -> Tensors | None:
    """Outputs that may be looked at later, when what they are views of is gone."""
    return {name: array.copy() for name, array in reply.outputs.items()} if reply is not None else None


class _Copy:
    """One request on both versions at once."""

    def __init__(
        self,
        mirror: Mirror,
        witness: Witness,
        pair: Pair,
        inputs: Tensors,
        outputs: tuple[str, ...],
        given: Tensors,
    ) -> None:
        self._mirror, self._witness, self._pair = mirror, witness, pair
        self._inputs, self._outputs, self._given = inputs, outputs, given
        self._timed, self._cold = mirror.timed, mirror.count < COLD
        self._replies: dict[bool, Reply | None] = {}
        self._rows: list[Row] = []

    def start(self) -> None:
        self._mirror.running += 1
        first = self._mirror.random() < 0.5
        for candidate in (first, not first):
            self._ask(candidate)

    def _ask(self, candidate: bool) -> None:
        pair, began = self._pair, self._mirror.clock()
        executor = pair.candidate if candidate else pair.stable
        request = Request(
            model="",
            inputs=self._inputs,
            outputs=self._outputs,
            priority=pair.priority,
            account=pair.accounts[candidate],
        )
        try:
            ticket = executor(request)
        except PenstockError as error:
            self._heard(candidate, began, None, error)
            return
        if ticket.over:
            self._heard(candidate, began, ticket.reply, ticket.error)
        else:
            ticket.then = partial(self._done, candidate, began)

    def _done(self, candidate: bool, began: float, ticket: Ticket) -> None:
        self._heard(candidate, began, ticket.reply, ticket.error)

    def _heard(self, candidate: bool, began: float, reply: Reply | None, error: PenstockError | None) -> None:
        took = self._mirror.clock() - began
        if reply is not None and candidate and not finite(reply.outputs) and finite(self._given):
            self._mirror.alarm("non-finite", "an answer to a copy held NaN or infinity")
            error, reply = PenstockError("not finite"), None
        if candidate and isinstance(error, InstanceLost):
            self._mirror.alarm("crash", str(error))
        if self._timed:
            self._rows.append(self._row(candidate, took, reply, error))
        self._replies[candidate] = reply
        if len(self._replies) == 2:
            self._end()

    def _row(self, candidate: bool, took: float, reply: Reply | None, error: PenstockError | None) -> Row:
        late = isinstance(error, DeadlineExceeded | Overloaded)
        cost, joules = self._witness.worth(reply.timing) if reply else (nan, nan)
        # Without its time in the queue: the stable version's is full of others, the candidate's is empty.
        seconds = took - reply.timing.queued if reply is not None else inf
        return candidate, 0.5, seconds, error is not None and not late, late, cost, joules, 0, self._cold

    def _end(self) -> None:
        mirror = self._mirror
        mirror.count += 1
        if self._rows:
            self._witness.copied(self._rows)
        again, new = self._replies[False], self._replies[True]
        if again is None and new is None:
            mirror.running -= 1
        else:
            mirror.compare(self._given, again, new)
