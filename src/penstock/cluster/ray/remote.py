"""A session in an actor of a Ray cluster: batches go there and come back through its object store."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from statistics import median
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

from penstock import __version__
from penstock.cluster.ray import parts
from penstock.cluster.ray.demand import asks, has, new
from penstock.cluster.ray.host import Answer, Call, Loaded, Welcome
from penstock.cluster.ray.link import CLIENT, Link
from penstock.cluster.ray.parcel import Parcel
from penstock.cluster.ray.sentinel import Sentinel
from penstock.core import resources
from penstock.core.errors import InstanceLost, LoadFailed, one_line
from penstock.core.ports import Restartable
from penstock.core.spec import ModelSpec, Signature
from penstock.core.types import Tensors
from penstock.workers.messages import Refused
from penstock.workers.warming import warm
from penstock.workers.worker import error_of, import_path

log = logging.getLogger("penstock.cluster")

RECENT = 3
"""Runs by which it is judged whether they are worth their way: as many as the last size was measured with."""
_MESSAGE = 1 << 20
"""Bytes of a batch above which Ray's client is to send it apart from the call."""
_ENDING = 5.0
_FIRST_WORD, _NEXT_WORD = 10.0, 30.0
"""Seconds after which the log says that an instance waits for a node, and says so again."""


class Remote:
    """A ``core.ports.Apart`` session; one run at a time.

    The actor belongs to this server and ends with it, however that ends.
    """

    signature: Signature
    platform: str
    device: str
    threads: int
    concurrency: int
    sentinel: int
    elsewhere = True
    """What it takes is not this machine's."""

    def __init__(
        self,
        link: Link,
        engine: str,
        spec: ModelSpec,
        parcel: Parcel,
        path: str,
        name: str,
        begun: Callable[[Restartable], object],
    ) -> None:
        """Waits for a node with room, has the files sent there and the model loaded; blocks.

        Raises LoadFailed or BadSetting, at the latest after ``instances.start_s``.
        """
        self._link = link
        self._engine = engine
        self._spec = spec
        self._parcel = parcel
        self._name = name
        self._asks = asks(spec)
        self._call = Call(__version__, link.node, path)
        self.warm_up: Callable[[Restartable], object] | None = None
        """Called with this session after each restart, before it takes requests."""
        self._runs: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._closed = False
        self._listens = False
        """Whether the actor has a session that can be asked to close."""
        self._ending = Lock()
        self._running = Lock()
        self._actor: Any = None
        self._sentinel = Sentinel()
        self.sentinel = self._sentinel.fd
        self._start(begun)

    # -- its life --------------------------------------------------------------------------------

    def _start(self, begun: Callable[[Restartable], object] | None = None) -> None:
        until = monotonic() + self._spec.instances.start_s
        try:
            self._actor = actor = new(self._link.ray, self._asks, self._spec.instances.threads or 1)
            if begun is not None:
                begun(self)
            welcome = self._placed(actor, until)
            if not welcome.here and self._answer(actor.lacks.remote(self._parcel.manifest), until):
                self._send(actor, until)
            asked = actor.open.remote(self._engine, self._spec, import_path())
            loaded = self._answer(asked, until)
            assert isinstance(loaded, Loaded)  # noqa: S101 - the only other answer
        except BaseException as error:
            self._end()
            if isinstance(error, InstanceLost):
                raise LoadFailed(f"the actor that loads it ended: {error}") from None
            raise
        self._listens = True
        opened = loaded.opened
        self.signature = opened.signature
        self.platform = opened.platform
        self.device = f"{opened.device} (node {welcome.address})"
        self.threads = opened.threads
        self.concurrency = opened.concurrency
        self._resident = loaded.resident
        self._watch(actor)

    def _placed(self, actor: Any, until: float) -> Welcome:
        """Its first word, which comes when there is a node with room for it."""
        ray, asked = self._link.ray, actor.greet.remote(self._call)
        pause = _FIRST_WORD
        while not ray.wait([asked], timeout=max(0.0, min(pause, until - monotonic())))[0]:
            waits = f"waits for a node with {resources.words(self._asks)}: {has(ray)}"
            if monotonic() >= until:
                limit = self._spec.instances.start_s
                raise LoadFailed(f"an instance {waits}; none came within instances.start_s, {limit:g} s")
            log.warning("%s %s", self._name, waits)
            pause = _NEXT_WORD
        welcome = self._answer(asked, until)
        assert isinstance(welcome, Welcome)  # noqa: S101 - the only other answer
        return welcome

    def _send(self, actor: Any, until: float) -> None:
        """The model's files, of which the store holds two chunks at a time: one is read, one written."""
        begun = monotonic()
        going = None
        for pieces in self._parcel.pieces():
            chunk = self._link.ray.put(pieces)
            if going is not None:
                self._answer(going, until)
            going = actor.take.remote(chunk)
        self._answer(going, until)
        size = self._parcel.manifest.size / 2**20
        log.info("%s: %.1f MiB of files sent in %.2f s", self._name, size, monotonic() - begun)

    def _watch(self, actor: Any) -> None:
        sentinel = Sentinel()
        self._sentinel.close()
        self._sentinel = sentinel
        self.sentinel = sentinel.fd
        actor.ended.remote().future().add_done_callback(sentinel.tell)

    def restart(self) -> None:
        """Another actor, on whichever node has room, with the model loaded, and warm."""
        self._end()
        if not self._closed:
            self._start()
        if self._closed:  # meanwhile, perhaps
            self._end()
            raise InstanceLost("it is closed")
        self.warm()

    def warm(self) -> None:
        """Calls ``warm_up``; an actor that is not done with it within ``start_s`` is ended."""
        warm(self, self._spec.instances.start_s)

    def keep_to(self, cores: Sequence[int]) -> None:
        """The node has given it cores; those of this machine are no business of its."""

    def kill(self) -> None:
        """Ends the actor, from any thread; a run that is going on raises."""
        self._listens = False
        actor = self._actor
        if actor is not None:
            self._link.call(lambda: self._link.ray.kill(actor))

    def close(self) -> None:
        """The session gives back what it holds, and the actor ends, in some seconds at most."""
        self._closed = True
        actor = self._actor
        if actor is not None and self._listens:
            try:
                self._link.ray.get(actor.close.remote(), timeout=_ENDING)
            except Exception as error:  # noqa: BLE001 - it goes all the same
                log.debug("%s did not close: %s", self._name, one_line(error))
        self._end()

    def _end(self) -> None:
        with self._ending:
            actor, self._actor = self._actor, None
            self._listens = False
            if actor is not None:
                ended = self._link.call(lambda: self._link.ray.kill(actor))
                wait([ended], _ENDING)
            self._sentinel.close()

    def resident(self) -> int:
        """Bytes of memory that the actor held when it had loaded the model."""
        return self._resident

    # -- its work --------------------------------------------------------------------------------

    def merge(self, pieces: Sequence[Tensors], /) -> Tensors:
        """Requests that are joined on axis 0 where they arrive, for the next run."""
        return parts.Batch(parts.load(pieces))

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Raises InstanceLost if the actor or its node ends meanwhile, and whatever the model raises."""
        if self._closed:
            raise RuntimeError("the session is closed")
        laden: parts.Laden = inputs.laden if isinstance(inputs, parts.Batch) else parts.load([inputs])
        with self._running:
            begun = perf_counter()
            answer = self._answer(self._submit(laden, tuple(outputs)))
            assert isinstance(answer, Answer)  # noqa: S101 - the only other answer
            took = perf_counter() - begun
        self._runs.append((answer.seconds, took - answer.seconds))
        return parts.unload(answer.outputs)

    def _submit(self, laden: parts.Laden, outputs: tuple[str, ...]) -> Any:
        actor = self._actor
        if actor is None:
            raise InstanceLost("it has ended")
        try:
            if self._link.address.startswith(CLIENT) and parts.size(laden) > _MESSAGE:
                laden = self._link.ray.put(laden)  # which is sent in chunks; messages are not
            return actor.run.remote(laden, outputs)
        except Exception as error:
            raise self._told(error) from error

    def _answer(self, reference: Any, until: float | None = None) -> Any:
        """What an actor says; raises InstanceLost when it cannot say any more, and its errors."""
        ray = self._link.ray
        try:
            answer = ray.get(reference, timeout=None if until is None else max(0.0, until - monotonic()))
        except ray.exceptions.GetTimeoutError:
            limit = self._spec.instances.start_s
            raise LoadFailed(f"it was not loaded after instances.start_s, {limit:.0f} s") from None
        except Exception as error:
            raise self._told(error) from error
        if isinstance(answer, Refused):
            raise error_of(answer)
        return answer

    def _told(self, error: Exception) -> Exception:
        """What a call came to: a full store, or what cannot be sent, says nothing against the actor."""
        known = self._link.ray.exceptions
        if isinstance(error, known.RayTaskError | known.ObjectStoreFullError | TypeError | ValueError):
            return RuntimeError(f"Ray cannot carry the batch: {one_line(error)}")
        return _lost(error)

    def spent(self) -> tuple[float, float]:
        """Median seconds of the last runs, and of their way there and back; zeros before the first."""
        if not self._runs:
            return 0.0, 0.0
        return median(ran for ran, _ in self._runs), median(way for _, way in self._runs)


def _lost(error: Exception) -> InstanceLost:
    """Whatever Ray says of a call that came to nothing; what a model raises comes as an answer."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("No module named 'penstock" in line for line in lines):
        return InstanceLost(f"the node lacks Penstock {__version__}; install it there, as the server has it")
    why = next((line for line in lines if line.startswith("The actor is dead because")), "")
    return InstanceLost(f"{type(error).__name__}: {why or (lines[0] if lines else '')}"[:500])
