"""One request's way through a pipeline: steps begin as their values come, by calls alone, without a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from time import monotonic

import numpy as np
from msgspec import Struct

from penstock.core.account import Account
from penstock.core.errors import EngineFailed, ModelNotReady, NotFound, PenstockError, ShuttingDown
from penstock.core.ports import Handler
from penstock.core.tensors import Array
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, StepTiming, Timing
from penstock.serving.pipeline import condition
from penstock.serving.pipeline.plan import Node, Plan

log = logging.getLogger("penstock.pipeline")

_BROKE = "the server failed on this request; its log says how"


class Course(Struct, frozen=True, eq=False):
    """What all runs of one pipeline share."""

    model: str
    version: str
    plan: Plan
    handler: Handler
    serving: Callable[[str, str], str]
    """The version of a model (and version, if one is named) that would answer now; empty if none."""
    ended: "Callable[[Run, Reply | None, PenstockError | None], None]"
    """Told once of each run, before its caller is; of neither where the caller has gone."""


class Run:
    """Answers its ticket exactly once; ``start`` it, and ``end`` it when nobody waits any more."""

    __slots__ = (
        "_course",
        "_lacking",
        "_missing",
        "_over",
        "_running",
        "_steps",
        "_values",
        "_wanted",
        "account",
        "ticket",
    )

    def __init__(self, ticket: Ticket, course: Course, account: Account) -> None:
        """``account`` is charged for what the steps use."""
        self.ticket = ticket
        self.account = account
        self._course = course
        plan = course.plan
        self._values: list[Array | None] = [None] * plan.values
        self._missing = list(plan.missing)
        self._running: dict[int, Ticket | asyncio.Future[Reply]] = {}
        self._steps: list[StepTiming] = []
        self._over = False
        asked = ticket.request.outputs
        self._wanted = plan.wanted(asked) if asked else None
        """The nodes that must run; None for all."""
        gives = [value for name, value in plan.gives if not asked or name in asked]
        self._lacking = {value for value in gives if plan.writers[value] >= 0}
        """The outputs that are not there yet."""

    def start(self) -> None:
        """Begin what can begin; the ticket may be answered at once."""
        plan = self._course.plan
        try:
            for value, spec in enumerate(plan.signature.inputs):
                self._values[value] = self.ticket.request.inputs[spec.name]
            if not self._lacking:
                self._finish()
            for at in plan.first:
                self._begin(at)
        except Exception as error:  # noqa: BLE001 - answered and logged
            self._break(error)

    # -- one step --------------------------------------------------------------------------------

    def _begin(self, at: int) -> None:
        if self._over or (self._wanted is not None and at not in self._wanted):
            return
        node = self._course.plan.nodes[at]
        chosen: Array | None = None
        """The rows that the step is for; None for all."""
        if node.test is not None:
            try:
                chosen, skipped = self._choose(node)
            except ValueError as error:
                self._fail(node, EngineFailed(f"when: {error}"))
                return
            if skipped:
                self._pass(node)
                return
        self._ask(at, node, chosen)

    def _choose(self, node: Node) -> tuple[Array | None, bool]:
        """Those rows for which the condition holds (None: all), and whether there are none."""
        rows = {}
        for name, value, has_rows in node.asks:
            array = self._there(value)
            count = len(array) if has_rows else 1
            rows[name] = array.reshape(count, array.size // count if count else 0)
        truths = condition.holds(node.test, rows)  # type: ignore[arg-type]  # it has one
        if not truths.any():
            return None, True
        if truths.all() or not node.by_row:
            return None, False
        return np.flatnonzero(truths), False

    def _pass(self, node: Node) -> None:
        """Nobody needs the step: what was there before it stays."""
        for write in node.writes:
            self._values[write.value] = self._values[write.over]
        self._tell(node)

    def _ask(self, at: int, node: Node, chosen: Array | None) -> None:
        whole = self.ticket.request
        inputs = {name: self._there(value) for name, value in node.reads}
        if chosen is not None:
            inputs = {name: array[chosen] for name, array in inputs.items()}
        request = Request(
            model=node.step.model,
            inputs=inputs,
            version=node.step.version,
            id=whole.id,
            deadline=self.ticket.deadline,
            priority=whole.priority if whole.priority <= node.max_priority else 0,
            tags=whole.tags,
            account=self.account,
        )
        began = monotonic() - self.ticket.arrived
        try:
            answer = self._course.handler(request)
        except PenstockError as error:
            self._fail(node, error)
            return
        if not isinstance(answer, Ticket):
            self._follow(at, answer, chosen, began)
        elif answer.over:
            self._answered(at, chosen, began, answer)
        else:
            self._running[at] = answer
            answer.then = partial(self._answered, at, chosen, began)

    def _follow(self, at: int, answer: Awaitable[Reply], chosen: Array | None, began: float) -> None:
        """The same for what is no ticket."""
        task = asyncio.ensure_future(answer)
        self._running[at] = task
        task.add_done_callback(partial(self._done, at, chosen, began))

    def _done(self, at: int, chosen: Array | None, began: float, task: "asyncio.Future[Reply]") -> None:
        if task.cancelled():
            self._heard(at, chosen, began, None, ShuttingDown("the request was given up"))
            return
        error = task.exception()
        if error is None or isinstance(error, PenstockError):
            self._heard(at, chosen, began, None if error else task.result(), error)
        else:
            self._break(error)

    def _answered(self, at: int, chosen: Array | None, began: float, ticket: Ticket) -> None:
        self._heard(at, chosen, began, ticket.reply, ticket.error)

    def _heard(
        self, at: int, chosen: Array | None, began: float, reply: Reply | None, error: PenstockError | None
    ) -> None:
        self._running.pop(at, None)
        if self._over:
            return
        if self.ticket.over:  # the caller has gone, and nothing more need be asked
            self.end()
            return
        node = self._course.plan.nodes[at]
        try:
            if reply is None:
                self._fail(node, error or PenstockError("there was no answer"))
            else:
                self._note(node, began, reply)
                self._keep(node, chosen, reply)
        except PenstockError as refused:
            self._fail(node, refused)
        except Exception as odd:  # noqa: BLE001 - answered and logged
            self._break(odd)

    def _note(self, node: Node, began: float, reply: Reply) -> None:
        took = monotonic() - self.ticket.arrived - began
        rows = next((len(array) for array in reply.outputs.values() if array.ndim), 1) if node.rows else 1
        self._steps.append(
            StepTiming(node.step.name, reply.model, reply.version, rows, began, took, reply.timing)
        )

    def _keep(self, node: Node, chosen: Array | None, reply: Reply) -> None:
        for write in node.writes:
            array = reply.outputs.get(write.output)
            if array is None:
                raise EngineFailed(f"it gave no output {write.output!r}")
            self._values[write.value] = (
                array if chosen is None else self._laid_over(write.over, chosen, array)
            )
        self._tell(node)

    def _laid_over(self, value: int, chosen: Array, array: Array) -> Array:
        below = self._there(value)
        if below.shape[1:] != array.shape[1:] or len(array) != len(chosen):
            raise EngineFailed(
                f"it gave {list(array.shape)} for {len(chosen)} rows of {list(below.shape)}, "
                "whose other sizes must be the same"
            )
        merged = below.copy()
        merged[chosen] = array
        return merged

    def _there(self, value: int) -> Array:
        array = self._values[value]
        assert array is not None  # noqa: S101 - a step begins when what it needs is there
        return array

    def _tell(self, node: Node) -> None:
        """A node's values have come: begin what waited for them, or answer."""
        plan = self._course.plan
        ready: list[int] = []
        for write in node.writes:
            for at in plan.readers[write.value]:
                self._missing[at] -= 1
                if not self._missing[at]:
                    ready.append(at)
            self._lacking.discard(write.value)
        if not self._lacking:
            self._finish()
            return
        for at in ready:
            self._begin(at)

    # -- the end ---------------------------------------------------------------------------------

    def _finish(self) -> None:
        course, ticket = self._course, self.ticket
        asked = ticket.request.outputs
        outputs = {
            name: self._there(value) for name, value in course.plan.gives if not asked or name in asked
        }
        total = monotonic() - ticket.arrived
        ran = 0.0
        cpu = gpu = 0.0
        for step in self._steps:
            ran += step.timing.ran
            cpu += step.timing.cpu
            gpu += step.timing.gpu
        timing = Timing(idle(self._steps, total), ran, ticket.rows, cpu, gpu, tuple(self._steps))
        reply = Reply(course.model, course.version, outputs, timing)
        self._stop()
        course.ended(self, reply, None)
        ticket.answer(reply)

    def _fail(self, node: Node, error: PenstockError) -> None:
        """An error of a step: of its own class, with the step's name."""
        version = self._course.serving(node.step.model, node.step.version)
        who = f"step {node.step.name!r} (model {node.step.model!r}{version and f' version {version!r}'})"
        self.fail(_renamed(error, f"{who}: {error}"))

    def _break(self, error: BaseException) -> None:
        log.error("pipeline %s failed unexpectedly", self._course.model, exc_info=error)
        self.fail(PenstockError(_BROKE))

    def fail(self, error: PenstockError) -> None:
        """Give an error as the answer, and give up what runs."""
        if self._over:
            return
        self._stop()
        gone = self.ticket.over
        self._course.ended(self, None, None if gone else error)
        self.ticket.fail(error)

    def end(self) -> None:
        """The caller has gone: give up what runs."""
        if not self._over:
            self._stop()
            self._course.ended(self, None, None)

    def unanswered(self) -> list[str]:
        """Steps that run."""
        return [self._course.plan.nodes[at].step.name for at in self._running]

    def _stop(self) -> None:
        self._over = True
        for step in self._running.values():
            step.cancel()
        self._running.clear()


def idle(steps: Sequence[StepTiming], total: float) -> float:
    """Seconds of ``total`` in which no step ran: all waited, or the pipeline itself was at work."""
    busy, until = 0.0, 0.0
    for begin, end in sorted((step.began + step.timing.queued, step.began + step.took) for step in steps):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return max(0.0, total - busy)


def _renamed(error: PenstockError, text: str) -> PenstockError:
    """The same error in other words; a model that a pipeline lacks is not the caller's mistake."""
    if isinstance(error, NotFound):
        return ModelNotReady(text)
    told = copy(error)
    told.args = (text,)
    told.__cause__ = error
    return told
