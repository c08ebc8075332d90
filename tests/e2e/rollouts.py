"""Rollouts of a model of digits on a real server: its files, callers without a pause, and what is told."""

import http.client
import itertools
import json
import time
from threading import Event, Thread

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from penstock.rollout.words import GUARDS
from tests.e2e.digit_nets import IMAGES, LABELS, net
from tests.e2e.process import serving, until

QUICK = {"plan": "canary", "steps": [50], "hold_s": 0.5, "differ": 0.01}
BLIND = {"guards": dict.fromkeys(GUARDS, False)}
"""Without any guard but those that act at once: stages last ``hold_s``."""
COUNTS = ("stage", "weight", "answered_stable", "answered_candidate", "saved", "mirrored")
NOUGHT = dict.fromkeys(COUNTS, 0) | {"phase": "", "says": "", "guards": [], "ended": None}
INFER = "/v2/models/digits/infer"


def body(number, **more):
    """A request for one image."""
    at = (number * 17) % len(IMAGES)
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": IMAGES[at].tolist()}
    return {"id": f"{number}", "inputs": [tensor], **more}


class Caller(Thread):
    """One kept-alive connection that asks for digit after digit; every answer that is none is a failure."""

    numbers = itertools.count()

    def __init__(self, port, stop, *, tell=False, path=INFER, headers=None, pause=0.0, **more):
        """``tell``: send the true label of each as feedback; ``more``: fields of every request."""
        super().__init__(daemon=True)
        self.failures: list[str] = []
        self.versions: list[tuple[float, str]] = []
        self.right: dict[str, list[bool]] = {}
        self._stop_it, self._tell, self._path, self._headers = stop, tell, path, headers or {}
        self._pause, self._more = pause, more
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def run(self):
        for number in self.numbers:
            if self._stop_it.is_set():
                break
            try:
                self._ask(number)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            if self._pause:
                time.sleep(self._pause)

    def close(self):
        self._connection.close()

    def _ask(self, number):
        answer = self._post(self._path, body(number, **self._more))
        version = answer["model_version"]
        self.versions.append((time.time(), version))
        at = (number * 17) % len(IMAGES)
        best = int(np.argmax(answer["outputs"][0]["data"]))
        self.right.setdefault(version, []).append(best == int(LABELS[at]))
        if self._tell:
            self._post("/v1/feedback", {"id": answer["id"], "outcome": int(LABELS[at])})

    def _post(self, path, asked):
        self._connection.request("POST", path, json.dumps(asked), self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {text[:300]!r}")
        return json.loads(text)


class GrpcCaller(Caller):
    """The same over one channel."""

    def __init__(self, server, stop, pause=0.0):
        super().__init__(server.http_port, stop, pause=pause)
        self._channel = grpc.insecure_channel(server.grpc, options=[("grpc.enable_retries", 0)])
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def _ask(self, number):
        answer = self._stub.ModelInfer(message(number), timeout=60)
        self.versions.append((time.time(), answer.model_version))

    def close(self):
        self._channel.close()


def message(number=0):
    """A request for one image over gRPC."""
    asked = service_pb2.ModelInferRequest(model_name="digits")
    asked.inputs.add(name="image", datatype="FP32", shape=[1, 64])
    asked.raw_input_contents.append(IMAGES[number % len(IMAGES)].tobytes())
    return asked


class Load:
    """Callers for as long as a block runs."""

    def __init__(self, server, count=3, over_grpc=0, **more):
        self._stop = Event()
        self.callers = [Caller(server.http_port, self._stop, **more) for _ in range(count)]
        self.callers += [GrpcCaller(server, self._stop) for _ in range(over_grpc)]

    def __enter__(self):
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for caller in self.callers:
            caller.join(60)
            caller.close()

    @property
    def failures(self):
        return [failure for caller in self.callers for failure in caller.failures]

    def answered(self, version):
        """When, in seconds since the epoch, in order."""
        return sorted(at for caller in self.callers for at, each in caller.versions if each == version)


class House:
    """A model of digits whose version 1 serves, and a place for more."""

    def __init__(self, folder, state):
        self.folder, self.state = folder, state
        self.settings('versions = ["1"]\n')
        self.put("1", net(64))

    def settings(self, text):
        (self.folder / "digits").mkdir(parents=True, exist_ok=True)
        (self.folder / "digits" / "model.toml").write_text(text)

    def put(self, version, content, name="model.onnx"):
        """In one move."""
        hidden = self.folder / "digits" / ".coming"
        hidden.mkdir()
        (hidden / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        hidden.rename(self.folder / "digits" / version)

    def serving(self, *flags, **settings):
        told = {"watch_poll_s": 0.1, "watch_settle_s": 0.1, "meter_file": self.state / "books.db"}
        self.state.mkdir(exist_ok=True)
        return serving(self.folder, *flags, **(told | settings))


def begin(server, version, **terms):
    """The answer to the wish for a rollout, which need not be granted."""
    return server.post("/penstock/rollouts/digits", json={"version": version} | QUICK | terms)


def start(server, version, **terms):
    answer = begin(server, version, **terms)
    assert answer.status_code == 200, answer.text
    return answer.json()


def command(server, verb, why=""):
    answer = server.post(f"/penstock/rollouts/digits/{verb}", json={"why": why})
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(server):
    """How it stands, with what is left out of it because it is nought."""
    return NOUGHT | server.get("/penstock/rollouts/digits").json()


def reaches(server, condition, what, seconds=60.0):
    """The first status that fulfils a condition."""
    try:
        return until(lambda: condition(now := status(server)) and now, what, seconds, 0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}; {status(server)}") from None


def running(server, stage=0):
    """Once it divides requests, in this stage or a later one."""
    return reaches(server, lambda now: now["phase"] == "running" and now["stage"] >= stage, "it to run")


def ended(server, seconds=60.0):
    return reaches(server, lambda now: now["ended"], "the rollout's end", seconds)


def history(server, **query):
    """What was done, the oldest first."""
    told = server.get("/penstock/rollouts/digits/history", params=query).json()["changes"]
    return [each["what"] for each in told[::-1]]


def bad(server):
    return [each["version"] for each in server.get("/penstock/rollouts").json()["bad"]]


def states(server):
    models = server.get("/penstock/models").json()["models"]
    return {each["version"]: each["state"] for each in models if each["name"] == "digits"}


def gone(server, version):
    until(lambda: states(server).get(version) in (None, "UNAVAILABLE"), f"version {version} to go")


def guard(found, name):
    """As it stands in a status; nothing seen where it is not there yet."""
    there = (each for each in found["guards"] if each["name"] == name)
    return {"verdict": "", "seen": 0} | next(there, {})


def ask(server, number=0, **more):
    """One request; the version that answered."""
    answer = server.post(INFER, json=body(number, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"]
