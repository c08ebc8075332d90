"""The actor: a session on a node of the cluster, which runs the batches that its server sends."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import perf_counter

from msgspec import Struct

from penstock import __version__
from penstock.cluster.ray import cabinet, parts
from penstock.cluster.ray.parcel import Manifest, Piece
from penstock.core import machine
from penstock.core.errors import LoadFailed, PenstockError
from penstock.core.importing import find
from penstock.core.ports import Engine, Session
from penstock.core.spec import ModelSpec
from penstock.engines import ENGINES
from penstock.workers.child import checked, prefer_as_victim, refused
from penstock.workers.messages import Opened, Refused


class Call(Struct, frozen=True):
    """What a server says of itself, and of where it has the model."""

    version: str
    """Of Penstock."""
    node: str
    """Where the server is, and may read the files itself; empty where that cannot be told."""
    path: str
    """Of what the engine opens, there."""


class Welcome(Struct, frozen=True):
    """Where the instance is, and whether it can read the files where the server has them."""

    address: str
    here: bool


class Loaded(Struct, frozen=True):
    """The model is there."""

    opened: Opened
    resident: int


class Answer(Struct, frozen=True):
    """What came of a batch, and the seconds that it ran."""

    outputs: parts.Laden
    seconds: float


class Host:
    """Several threads take calls, and the model has one of its own: as in ``workers``, whatever it keeps
    for a thread is there at every run, and while it runs ``ended`` is answered by others.

    No method but the constructor raises: what went wrong is an answer.
    """

    def __init__(self) -> None:
        prefer_as_victim()
        self._over = Event()
        self._own = ThreadPoolExecutor(1, "model")
        self._session: Session | None = None
        self._drawer: cabinet.Drawer | None = None
        self._path = Path()

    def greet(self, call: Call) -> Welcome | Refused:
        """The first word: there was a node with room."""
        import ray

        if call.version != __version__:
            told = (
                f"the node has Penstock {__version__} and the server {call.version}; install the same there"
            )
            return refused(LoadFailed(told))
        self._path = Path(call.path)
        here = ray.get_runtime_context().get_node_id() == call.node and self._path.exists()
        return Welcome(ray.util.get_node_ip_address(), here)

    def lacks(self, manifest: Manifest) -> bool | Refused:
        """Whether the files must be sent; blocks while another instance on this node is sent the same."""
        try:
            self._drawer = cabinet.Drawer(cabinet.usual(), manifest)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return refused(error)
        self._path = self._drawer.target
        return self._drawer.missing

    def take(self, pieces: tuple[Piece, ...]) -> Refused | None:
        """The next bytes of the model's files."""
        try:
            assert self._drawer is not None  # noqa: S101 - it said that they were missing
            self._drawer.add(pieces)
        except Exception as error:  # noqa: BLE001 - as above
            return refused(error)
        return None

    def open(self, engine: str, spec: ModelSpec, path: tuple[str, ...]) -> Loaded | Refused:
        """Load the model, all of whose files are there; ``path`` is the server's ``sys.path``."""
        return self._own.submit(self._open, engine, spec, path).result()

    def _open(self, engine: str, spec: ModelSpec, path: tuple[str, ...]) -> Loaded | Refused:
        try:
            if self._drawer is not None and self._drawer.missing:
                self._drawer.finish()
            sys.path += [each for each in path if each not in sys.path]
            made: Engine = find(engine, ENGINES, "engine")()
            self._session = session = made.open(spec, self._path)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a framework raises
            return refused(error)
        opened = Opened(
            session.signature,
            session.platform,
            getattr(session, "device", "cpu"),
            session.threads,
            getattr(session, "concurrency", 0),
        )
        return Loaded(opened, machine.resident(os.getpid()))

    def run(self, laden: parts.Laden, outputs: tuple[str, ...]) -> Answer | Refused:
        """A batch, whose tensors are views of the node's store."""
        return self._own.submit(self._run, laden, outputs).result()

    def _run(self, laden: parts.Laden, outputs: tuple[str, ...]) -> Answer | Refused:
        try:
            assert self._session is not None  # noqa: S101 - it was opened before
            inputs = parts.unload(laden)
            begun = perf_counter()
            found = self._session.run(inputs, outputs)
            seconds = perf_counter() - begun
            arrays = {name: checked(name, array) for name, array in found.items()}
            return Answer(parts.load([arrays]) if arrays else {}, seconds)
        except PenstockError as error:
            return refused(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            return refused(error)

    def ended(self) -> None:
        """Never answers: whoever asked is told that this process has gone."""
        self._over.wait()

    def close(self) -> None:
        """The session gives back what it holds."""
        session, self._session = self._session, None
        try:
            if session is not None:
                self._own.submit(session.close).result()
        finally:
            if self._drawer is not None:
                self._drawer.close()
