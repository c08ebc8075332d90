"""One version's queue: requests in, batches formed by a policy, answers back to their callers.

A ticket carries its own way home, so a caller who goes takes nothing with him.
Everything here runs on the event loop; only ``batch.run`` may run in the thread of an instance.
"""

import asyncio
import logging
from collections.abc import Sequence
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
from penstock.core.ports import BatchPolicy, NullRecorder, Recorder, Session
from penstock.core.spec import ModelSpec
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing
from penstock.scheduling import batch
from penstock.scheduling.crew import Crew
from penstock.scheduling.lines import Key, Lines

log = logging.getLogger("penstock.scheduler")

TRIES = 3
"""Times that a request may be running when its process dies; the last of them is its answer."""


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
        self.arrived = 0
        """Rows that were asked for, refused ones too."""
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
        self._cores, self._gpus = held(sessions[0])
        self._lines = Lines(self._gone, self._give_up)
        hang = spec.instances.hang_s
        self._crew = (
            None
            if inline
            else Crew(
                f"{spec.name} {version}",
                sessions,
                hang,
                self._finished,
                self._crew_changed,
                self._recorder.happened,
            )
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
        self.arrived += size
        deadline = now + self._timeout
        if request.deadline < deadline:
            deadline = request.deadline
        entry = Ticket(request, size, now, deadline)
        urgency = request.priority
        waiting = self._lines.rows
        if (
            self._shut
            or waiting + size > self._max_rows
            or urgency
            or deadline <= now
            # The door has a say only once a whole batch waits: until then the queue decides as well.
            or (waiting >= self.policy.cap and not self._admitted(entry, now))
        ):
            self._admit(entry, now)
        key: Key = self._usual
        if urgency or request.outputs:
            key = (urgency or self._default_priority, request.outputs)
        if self._varied:
            key += tuple(sorted((name, array.shape[1:]) for name, array in request.inputs.items()))
        self._lines.add(key, entry)
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
        while self._lines and (crew is None or crew.free):
            chosen = self._form()
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
        """The next batch; empty if only late or absent ones were dropped; None if all lines wait."""
        try:
            formed = self._lines.form(self.policy)
        except Exception as error:  # noqa: BLE001 - a policy may be the user's own
            self._break(error)
            return []
        if isinstance(formed, list):
            return formed
        self._wake_at(formed)
        return None

    def _gone(self, entry: Ticket) -> None:
        """Count a caller who left; one who was told an error was counted then."""
        if entry.error is None:
            self._recorder.failed("cancelled", monotonic() - entry.arrived)

    def _give_up(self, entry: Ticket) -> None:
        self._fail(entry, DeadlineExceeded(self._late(entry)))

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
        for entry in self._lines.clear():
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
        cpu, gpu = seconds * self._cores / size, seconds * self._gpus / size
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
                rows = entry.rows
                timing = Timing(wait, seconds, size, cpu * rows, gpu * rows)
                entry.answer(Reply(model, version, answer, timing))
        if queued:
            self._recorder.served(size, ran.seconds, queued, totals)
        if ran.lost is not None:  # the others run again, or were never run to an end
            entries = [entry for entry in entries if entry.reply is not None]
        if entries:
            self._recorder.charge(entries, started, cpu, gpu)

    def _refuse(self, entry: Ticket, error: PenstockError) -> None:
        """An error as the answer, or another try where the fault may have been another's."""
        if not isinstance(error, InstanceLost):
            self._fail(entry, error)
            return
        entry.lost += 1
        if entry.over:
            self._gone(entry)
        elif entry.lost < TRIES:
            self._lines.add_alone(entry)  # it may be the one that kills
        else:
            told = (
                f"the process of model {self._model!r} ended {TRIES} times while it ran this request: {error}"
            )
            self._fail(entry, InstanceLost(told))

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

    # -- how many instances --------------------------------------------------------------------

    @property
    def instances(self) -> int:
        """Batches that may run at once; those that are being started again count."""
        return self._crew.size if self._crew is not None else 1

    def grow(self, session: Session) -> None:
        """One more instance, with a session of its own or a share in one; not where batches run inline."""
        assert self._crew is not None  # noqa: S101 - asked for where there are threads
        self._crew.grow(session)

    async def shrink(self) -> Session:
        """One instance less, never the last: a session to be closed, which has answered what it ran."""
        assert self._crew is not None  # noqa: S101 - asked for where there are threads
        return await self._crew.shrink()

    # -- ending --------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Answer whoever's deadline has passed, queued or running; called a few times a second."""
        for entry in list(self._lines):  # whoever is told may ask again at once
            if entry.deadline <= now:
                self._give_up(entry)
        self._lines.sweep()  # no instance may come free for long, and they are in the way of others
        self._look_drained()
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
    def waiting(self) -> int:
        """Rows in the queue."""
        return self._lines.rows

    @property
    def cap(self) -> int:
        return self.policy.cap

    @property
    def idle(self) -> bool:
        return not (self._lines or self._busy)

    @property
    def restarts(self) -> int:
        return self._crew.restarts if self._crew is not None else 0

    @property
    def trouble(self) -> str:
        """Why nobody can be answered at present; empty while all is well."""
        if self.broken is not None:
            return f"the batch policy failed: {self.broken}"
        return self._crew.resting if self._crew is not None else ""


def held(session: Session) -> tuple[int, int]:
    """Cores and GPUs that one run keeps busy; what runs on a GPU has one core to drive it."""
    if getattr(session, "device", "cpu").startswith("cpu"):  # a user's own may lack it
        return max(1, session.threads), 0
    return 1, 1


def _rows(entries: list[Ticket]) -> int:
    rows = 0
    for entry in entries:
        rows += entry.rows
    return rows
