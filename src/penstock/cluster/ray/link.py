"""The connection to a Ray cluster, made and ended in a thread of its own."""

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any

from penstock.core import machine
from penstock.core.errors import BadSetting, one_line

CLIENT = "ray://"
AUTH = "RAY_AUTH_MODE"
"""Read by Ray; for an address that is named, it asks for no token by itself."""
log = logging.getLogger("penstock.cluster")

_FOREVER = str(10 * 365 * 24 * 3600)
_ENDING = 10.0


def load() -> Any:
    """Ray, imported such that it calls nobody and leaves our log and our last words alone.

    Raises BadSetting that says how to install it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    excepthook, factory = sys.excepthook, logging.getLogRecordFactory()
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise BadSetting(f"the installed Ray cannot be imported: {one_line(error)}") from error
        raise BadSetting("cluster.address needs Ray: pip install 'penstock[ray]'") from None
    except Exception as error:
        raise BadSetting(f"the installed Ray cannot be imported: {one_line(error)}") from error
    sys.excepthook = excepthook
    logging.setLogRecordFactory(factory)
    own = logging.getLogger("ray")
    own.handlers.clear()
    own.propagate = True
    own.setLevel(logging.ERROR)  # it would warn that it was kept from setting signal handlers
    return ray


@contextmanager
def stops_left_alone() -> Iterator[None]:
    """What SIGTERM and SIGINT do stays as it is, though libraries set handlers that Python does not know.

    Ray's would print a stack for each, as if the process had crashed.
    """
    libc = ctypes.CDLL(None)
    kept = {number: ctypes.create_string_buffer(256) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, action in kept.items():  # struct sigaction, which is smaller everywhere
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)


class Link:
    """``open`` blocks until the cluster is joined; ``close`` leaves it, and ends one that was started here.

    All of it happens in one thread, which lives as long as the connection: Linux ends the processes of a
    cluster that was started here together with the thread that started them.
    """

    def __init__(self, address: str, patience: float) -> None:
        """``patience``: seconds that joining may take."""
        self.address = address
        self.ray: Any = None
        self.node = ""
        """The cluster's name for the machine that we are on; empty where it does not know us."""
        self._patience = patience
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def open(self) -> None:
        """Raises BadSetting with what is wrong, and what would be right."""
        if self._thread is not None:
            return
        log.info("joining the Ray cluster: %s", self.address)
        knock(self.address, self._patience)
        self._thread = Thread(target=self._work, args=(self._jobs,), name="ray", daemon=True)
        self._thread.start()
        try:
            self.call(self._join).result(self._patience)
        except TimeoutError:
            self._give_up()
            raise BadSetting(
                f"the Ray cluster at cluster.address, {self.address!r}, did not let us in within "
                f"cluster.connect_s, {self._patience:g} s; is its head well?"
            ) from None
        except BaseException as error:
            self._give_up()
            if isinstance(error, BadSetting):
                raise
            raise BadSetting(explained(self.address, error)) from error

    def _give_up(self) -> None:
        """The thread ends when it can: nobody can tell Ray to stop what it does in it."""
        self._jobs.put(None)
        self._jobs, self._thread = SimpleQueue(), None

    def _join(self) -> None:
        ray = load()
        arguments: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self.address == "local":
            arguments |= {"include_dashboard": False, "num_cpus": len(machine.cores())}
        elif not self.address.startswith(CLIENT):
            # Without it Ray ends our process when the head has not answered for a minute. A cluster that is
            # started here would inherit it, and its helpers never end.
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _FOREVER)
        with stops_left_alone():
            ray.init(self.address, **arguments)
        if not self.address.startswith(CLIENT):
            self.node = ray.get_runtime_context().get_node_id()
        self.ray = ray

    def call(self, job: Callable[[], Any]) -> "Future[Any]":
        """Have it done in the link's thread."""
        done: Future[Any] = Future()

        def doing() -> None:
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001 - told to whoever asked
                done.set_exception(error)

        self._jobs.put(doing)
        return done

    def _work(self, jobs: "SimpleQueue[Callable[[], object] | None]") -> None:
        while (job := jobs.get()) is not None:
            job()

    def close(self) -> None:
        """Every instance that is left ends; blocks for some seconds at most."""
        if self._thread is None:
            return
        try:
            self.call(self.ray.shutdown).result(_ENDING)
        except TimeoutError:  # its head is gone
            return
        self._jobs.put(None)
        self._thread.join(_ENDING)
        self._thread = None


def knock(address: str, patience: float) -> None:
    """Raises BadSetting where nobody listens, which Ray itself would find out only after long."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), patience).close()
    except OSError as error:
        why = "it did not answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        usual = "10001, the client server's" if address.startswith(CLIENT) else "6379, the head's"
        raise BadSetting(
            f"no Ray cluster at cluster.address, {address!r}: {why}; the port is usually {usual}"
        ) from None


def explained(address: str, error: BaseException) -> str:
    """What Ray says of a cluster that cannot be joined, led by what can be done about it."""
    said = one_line(error)
    where = f"the Ray cluster at cluster.address, {address!r},"
    if "ersion mismatch" in said or "different versions" in said:
        return f"{where} runs another Ray or Python than this server; they must be the same: {said}"
    if address == "auto" and isinstance(error, ConnectionError):
        return f"cluster.address is 'auto', and no Ray runs on this machine; start one, or name it: {said}"
    if isinstance(error, ConnectionError) and not os.environ.get(AUTH):
        said += f"; one that asks for a token is joined with {AUTH}=token and the token in ~/.ray/auth_token"
    return f"{where} cannot be joined: {said}"
