"""Requests to a peer: one that is checked against ONNX Runtime itself, and many from wrk."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.peer_recipe import HERE, PeerFailedError
from benchmarks.peer_server import LOAD_CORE, Server

_START_S = 90.0
_CALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw: latencies in microseconds."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    non_2xx: int
    socket_errors: int

    @property
    def errors(self) -> int:
        """Answers and connections that failed."""
        return self.non_2xx + self.socket_errors


class Question:
    """One row for a model, its body in both forms, and the answer that ONNX Runtime itself gives."""

    def __init__(self, model: Path, work: Path) -> None:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        shape = [1, *session.get_inputs()[0].shape[1:]]
        row = np.random.default_rng(7).random(shape).round(3).astype(np.float32)
        self._expected: NDArray[np.float32] = np.asarray(session.run(None, {"x": row})[0])
        self._files = {"plain": work / "plain.json", "v2": work / "v2.json"}
        data = [round(float(value), 3) for value in row.ravel()]
        v2 = {"id": "1", "inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}]}
        plain = {"x": np.asarray(data).reshape(shape).tolist()}
        self._files["plain"].write_text(json.dumps(plain))
        self._files["v2"].write_text(json.dumps(v2))

    def body(self, form: str) -> Path:
        """The file that holds the body: ``plain`` (``{"x": [[…]]}``) or ``v2``."""
        return self._files[form]

    def check(self, answer: httpx.Response) -> None:
        """Raise PeerFailedError unless the answer holds the expected numbers."""
        if answer.status_code != 200:
            raise PeerFailedError(f"answered {answer.status_code}: {answer.text[:200]}")
        try:
            body = answer.json()
            numbers = list(_numbers(body["outputs"][0]["data"] if "outputs" in body else body))
        except (ValueError, TypeError, LookupError) as error:
            raise PeerFailedError(f"answered something else than numbers: {answer.text[:200]}") from error
        if len(numbers) != self._expected.size or not np.allclose(
            numbers, self._expected.ravel(), 1e-3, 1e-5
        ):
            raise PeerFailedError(
                f"answered {numbers[:4]}…, where ONNX Runtime says {self._expected[0, :4]}…"
            )


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in nested lists and objects, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    else:
        yield float(value)


def wait_until_ready(server: Server, question: Question) -> None:
    """Block until the server is ready and its first answer is right, or raise PeerFailedError."""
    deadline = time.monotonic() + _START_S
    while not _answers(server):
        if server.ended:
            raise PeerFailedError(f"ended at its start; {server.last_words()}")
        if time.monotonic() > deadline:
            raise PeerFailedError(f"not ready after {_START_S:.0f} s; {server.last_words()}")
        time.sleep(0.02)
    ask(server, question)


def _client() -> httpx.Client:
    """Straight to loopback, whatever proxies the environment names."""
    return httpx.Client(trust_env=False, timeout=_CALL_S)


def _answers(server: Server) -> bool:
    try:
        with _client() as client:
            return client.get(server.base + server.peer.ready).status_code == 200
    except httpx.TransportError:
        return False


def ask(server: Server, question: Question) -> None:
    """One request; raises PeerFailedError unless it is answered rightly."""
    body = question.body(server.peer.request).read_bytes()
    kind = {"content-type": "application/json"}
    try:
        with _client() as client:
            answer = client.post(server.base + server.peer.path, content=body, headers=kind)
    except httpx.TransportError as error:
        raise PeerFailedError(f"gave no answer: {error!r}; {server.last_words()}") from error
    question.check(answer)


def wrk(server: Server, question: Question, connections: int, seconds: int) -> Load:
    """A closed loop of so many connections, from a core of its own; raises PeerFailedError if wrk fails."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(HERE / "post.lua")]
    body = {"BODY_FILE": str(question.body(server.peer.request))}
    done = subprocess.run(
        [*command, server.base + server.peer.path],
        env=os.environ | body,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PeerFailedError(f"wrk ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
