"""One version's queue: requests in, batches formed by a policy, answers back to their callers.

A ticket carries its own way home, so a caller who goes takes nothing with him.
Everything here runs on the event loop; only ``batch.run`` may run in the thread of an instance.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from math import inf
from time import monotonic

from penstock.core.errors import (
    DeadlineExceeded,
    InstanceLost,
    InvalidRequest,
    ModelNotReady,
    Overloaded,
    PenstockError,
    PolicyFailed,
    Quarantined,
    reason,
)
from penstock.core.ports import BatchPolicy, Line, NullRecorder, Recorder, Session, Take
from penstock.core.spec import ModelSpec
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing
from penstock.scheduling import batch
from penstock.scheduling.crew import Crew

log = logging.getLogger("penstock.scheduler")

WINDOW = 256
"""Requests that a policy looks at; deeper ones change no decision about the next batch."""
TRIES = 3
"""Times that a request may be running when its process dies; the last of them is its answer."""


Key = tuple[object, ...]
"""A line's priority first, so that the smallest key is the most urgent; then what its requests share."""


class Scheduler:
    """A ``Handler`` for one version; must be made and called on the running loop."""

    def __init__(
        self,
        sessions: Sequence[Session],
        policy: BatchPolicy,
        spec: ModelSpec,
        version: str,
        *,
        batched: bool,
        inline: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        """Each session gets an instance with a thread; the same one may be named several times.

        ``inline`` runs batches on the loop itself, with the first session.
        """
        self.policy = policy
        self.broken: BaseException | None = None
        self.waiting = 0
        """Rows in the queue."""
        self._loop = asyncio.get_running_loop()
        self._session = sessions[0]
        self._model, self._version = spec.name, version
        self._max_rows = spec.queue.max_rows
        self._max_priority = spec.queue.max_priority
        self._default_priority = spec.queue.default_priority
        self._usual: Key = (spec.queue.default_priority, ())
        self._timeout = (spec.target.p99_ms or spec.queue.timeout_ms) / 1e3
        self._batched = batched
        self._varied = any(-1 in tensor.shape[1:] for tensor in sessions[0].signature.inputs)
        self._recorder = recorder or NullRecorder()
        self._lines: dict[Key, deque[Ticket]] = {}
        self._again: deque[Ticket] = deque()
        """Those whose process died under them; each runs alone, as it may be the one that kills."""
        hang = spec.instances.hang_s
        self._crew = (
            None
            if inline
            else Crew(f"{spec.name} {version}", sessions, hang, self._finished, self._crew_changed)
        )
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._shut = False
        """Nobody is let in: it is closing, or no instance is left for a while."""
        self._drained: asyncio.Future[None] | None = None

    def __call__(self, request: Request, /) -> Ticket:
        now = monotonic()
        size = len(next(iter(request.inputs.values()))) if self._batched else 1
        deadline = now + self._timeout
        if request.deadline < deadline:
            deadline = request.deadline
        entry = Ticket(request, size, now, deadline)
        urgency = request.priority
        if (
            self._shut
            or self.waiting + size > self._max_rows
            or urgency
            or deadline <= now
            # The door has a say only once a whole batch waits: until then the queue decides as well.
            or (self.waiting >= self.policy.cap and not self._admitted(entry, now))
        ):
            self._admit(entry, now)
        key: Key = self._usual
        if urgency or request.outputs:
            key = (urgency or self._default_priority, request.outputs)
        if self._varied:
            key += tuple(sorted((name, array.shape[1:]) for name, array in request.inputs.items()))
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
        line.append(entry)
        self.waiting += size
        if not self._pumping:
            self._pumping = True
            # Not now: every request that this turn of the loop reads may join the batch.
            self._loop.call_soon(self._pump)
        return entry

    def _admit(self, entry: Ticket, now: float) -> None:
        """The slow look at a request that may have to be refused; raises if so."""
        error = self._objection(entry, now)
        if error is not None:
            self._recorder.failed(reason(error), 0.0)
            raise error

    def _objection(self, entry: Ticket, now: float) -> PenstockError | None:
        if self._closing:
            return ModelNotReady(f"model {self._model!r} version {self._version!r} is being unloaded")
        if self._crew is not None and self._crew.resting:
            return Quarantined(f"model {self._model!r} is {self._crew.resting}")
        if not 0 <= entry.request.priority <= self._max_priority:
            return InvalidRequest(
                f"priority {entry.request.priority} is not known; model {self._model!r} has 1 (most urgent) "
                f"to {self._max_priority}, and 0 for its default"
            )
        if self.waiting and self.waiting + entry.rows > self._max_rows:
            return Overloaded(
                f"the queue of model {self._model!r} is full "
                f"({self.waiting} of {self._max_rows} rows wait); try again later"
            )
        if entry.deadline <= now:
            return DeadlineExceeded("the deadline had passed before the request arrived")
        if not self._admitted(entry, now):
            return Overloaded(
                f"model {self._model!r} cannot answer within the deadline "
                f"({(entry.deadline - now) * 1e3:.1f} ms): {self.waiting} rows wait before this request"
            )
        return None

    def _admitted(self, entry: Ticket, now: float) -> bool:
        try:
            return self.policy.admits(self.waiting, entry, now)
        except Exception as error:
            told = self._break(error)
            self._recorder.failed(reason(told), 0.0)
            raise told from error

    # -- forming batches -----------------------------------------------------------------------

    def _pump(self) -> None:
        """Start batches while an instance is free and a line has one to give."""
        self._pumping = False
        crew = self._crew
        while (self._lines or self._again) and (crew is None or crew.free):
            chosen = self._suspect() if self._again else self._form()
            if chosen is None:
                return
            if chosen:
                self._start(chosen)
                if crew is None and self._lines:
                    # One batch a turn: the loop reads and writes between batches.
                    self._pumping = True
                    self._loop.call_soon(self._pump)
                    return
        self._look_drained()

    def _form(self) -> list[Ticket] | None:
        """The next batch; empty if a line only gave up late requests; None if all lines wait."""
        until = inf
        for key in self._order():
            line = self._lines[key]
            waiting = self._present(key, line)
            if not waiting:
                return []
            now = monotonic()
            try:
                decision = self.policy.decide(Line(now, waiting, self.waiting))
                if isinstance(decision, Take):
                    return self._take(key, line, waiting, decision)
                until = min(until, decision.until)
            except Exception as error:  # noqa: BLE001 - a policy may be the user's own
                self._break(error)
                return []
        self._wake_at(until)
        return None

    def _order(self) -> list[Key]:
        """Most urgent class first; within a class, the line whose head came first."""
        if len(self._lines) == 1:
            return list(self._lines)
        return sorted(self._lines, key=lambda key: (key[0], self._lines[key][0].arrived))

    def _present(self, key: Key, line: deque[Ticket]) -> list[Ticket]:
        """The front of a line without those whose callers have gone."""
        waiting = list(line) if len(line) <= WINDOW else list(islice(line, WINDOW))
        for entry in waiting:
            if entry.over:
                break
        else:
            return waiting
        kept = [entry for entry in line if not entry.over]
        for entry in line:
            if entry.over:
                self.waiting -= entry.rows
                self._gone(entry)
        line.clear()
        line.extend(kept)
        if not line:
            del self._lines[key]
        return kept[:WINDOW]

    def _gone(self, entry: Ticket) -> None:
        """Count a caller who left; one who was told an error was counted then."""
        if entry.error is None:
            self._recorder.failed("cancelled", monotonic() - entry.arrived)

    def _take(self, key: Key, line: deque[Ticket], waiting: list[Ticket], take: Take) -> list[Ticket]:
        end = take.skip + take.count
        if not 0 < end <= len(waiting) or take.skip < 0 or take.count < 0:
            raise ValueError(f"{take} is not possible with {len(waiting)} requests waiting")
        cap = self.policy.cap if len(self._lines) > 1 else 0  # asked now: it may raise
        for _ in range(end):
            line.popleft()
        if not line:
            del self._lines[key]
        taken = 0
        for entry in waiting[:end]:
            taken += entry.rows
        self.waiting -= taken
        for entry in waiting[: take.skip]:
            self._fail(entry, DeadlineExceeded(self._late(entry)))
        chosen = waiting[take.skip : end]
        if self._lines and chosen and end == len(waiting):
            self._fill(key, chosen, cap)
        return chosen

    def _fill(self, key: Key, chosen: list[Ticket], cap: int) -> None:
        """Give the room left in a batch to less urgent requests that fit it."""
        room = cap - sum(entry.rows for entry in chosen)
        for other in sorted(other for other in self._lines if other[1:] == key[1:] and other != key):
            line = self._lines[other]
            while line and line[0].rows <= room:
                entry = line.popleft()
                self.waiting -= entry.rows
                if entry.over:
                    self._gone(entry)
                else:
                    room -= entry.rows
                    chosen.append(entry)
            if not line:
                del self._lines[other]

    def _late(self, entry: Ticket) -> str:
        allowed = (entry.deadline - entry.arrived) * 1e3
        return f"model {self._model!r} could not answer within {allowed:.1f} ms; the request was not run"

    def _break(self, error: Exception) -> PolicyFailed:
        """A policy that raises must leave nobody hanging; what they are told."""
        log.error("the batch policy of model %r failed", self._model, exc_info=error)
        self.broken = error
        told = PolicyFailed(f"the batch policy of model {self._model!r} failed: {error}")
        self._fail_all(told)
        return told

    def _fail_all(self, error: PenstockError) -> None:
        """Everybody who waits gets this for an answer."""
        entries = [*self._again, *(entry for line in self._lines.values() for entry in line)]
        self._again.clear()
        self._lines.clear()
        self.waiting = 0
        for entry in entries:
            self._fail(entry, error)
        self._look_drained()

    def _wake_at(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if until < inf:
            self._timer = self._loop.call_later(max(0.0, until - monotonic()), self._pump)

    # -- running them --------------------------------------------------------------------------

    def _start(self, entries: list[Ticket]) -> None:
        started = monotonic()
        if self._crew is not None:
            self._crew.start(entries, started)
            return
        parts = [entry.request.inputs for entry in entries]
        sizes = [entry.rows for entry in entries]
        ran = batch.run(self._session, parts, sizes, entries[0].request.outputs)
        self._learn(entries, ran)
        self._answer(entries, started, ran)

    def _finished(self, entries: list[Ticket], started: float, ran: batch.Ran) -> None:
        if ran.lost is None:
            self._learn(entries, ran)
            self._pump()  # first, so that the instance computes while these answers are written
            self._answer(entries, started, ran)
        else:
            self._answer(entries, started, ran)
            self._pump()

    def _answer(self, entries: list[Ticket], started: float, ran: batch.Ran) -> None:
        size = _rows(entries)
        now = monotonic()
        model, version, seconds = self._model, self._version, ran.seconds
        queued: list[float] = []
        totals: list[float] = []
        for entry, answer in zip(entries, ran.answers, strict=True):
            if isinstance(answer, PenstockError):
                self._refuse(entry, answer)
            elif entry.over:
                self._recorder.failed("cancelled", now - entry.arrived)
            else:
                wait = started - entry.arrived
                queued.append(wait)
                totals.append(now - entry.arrived)
                entry.answer(Reply(model, version, answer, Timing(wait, seconds, size)))
        if queued:
            self._recorder.served(size, ran.seconds, queued, totals)

    def _refuse(self, entry: Ticket, error: PenstockError) -> None:
        """An error as the answer, or another try where the fault may have been another's."""
        if not isinstance(error, InstanceLost):
            self._fail(entry, error)
            return
        entry.lost += 1
        if entry.over:
            self._gone(entry)
        elif entry.lost < TRIES:
            self._again.append(entry)
            self.waiting += entry.rows
        else:
            told = (
                f"the process of model {self._model!r} ended {TRIES} times while it ran this request: {error}"
            )
            self._fail(entry, InstanceLost(told))

    def _suspect(self) -> list[Ticket]:
        """The next request that runs alone; empty if its caller has gone."""
        entry = self._again.popleft()
        self.waiting -= entry.rows
        if entry.over:
            self._gone(entry)
            return []
        return [entry]

    def _crew_changed(self) -> None:
        """An instance died, or is back."""
        assert self._crew is not None  # noqa: S101 - it is what calls
        resting = self._crew.resting
        self._shut = self._closing or bool(resting)
        if resting:
            self._fail_all(Quarantined(f"model {self._model!r} is {resting}"))
        self._pump()

    def _learn(self, entries: list[Ticket], ran: batch.Ran) -> None:
        if not ran.whole:
            return
        try:
            self.policy.learn(_rows(entries), ran.seconds)
        except Exception as error:  # noqa: BLE001 - a policy may be the user's own
            self._break(error)

    def _fail(self, entry: Ticket, error: PenstockError) -> None:
        if not entry.over:
            entry.fail(error)
            self._recorder.failed(reason(error), monotonic() - entry.arrived)

    # -- ending --------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Answer whoever's deadline has passed, queued or running; called a few times a second."""
        for line in (self._again, *self._lines.values()):
            for entry in line:
                if entry.deadline <= now:
                    self._fail(entry, DeadlineExceeded(self._late(entry)))
        if self._crew is None:
            return
        for entry in self._crew.entries():
            if entry.deadline <= now:
                self._fail(
                    entry, DeadlineExceeded(f"model {self._model!r} is still running past the deadline")
                )
        self._crew.expire(now)

    async def drain(self) -> None:
        """Refuse newcomers and return when everybody who was accepted is answered."""
        self._closing = self._shut = True
        if not self.idle:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self) -> None:
        """End the threads; after ``drain``."""
        if self._crew is not None:
            self._crew.close()

    @property
    def _busy(self) -> bool:
        return self._crew is not None and self._crew.busy

    def _look_drained(self) -> None:
        if self._drained and not self._drained.done() and self.idle:
            self._drained.set_result(None)

    # -- what is told of it ----------------------------------------------------------------------

    @property
    def cap(self) -> int:
        return self.policy.cap

    @property
    def idle(self) -> bool:
        return not (self._lines or self._again or self._busy)

    @property
    def restarts(self) -> int:
        return self._crew.restarts if self._crew is not None else 0

    @property
    def trouble(self) -> str:
        """Why nobody can be answered at present; empty while all is well."""
        if self.broken is not None:
            return f"the batch policy failed: {self.broken}"
        return self._crew.resting if self._crew is not None else ""


def _rows(entries: list[Ticket]) -> int:
    rows = 0
    for entry in entries:
        rows += entry.rows
    return rows
