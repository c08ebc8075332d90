"""The bare floor: the least a Python server can do for an inference request, and no more.

An asyncio.Protocol on uvloop with httptools and orjson that batches whatever one turn of the loop
has read into one ONNX Runtime call.
No checks, no limits, no errors, no metrics, one model: it is here to be measured against.
"""

import argparse
import asyncio
from typing import Any

import httptools
import numpy as np
import onnxruntime as ort
import orjson
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_BINARY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
    b"inference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n"
)
_LENGTH = b"inference-header-content-length"


class Batcher:
    """Everything read in one turn of the loop, in one run."""

    def __init__(self, session: ort.InferenceSession, name: str) -> None:
        self._session = session
        self._name = name
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._waiting: list[tuple[Any, Floor, bool]] = []
        self._loop = asyncio.get_running_loop()

    def add(self, array: Any, connection: "Floor", binary: bool) -> None:
        if not self._waiting:
            self._loop.call_soon(self._run)
        self._waiting.append((array, connection, binary))

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        feed = waiting[0][0] if len(waiting) == 1 else np.concatenate([item[0] for item in waiting])
        result = self._session.run([self._output], {self._input: feed})[0]
        at = 0
        for array, connection, binary in waiting:
            end = at + len(array)
            connection.answer(result[at:end], self._output, self._name, binary)
            at = end


class Floor(asyncio.Protocol):
    """One connection."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._header = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = []
        self._header = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 31 and name.lower() == _LENGTH:
            self._header = int(value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if not body:  # a readiness probe
            self._transport.write(_HEAD % 2 + b"{}")
            return
        size = self._header
        tensor = orjson.loads(body[:size] if size else body)["inputs"][0]
        if size:
            array = np.frombuffer(body, np.float32, offset=size).reshape(tensor["shape"])
        else:
            array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        self._batcher.add(array, self, bool(size))

    def answer(self, array: Any, output: str, model: str, binary: bool) -> None:
        tensor: dict[str, Any] = {"name": output, "datatype": "FP32", "shape": array.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
        else:
            tensor["data"] = array.ravel()
        body = orjson.dumps({"model_name": model, "outputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
        if binary:
            raw = array.tobytes()
            self._transport.write(_BINARY % (len(body), len(body) + len(raw)) + body + raw)
        else:
            self._transport.write(_HEAD % len(body) + body)


async def serve(path: str, port: int) -> None:
    """Until cancelled."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batcher = Batcher(session, "tiny")
    server = await asyncio.get_running_loop().create_server(lambda: Floor(batcher), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    uvloop.run(serve(given.model, given.port))
