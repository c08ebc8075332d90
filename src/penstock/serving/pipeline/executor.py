"""A pipeline as what answers for a version: it lets requests in, and sees each through to its end."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from penstock.core.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotReady,
    Overloaded,
    PenstockError,
    reason,
)
from penstock.core.ports import Handler, Recorder
from penstock.core.spec import ModelSpec
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request
from penstock.serving.pipeline.plan import Part, Plan
from penstock.serving.pipeline.run import Course, Run

Serving = Callable[[str, str], str]


class Pipeline:
    """An ``Executor``; its steps go through ``handler``, each to be batched by its own model."""

    cap = 0
    restarts = 0

    def __init__(
        self,
        spec: ModelSpec,
        version: str,
        plan: Plan,
        parts: Sequence[Part],
        handler: Handler,
        serving: Serving,
        recorder: Recorder,
    ) -> None:
        """``serving(model, version)``: the version that would answer now, empty if there is none."""
        self.plan = plan
        self.parts = parts
        """What the plan was made for."""
        self.waiting = 0
        """Rows in flight."""
        self._model, self._version = spec.name, version
        self._max_rows = spec.queue.max_rows
        self._max_priority = spec.queue.max_priority
        self._timeout = (spec.target.p99_ms or spec.queue.timeout_ms) / 1e3
        self._recorder = recorder
        self._serving = serving
        self._course = Course(spec.name, version, plan, handler, serving, self._ended)
        self._runs: set[Run] = set()
        self._closing = False
        self._drained: asyncio.Future[None] | None = None

    def __call__(self, request: Request, /) -> Ticket:
        now = monotonic()
        rows = len(next(iter(request.inputs.values()))) if self.plan.rows else 1
        ticket = Ticket(request, rows, now, min(request.deadline, now + self._timeout))
        error = self._objection(ticket, now)
        if error is not None:
            self._recorder.failed(reason(error), 0.0)
            raise error
        account = request.account or self._recorder.account(request.tags.get("tenant", ""))
        run = Run(ticket, self._course, account)
        self._runs.add(run)
        self.waiting += rows
        run.start()
        return ticket

    def _objection(self, ticket: Ticket, now: float) -> PenstockError | None:
        if self._closing:
            return ModelNotReady(f"model {self._model!r} version {self._version!r} is being unloaded")
        if not 0 <= ticket.request.priority <= self._max_priority:
            return InvalidRequest(
                f"priority {ticket.request.priority} is not known; model {self._model!r} has "
                f"1 (most urgent) to {self._max_priority}, and 0 for its default"
            )
        if self.waiting and self.waiting + ticket.rows > self._max_rows:
            return Overloaded(
                f"pipeline {self._model!r} is full ({self.waiting} of {self._max_rows} rows are in it); "
                "try again later"
            )
        if ticket.deadline <= now:
            return DeadlineExceeded("the deadline had passed before the request arrived")
        return None

    def _ended(self, run: Run, reply: Reply | None, error: PenstockError | None) -> None:
        """Before the caller is told, so that what he does next finds room."""
        self._runs.discard(run)
        ticket = run.ticket
        self.waiting -= ticket.rows
        seconds = monotonic() - ticket.arrived
        if error is not None:
            self._recorder.failed(reason(error), seconds)
        elif reply is None or ticket.over:
            self._recorder.failed("cancelled", seconds)
        else:
            timing = reply.timing
            if ticket.request.account is None:
                run.account.queries += 1
            else:
                self._recorder.stepped()
            self._recorder.served(ticket.rows, timing.ran, (timing.queued,), (seconds,))
        if self._drained is not None and not self._runs and not self._drained.done():
            self._drained.set_result(None)

    def expire(self, now: float) -> None:
        """Answer whoever's deadline has passed, and give up the steps of callers who have gone."""
        for run in [run for run in self._runs if run.ticket.over or run.ticket.deadline <= now]:
            if run.ticket.over:
                run.end()
            else:
                run.fail(DeadlineExceeded(self._late(run)))

    def _late(self, run: Run) -> str:
        allowed = (run.ticket.deadline - run.ticket.arrived) * 1e3
        steps = ", ".join(repr(name) for name in run.unanswered())
        return f"pipeline {self._model!r} could not answer within {allowed:.1f} ms; it waits for step {steps}"

    async def drain(self) -> None:
        """Refuse newcomers and return when everybody who was accepted is answered."""
        self._closing = True
        if self._runs:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def close(self) -> None:
        """Nothing is its own."""

    @property
    def idle(self) -> bool:
        """Nobody is on the way."""
        return not self._runs

    @property
    def trouble(self) -> str:
        """The first step that every request needs and whose model does not serve."""
        for node in self.plan.nodes:
            step = node.step
            if node.test is None and not self._serving(step.model, step.version):
                return f"step {step.name!r} needs model {step.model!r}, which is not serving"
        return ""
