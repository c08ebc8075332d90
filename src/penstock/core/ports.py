"""The seams: what a handler, an engine, a session, a policy, a store and a recorder must be."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from penstock.core.account import Account
from penstock.core.spec import Isolation, ModelSpec, Scalar, Signature
from penstock.core.ticket import Ticket
from penstock.core.types import ModelState, Reply, Request, Statistics, Tensors, Timing


class Handler(Protocol):
    """Answers one request; may wrap another handler.

    Called on the event loop and must not block.
    Raises, or its awaitable raises, a ``PenstockError``.
    Cancelling the awaitable says that the caller has gone.
    """

    def __call__(self, request: Request, /) -> Awaitable[Reply]: ...


class Session(Protocol):
    """One loaded model on one device.

    ``run`` blocks; whoever calls owns the thread, and several threads may call at once.
    It never changes its inputs and raises whatever the framework raises.
    ``close`` gives the memory back and is called once, after the last ``run``.
    """

    signature: Signature
    platform: str
    """As V2 metadata names it."""
    device: str
    """What really runs it, ``cpu`` or e.g. ``cuda:0``; words in brackets may follow."""
    threads: int
    """Compute threads of one run."""
    concurrency: int
    """Runs that it pays to have going at once; 0 where the cores decide."""

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name; ``outputs`` empty means all of them."""
        ...

    def close(self) -> None: ...


class Restartable(Session, Protocol):
    """A session that may die alone: ``run`` then raises ``InstanceLost`` until ``restart`` returns."""

    sentinel: int
    """A file descriptor that becomes readable when it dies; another after a restart."""
    warm_up: "Callable[[Restartable], object] | None"
    """Called after each restart, before it takes requests."""

    def merge(self, parts: Sequence[Tensors], /) -> Tensors:
        """Requests joined on axis 0, where the next ``run`` needs no other copy."""
        ...

    def restart(self) -> None:
        """Bring it up again; blocks, and raises ``InstanceLost`` or ``LoadFailed`` where that fails."""
        ...

    def kill(self) -> None:
        """End it now, from any thread; a ``run`` that is going on raises."""
        ...


class Apart(Restartable, Protocol):
    """One that is a process of its own, here or on another machine."""

    def warm(self) -> None:
        """Calls ``warm_up``, and ends what is not done with it in time; blocks."""
        ...

    def resident(self) -> int:
        """Bytes of memory that it holds; 0 where that is not known."""
        ...

    def keep_to(self, cores: Sequence[int], /) -> None:
        """Use these cores of this machine only, where that is where it is; none named: as before."""
        ...


class Place(Protocol):
    """Somewhere else than this machine where instances can run: a cluster.

    Its errors are ``LoadFailed`` or ``BadSetting`` with the reason.
    """

    kind: Isolation
    """What a model's state calls it."""

    def takes(self, spec: ModelSpec, /) -> bool:
        """Whether such a model is to run there; at once."""
        ...

    def sized(self, spec: ModelSpec, /) -> ModelSpec:
        """The spec with a number of instances, and of threads for each, for nodes that are not known yet."""
        ...

    def open(
        self,
        engine: str,
        spec: ModelSpec,
        files: Path,
        version: str,
        name: str,
        begun: Callable[[Restartable], object],
        /,
    ) -> Apart:
        """One loaded instance; blocks until there is room for it, for ``instances.start_s`` at most.

        ``begun`` is called with it as soon as it can be killed.
        """
        ...

    def worth(self, session: Apart, sure: float, /) -> bool:
        """Whether the runs of a session so far took long enough for their way there and back.

        ``sure`` above 1 asks for less, below 1 for more than that they just did.
        """
        ...


class Engine(Protocol):
    """A framework. Making one is cheap: what is slow to import is imported by ``open``."""

    isolation: Isolation
    """Where its sessions run unless the model says otherwise: ``process`` for what can break the
    server or holds the GIL, ``thread`` for compiled runtimes; a user's own without it: ``process``."""

    def open(self, spec: ModelSpec, files: Path, /) -> Session:
        """``files`` is a version's folder, or the model's file itself.

        ``spec.instances`` tells how many runs there may be at once, and the threads of each.
        Blocks, and raises ``LoadFailed`` or ``BadSetting`` with the reason.
        """
        ...


class Waiting(Protocol):
    """A queued request as a policy sees it: rows, and seconds on one monotonic clock."""

    @property
    def rows(self) -> int: ...
    @property
    def arrived(self) -> float: ...
    @property
    def deadline(self) -> float: ...


class Line(Struct, frozen=True):
    """What waits now, in the order in which it would be served (never empty)."""

    now: float
    waiting: Sequence[Waiting]
    rows: int
    """All rows waiting."""


class Take(Struct, frozen=True):
    """Give up on the first ``skip`` requests (they are late), run the next ``count`` as a batch."""

    count: int
    skip: int = 0


class Wait(Struct, frozen=True):
    """Run nothing before ``until`` (monotonic seconds) unless somebody joins the line."""

    until: float


class BatchPolicy(Protocol):
    """Forms batches. Pure but for its own numbers: no clock, no I/O, nothing blocks.

    ``decide`` is asked whenever an instance is free and the line is not empty.
    ``learn`` is told of every finished run.
    ``admits`` may refuse a newcomer at the door: only what certainly cannot be met.
    """

    @property
    def cap(self) -> int:
        """The batch size, in rows, that the policy would choose under load now."""
        ...

    def decide(self, line: Line, /) -> Take | Wait: ...
    def learn(self, rows: int, seconds: float, /) -> None: ...
    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool: ...


class Executor(Protocol):
    """What answers for one version, on the event loop: a scheduler, or a pipeline of other models."""

    @property
    def waiting(self) -> int:
        """Rows that wait for their turn."""
        ...

    @property
    def idle(self) -> bool:
        """Nobody waits and nothing runs."""
        ...

    @property
    def cap(self) -> int:
        """The batch size, in rows, that would be chosen under load now; 0 where there is none."""
        ...

    @property
    def trouble(self) -> str:
        """Why nobody can be answered at present; empty while all is well."""
        ...

    @property
    def restarts(self) -> int:
        """Times that a process of it had to be started again."""
        ...

    def __call__(self, request: Request, /) -> Ticket: ...

    def expire(self, now: float, /) -> None:
        """Answer whoever's deadline (monotonic seconds) has passed; called a few times a second."""
        ...

    async def drain(self) -> None:
        """Refuse newcomers and return when everybody who was accepted is answered."""
        ...

    def close(self) -> None:
        """Let go of what ran batches; after ``drain``."""
        ...


Mishap: TypeAlias = Literal["ended", "quarantined", "restarted"]
"""Of a version's processes: one ended, none is started for a while, one is back."""


class Recorder(Protocol):
    """Hears of what happened to the requests of one version; must not block nor raise."""

    def account(self, tenant: str, /) -> Account:
        """What a tenant's requests for this version are charged to."""
        ...

    def charge(self, entries: Sequence[Ticket], started: float, cpu: float, gpu: float, /) -> None:
        """A batch ran, whatever came of it: when (monotonic seconds), and core- and GPU-seconds a row."""
        ...

    def served(self, rows: int, ran: float, queued: Sequence[float], totals: Sequence[float], /) -> None:
        """One batch was answered: its rows, run seconds, and per request queued and total seconds."""
        ...

    def stepped(self) -> None:
        """What was served was a step of a pipeline and not a batch: nobody outside had asked for it."""
        ...

    def failed(self, reason: str, seconds: float, /) -> None:
        """One request was not answered; ``reason`` as ``errors.reason`` or ``cancelled``."""
        ...

    def happened(self, what: Mishap, detail: str, /) -> None:
        """To the version itself; ``detail`` is for people."""
        ...


class NullRecorder:
    """Hears and forgets."""

    def account(self, tenant: str, /) -> Account:
        return Account()

    def charge(self, entries: Sequence[Ticket], started: float, cpu: float, gpu: float, /) -> None:
        pass

    def served(self, rows: int, ran: float, queued: Sequence[float], totals: Sequence[float], /) -> None:
        pass

    def stepped(self) -> None:
        pass

    def failed(self, reason: str, seconds: float, /) -> None:
        pass

    def happened(self, what: Mishap, detail: str, /) -> None:
        pass


class Till(Protocol):
    """What doors tell the meter and ask of it; on the event loop, at once."""

    def carried(self, reply: Reply, tags: Mapping[str, str], received: int, sent: int, /) -> None:
        """An answer was written: bytes of the request's body and of the answer's, over the wire."""
        ...

    def quote(self, timing: Timing, /) -> Mapping[str, Scalar]:
        """The response parameters that say what one answer cost; what is not known is not there."""
        ...


class NullTill:
    """Charges nobody, and cannot tell."""

    def carried(self, reply: Reply, tags: Mapping[str, str], received: int, sent: int, /) -> None:
        pass

    def quote(self, timing: Timing, /) -> Mapping[str, Scalar]:
        return {}


class Models(Protocol):
    """What doors ask of the control plane; implemented by ``serving``.

    All but ``describe``, ``samples``, ``load`` and ``unload`` answer at once from memory.
    """

    @property
    def ready(self) -> bool:
        """Every wanted model is serving, no policy is broken, and we are not shutting down."""
        ...

    @property
    def memory_limit(self) -> int:
        """Bytes that all models may take together; 0: no limit."""
        ...

    def state(self, model: str, version: str = "") -> ModelState:
        """Of that version, or of the live one; raises UnknownModel or UnknownVersion."""
        ...

    def states(self) -> Sequence[ModelState]:
        """Every version that the repository holds, sorted by name and version."""
        ...

    def statistics(self, model: str = "", version: str = "") -> Sequence[Statistics]:
        """Of what is loaded; raises UnknownModel or UnknownVersion."""
        ...

    async def describe(self, model: str, version: str = "") -> ModelState:
        """As ``state``, but a cold model that was never loaded is loaded first, so that it can tell its
        signature; raises what a request for it would.
        """
        ...

    async def samples(self, model: str, version: str = "") -> Sequence[Tensors]:
        """The inputs of the last requests that this version, or the live one, has kept.

        Requests of the same datatypes and trailing shapes are joined on axis 0.
        Raises UnknownModel or UnknownVersion, and Unsupported where its settings want none kept.
        """
        ...

    async def load(self, model: str, parameters: Mapping[str, Any] | None = None) -> None:
        """(Re)load from the repository; raises UnknownModel or LoadFailed, and what served goes on."""
        ...

    async def unload(self, model: str) -> None:
        """Drain, close and forget until loaded again; raises UnknownModel."""
        ...
