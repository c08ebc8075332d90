"""The instances of one version: which are free, what runs on them, and those that died and come back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from msgspec import Struct

from penstock.core.errors import InstanceLost, one_line
from penstock.core.ports import Mishap, NullRecorder, Session
from penstock.core.ticket import Ticket
from penstock.scheduling import batch, restart
from penstock.scheduling.batch import Ran
from penstock.scheduling.instance import Instance

log = logging.getLogger("penstock.crew")

Done = Callable[[list[Ticket], float, Ran], None]
"""Told of a batch: its requests, when it began (monotonic seconds), and what came of it."""


class Running(Struct, frozen=True, eq=False):
    """A batch that an instance runs now."""

    instance: Instance
    entries: list[Ticket]
    started: float


class Crew:
    """Lives on the event loop; ``changed`` is called when an instance died, or came back."""

    def __init__(
        self,
        name: str,
        sessions: Sequence[Session],
        hang: float,
        done: Done,
        changed: Callable[[], None],
        happened: Callable[[Mishap, str], None] | None = None,
    ) -> None:
        """``hang``: seconds after which a process is ended when nobody waits for its batch any more.

        ``happened`` hears what became of processes, as ``core.ports.Recorder`` does.
        """
        self.name = name
        self.restarts = 0
        self._loop = asyncio.get_running_loop()
        self._hang = hang
        self._done = done
        self._changed = changed
        self._happened = happened or NullRecorder().happened
        self._number = count()
        self._all: list[Instance] = []
        self._idle: list[Instance] = []
        self._running: list[Running] = []
        self._down: set[Instance] = set()
        self._leaving: dict[Instance, asyncio.Future[Session]] = {}
        """Those that run their last batch, and who waits for their sessions."""
        self._watched: dict[Instance, int] = {}
        self._why = ""
        self._closed = False
        for session in sessions:
            self._join(session)

    def _join(self, session: Session) -> None:
        instance = Instance(session, f"{self.name}-{next(self._number)}", self._loop)
        self._all.append(instance)
        self._idle.append(instance)
        self._watch(instance)

    @property
    def size(self) -> int:
        """Instances that stay, be they up or down."""
        return len(self._all) - len(self._leaving)

    @property
    def free(self) -> bool:
        return bool(self._idle)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def resting(self) -> str:
        """Why no instance is left and none will be back soon; empty otherwise."""
        if len(self._down) < len(self._all):
            return ""
        ends = min(instance.ends for instance in self._all)
        if not restart.resting(ends):
            return ""
        return (
            f"quarantined: its processes ended {ends} times in a row, last because {self._why}; "
            f"the next start is in {restart.delay(ends):.0f} s or less"
        )

    def grow(self, session: Session) -> None:
        """One more instance, which takes batches from now on."""
        self._join(session)
        self._changed()

    async def shrink(self) -> Session:
        """One instance less: the session of one that has answered what it ran, to be closed.

        Never the last one. Those that are down go first, then those that are idle.
        """
        going = [each for each in self._all if each not in self._leaving]
        if len(going) < 2:
            raise ValueError(f"{self.name}: the last instance cannot be taken away")
        # The one that came last, so that long-lived ones keep what they have cached.
        instance = max(reversed(going), key=lambda each: (each in self._down, each in self._idle))
        left: asyncio.Future[Session] = self._loop.create_future()
        self._leaving[instance] = left
        if instance in self._idle or instance in self._down:
            self._leave(instance)
        return await left

    def _leave(self, instance: Instance) -> None:
        self._unwatch(instance)
        self._all.remove(instance)
        self._down.discard(instance)
        if instance in self._idle:
            self._idle.remove(instance)
        instance.close()
        left = self._leaving.pop(instance)
        if not left.done():
            left.set_result(instance.session)

    def start(self, entries: list[Ticket], started: float) -> None:
        """Run a batch on a free instance."""
        instance = self._idle.pop()
        running = Running(instance, entries, started)
        self._running.append(running)
        instance.submit(
            partial(
                batch.run,
                instance.session,
                [entry.request.inputs for entry in entries],
                [entry.rows for entry in entries],
                entries[0].request.outputs,
            ),
            partial(self._finished, running),
        )

    def _finished(self, running: Running, ran: Ran) -> None:
        self._running.remove(running)
        instance = running.instance
        lost = ran.lost
        left = instance in self._leaving
        if left:
            self._leave(instance)
            lost = None
        elif lost is None:
            instance.ends = 0
            if instance.mortal is None or instance in self._watched:
                self._idle.append(instance)
            else:
                lost = InstanceLost("it ended as it answered")
        self._done(running.entries, running.started, ran)
        if lost is not None:  # after its requests are back in the queue, or a drain would miss them
            self._ended(instance, lost)
        elif left:  # those that remain may all be down
            self._changed()

    def expire(self, now: float) -> None:
        """Answers nobody; ends processes that hang."""
        for running in self._running:
            over = now - running.started > self._hang and all(entry.over for entry in running.entries)
            if over and running.instance.mortal is not None:
                log.error("%s: a batch ran for over %.1f s; its process is ended", self.name, self._hang)
                running.instance.mortal.kill()

    def entries(self) -> list[Ticket]:
        """Every request that runs now."""
        return [entry for running in self._running for entry in running.entries]

    # -- those that died -------------------------------------------------------------------------

    def _watch(self, instance: Instance) -> None:
        if instance.mortal is not None:
            self._watched[instance] = instance.mortal.sentinel
            self._loop.add_reader(instance.mortal.sentinel, self._died, instance)

    def _unwatch(self, instance: Instance) -> None:
        """Before its descriptor is closed, whose number the system then gives to another."""
        sentinel = self._watched.pop(instance, None)
        if sentinel is not None:
            self._loop.remove_reader(sentinel)

    def _died(self, instance: Instance) -> None:
        self._unwatch(instance)
        if instance.mortal is not None:
            instance.mortal.kill()  # what it forked ends as well, and a run of it fails
        if instance in self._idle:
            self._idle.remove(instance)
            self._ended(instance, InstanceLost("it ended while it was idle"))

    def _ended(self, instance: Instance, why: InstanceLost) -> None:
        self._unwatch(instance)
        if self._closed or instance not in self._all:
            return
        rested = bool(self.resting)
        instance.ends += 1
        self._down.add(instance)
        wait = restart.delay(instance.ends)
        when = f"in {wait:g} s" if wait else "at once"
        log.error("%s: a process ended: %s; it is started again %s", self.name, why, when)
        self._why = str(why)
        if not rested:  # else it was told, and goes on like this for as long as nobody helps
            self._happened("ended", f"{why}; it is started again {when}")
            if self.resting:
                self._happened("quarantined", self.resting)
        self._loop.call_later(wait, self._begin, instance)
        self._changed()

    def _begin(self, instance: Instance) -> None:
        if self._closed or instance not in self._all:
            return
        self.restarts += 1
        assert instance.mortal is not None  # noqa: S101 - only those end
        instance.submit(partial(_restart, instance.mortal.restart), partial(self._begun, instance))

    def _begun(self, instance: Instance, error: Exception | None) -> None:
        if self._closed or instance not in self._all:
            return
        if error is not None:
            self._ended(instance, InstanceLost(f"it would not start again: {one_line(error)}"))
            return
        log.info("%s: a process is back", self.name)
        self._happened("restarted", "")
        self._down.discard(instance)
        self._idle.append(instance)
        self._watch(instance)
        self._changed()

    def close(self) -> None:
        """End the threads, without waiting for what they do."""
        self._closed = True
        for instance in self._all:
            self._unwatch(instance)
            instance.close()


def _restart(begin: Callable[[], None]) -> Exception | None:
    try:
        begin()
    except Exception as error:  # noqa: BLE001 - whatever a framework raises; the next try may be better
        return error
    return None
