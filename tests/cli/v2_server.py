"""A small V2 server on a thread: enough of the protocol to test clients and load generators against."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httptools
import numpy as np

from penstock.core.tensors import Array, datatype_of, from_bytes, from_json, to_bytes, to_json

METADATA: dict[str, dict[str, Any]] = {
    "double": {
        "name": "double",
        "versions": ["1"],
        "platform": "test",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    },
    "two": {
        "name": "two",
        "versions": ["1"],
        "platform": "test",
        "inputs": [
            {"name": "ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "word", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [],
    },
}
"""``double`` answers y = 2 x, any other model what it was sent."""


@dataclass
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]


def ok(value: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def error(status: int, message: str) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps({"error": message}).encode()


@dataclass
class V2Server:
    """A context manager; ``seen`` holds the requests, ``routes`` overrides answers by path."""

    routes: dict[str, Answer | Callable[[Seen], Answer]] = field(default_factory=dict)
    key: str = ""
    stall: float = 0.0
    """Seconds for which everything stands still, once, after ``stall_after`` infer requests."""
    stall_after: int = 0
    close_every: int = 0
    """Answer this many requests, then close the connection without a word."""
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = field(default_factory=list)
    infers: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Transport] = set()
        factory = self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self.tls)
        self._server = self._loop.run_until_complete(factory)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        # More than once: what was being accepted just now becomes a connection only after a few turns.
        for _ in range(5):
            for transport in list(self._connections):
                transport.abort()
            await asyncio.sleep(0.005)

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return error(401, "an API key is needed")
        if (route := self.routes.get(seen.path)) is not None:
            return route(seen) if callable(route) else route
        parts = seen.path.strip("/").split("/")
        if seen.path == "/v2":
            return ok({"name": "test", "version": "1", "extensions": ["binary_tensor_data", "statistics"]})
        if parts[:2] == ["v2", "health"]:
            return ok({"live": True})
        if parts[:2] == ["v2", "models"] and parts[2] in METADATA:
            return self.model(parts[2], parts[-1], seen)
        return error(404, f"no model or path {seen.path!r}")

    def model(self, name: str, what: str, seen: Seen) -> Answer:
        if what == "infer":
            self.infers += 1
            if self.stall and self.infers == self.stall_after:
                time.sleep(self.stall)
            return infer(name, seen)
        if what == "stats":
            tally = {"count": self.infers, "ns": self.infers * 2_000_000}
            stats = {"queue": tally, "compute_infer": tally}
            row = {"name": name, "version": "1", "inference_stats": stats}
            row |= {"inference_count": self.infers * 4, "execution_count": self.infers}
            return ok({"model_stats": [row]})
        return ok(METADATA[name] if what != "ready" else {"ready": True})


def infer(name: str, seen: Seen) -> Answer:
    size = int(seen.headers.get("inference-header-content-length", len(seen.body)))
    head = json.loads(seen.body[:size])
    tensors: dict[str, Array] = {}
    for entry in head["inputs"]:
        tensor, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
        width = entry.get("parameters", {}).get("binary_data_size")
        if width is None:
            tensors[tensor] = from_json(tensor, datatype, shape, entry["data"])
        else:
            tensors[tensor] = from_bytes(tensor, datatype, shape, seen.body[size : size + width])
            size += width
    if name == "double":
        if tensors["x"].dtype != np.float32:
            return error(400, f"input 'x' must be FP32, got {datatype_of(tensors['x'].dtype)}")
        tensors = {"y": tensors["x"] * np.float32(2)}
    return reply(name, head, tensors)


def reply(name: str, head: Mapping[str, Any], tensors: Mapping[str, Array]) -> Answer:
    binary = head.get("parameters", {}).get("binary_data_output", False)
    tails: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for tensor, array in tensors.items():
        if binary:
            tails.append(bytes(to_bytes(array)))
            entry = {"name": tensor, "shape": array.shape, "datatype": datatype_of(array.dtype)}
            entry["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            entry = to_json(array, tensor)
            entry["data"] = np.asarray(entry["data"]).tolist()
        outputs.append(entry)
    parameters = {}
    if head.get("parameters", {}).get("timing"):
        parameters = {"queue_us": 100, "compute_us": 50, "batch_size": 3}
    text = json.dumps(
        {
            "model_name": name,
            "model_version": "1",
            "id": head.get("id", ""),
            "parameters": parameters,
            "outputs": outputs,
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    return 200, headers, b"".join((text, *tails))


class _Connection(asyncio.Protocol):
    def __init__(self, server: V2Server) -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.answered = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server._connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.server._connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        every = self.server.close_every
        if every and self.answered == every:
            self.transport.abort()
            return
        method = self.parser.get_method().decode()
        status, headers, body = self.server.answer(Seen(method, self.url.decode(), self.headers, self.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self.transport.write(head.encode() + body)
        self.answered += 1
