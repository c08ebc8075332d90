"""The HTTP door on a loop of its own in a thread, and a plain socket that speaks to it."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import uvloop
from starlette.routing import Route

from penstock.core.errors import EngineFailed, Overloaded, UnknownModel, UnknownVersion
from penstock.core.spec import Batching, ModelSpec, Signature, TensorSpec
from penstock.core.ticket import Ticket
from penstock.core.types import BatchTally, ModelState, Reply, Request, Statistics, Tally, Tensors, Timing
from penstock.doors.admin import make_app
from penstock.doors.auth import Keys
from penstock.doors.http import HttpDoor, Limits

ECHO = ModelState(
    name="echo",
    version="2",
    state="READY",
    live=True,
    platform="echo",
    spec=ModelSpec(name="echo", engine="echo", batching=Batching(max_rows=16)),
    signature=Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),)),
    batched=True,
    instances=1,
    threads=1,
)
BROKEN = ModelState(name="broken", version="1", state="UNAVAILABLE", reason="no file", spec=ModelSpec())
TIMING = Timing(0.001, 0.002, 4)


class TwoModels:
    """One that serves and one that could not be loaded."""

    def __init__(self) -> None:
        self.ready = True
        self.memory_limit = 0
        self.now = {"broken": BROKEN, "echo": ECHO}
        self.calls: list[tuple[Any, ...]] = []
        self.raises: Exception | None = None
        self.gate: asyncio.Event | None = None

    def state(self, model: str, version: str = "") -> ModelState:
        if self.raises is not None:
            raise self.raises
        if model not in self.now:
            raise UnknownModel(f"no model {model!r}; have {', '.join(self.now)}")
        if version not in ("", self.now[model].version):
            raise UnknownVersion(f"model {model!r} has no version {version!r}")
        return self.now[model]

    async def samples(self, model: str, version: str = "") -> list[Tensors]:
        self.state(model, version)
        return [{"x": np.ones((2, 3), np.float32)}, {"x": np.zeros((1, 4), np.float32)}]

    async def describe(self, model: str, version: str = "") -> ModelState:
        return self.state(model, version)

    def states(self) -> list[ModelState]:
        return list(self.now.values())

    def statistics(self, model: str = "", version: str = "") -> list[Statistics]:
        self.state(model or "echo", version)
        return [
            Statistics(
                name="echo", version="2", last_inference_ms=5, inference_count=8, execution_count=2,
                success=Tally(3, 1000), fail=Tally(1, 50), queue=Tally(3, 100), compute=Tally(3, 900),
                batches=(BatchTally(4, Tally(2, 900)),), p50_ms=1.5, p99_ms=2.5,
            )
        ]  # fmt: skip

    async def load(self, model: str, parameters: Mapping[str, Any] | None = None) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.state(model)
        self.calls.append(("load", model, parameters))

    async def unload(self, model: str) -> None:
        self.state(model)
        self.calls.append(("unload", model))


class EchoHandler:
    """Answers with its input under the name ``y`` (others keep theirs).

    The model ``slow`` waits for ``release``, ``failing`` raises what a model may raise, ``odd`` what
    only a bug raises, ``full`` refuses, ``big`` answers 16 MiB, ``raising`` raises ``raises``.
    ``ticket`` answers by a Ticket, ``early`` by one that is answered already.
    """

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self.seen: list[Request] = []
        self.raises: Exception | None = None

    def __call__(self, request: Request) -> Any:
        self.seen.append(request)
        if request.model in ("ticket", "early"):
            ticket = Ticket(request, 1, 0.0)
            if request.model == "early":
                ticket.answer(self._reply(request))
            else:
                asyncio.get_running_loop().call_soon(ticket.answer, self._reply(request))
            return ticket
        if request.model == "raising" and self.raises is not None:
            raise self.raises
        return self._answer(request)

    async def _answer(self, request: Request) -> Reply:
        match request.model:
            case "slow":
                await self._wait()
            case "failing":
                raise EngineFailed("the model raised ValueError: no")
            case "odd":
                raise KeyError("a bug")
            case "full":
                raise Overloaded("the queue is full; try again later", retry_after=2.0)
            case "big":
                y = np.zeros(1 << 22, np.float32)
                return Reply("big", "1", {"y": y}, TIMING)
            case "nan":
                return Reply("nan", "1", {"y": np.array([np.nan], np.float32)}, TIMING)
        return self._reply(request)

    async def _wait(self) -> None:
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def _reply(self, request: Request) -> Reply:
        outputs = {"y" if name == "x" else name: array for name, array in request.inputs.items()}
        return Reply(request.model, request.version or "2", outputs, TIMING)


class Answer:
    """One HTTP answer, read by its length or its chunks."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.raw = raw

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence; KeyError or worse where the body is no V2 error object."""
        found = self.json
        assert list(found) == ["error"], found
        assert isinstance(found["error"], str)
        assert found["error"]
        return found["error"]

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class Caller:
    """A blocking client socket."""

    def __init__(
        self,
        port: int,
        timeout: float = 5.0,
        receive_buffer: int = 0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust is not None:
            self.socket = trust.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.buffer = b""

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"the server closed after {self.buffer!r}")
        self.buffer += data

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer; raises EOFError where the server closed instead."""
        status_line = self._line()
        raw = status_line + b"\r\n"
        headers: dict[str, str] = {}
        while line := self._line():
            raw += line + b"\r\n"
            name, _, value = line.decode("latin-1").partition(": ")
            assert name not in headers, f"{name} twice"
            headers[name] = value
        raw += b"\r\n"
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        status = int(status_line[9:12])
        body = b""
        if status >= 200 and not head_only:
            body = self._chunked() if "transfer-encoding" in headers else self._plain(headers)
        return Answer(status, headers, body, raw + body)

    def _plain(self, headers: Mapping[str, str]) -> bytes:
        return self._exactly(int(headers["content-length"]))

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            assert self._line() == b""
        assert self._line() == b""
        return body

    def ask(self, data: bytes, **how: bool) -> Answer:
        self.send(data)
        return self.answer(**how)

    def everything(self) -> bytes:
        """All that comes until the server closes; raises TimeoutError if it does not."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(1 << 16):
                self.buffer += data
        found, self.buffer = self.buffer, b""
        return found

    def closed(self) -> bool:
        """Whether the server closes now, having said nothing more."""
        return self.everything() == b""


async def metrics(accept):
    return b"metrics for " + accept.encode(), "text/plain"


class House:
    """A running door; ``handler`` and ``models`` are what it speaks to."""

    def __init__(
        self,
        limits: Limits,
        keys: Keys,
        tls: ssl.SSLContext | None,
        tenant_header: str = "",
        extra: Sequence[Route] = (),
    ) -> None:
        self._tls = tls
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.models = TwoModels()
        self.handler = EchoHandler()
        self.door = HttpDoor(
            self.handler,
            make_app(self.models, metrics, extra),
            lambda model, version: self.models.state(model, version).signature,
            keys,
            limits,
            tenant_header=tenant_header,
        )

    def start(self) -> None:
        self._thread.start()
        self.port = self.run(self.door.start("127.0.0.1", 0, self._tls))

    def stop(self) -> None:
        self.run(self.door.drain(0.0, 0.2))
        self.run(asyncio.sleep(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Any) -> Any:
        """The result of a coroutine on the door's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a plain call on the door's loop."""

        async def work() -> Any:
            return function(*arguments)

        return self.run(work())

    def turn(self) -> None:
        """Let the loop read what was sent, by itself."""
        for _ in range(2):
            self.call(lambda: None)

    def caller(self, **options: Any) -> Caller:
        return Caller(self.port, **options)

    def connections(self) -> int:
        return int(self.call(lambda: len(self.door._connections)))

    def look(self, later: float = 0.0) -> None:
        """Have the door look for slow connections as if it were so many seconds later."""
        now = time.monotonic() + later
        self.call(lambda: [connection.check(now) for connection in list(self.door._connections)])


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what another thread does; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def house(
    keys: Mapping[str, Any] | None = None,
    tls: ssl.SSLContext | None = None,
    tenant_header: str = "",
    extra: Sequence[Route] = (),
    **limits: Any,
) -> Iterator[House]:
    """A door with these limits, these roles by key hash and these more routes, until the block ends."""
    made = House(Limits(**limits), Keys(keys or {}), tls, tenant_header, extra)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def tensor(x: Any, name: str = "x", datatype: str = "FP32") -> dict[str, Any]:
    array = np.asarray(x)
    return {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()}


def body(x: Any = ((1.0, 2.0),), **fields: Any) -> bytes:
    """A JSON inference body."""
    return orjson.dumps({"inputs": [tensor(x)], **fields})


def http(method: str, url: str, content: bytes = b"", headers: str = "", version: str = "1.1") -> bytes:
    """A request with a length; ``headers`` are whole lines."""
    lines = f"{method} {url} HTTP/{version}\r\nHost: test\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
    return lines.encode("latin-1") + content


def get(url: str, headers: str = "") -> bytes:
    return f"GET {url} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode("latin-1")


def infer(model: str = "echo", x: Any = ((1.0, 2.0),), headers: str = "", **fields: Any) -> bytes:
    """A whole inference request."""
    return http("POST", f"/v2/models/{model}/infer", body(x, **fields), headers)


def data(answer: Answer) -> list[Any]:
    """The first output's values; fails where the answer is an error."""
    assert answer.status == 200, answer
    return answer.json["outputs"][0]["data"]
