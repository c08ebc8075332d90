"""Rollouts on a real server under load: the good come in, the bad go out, and no caller notices."""

import http.client
import itertools
import json
import time
from threading import Event, Thread

import numpy as np
import pytest

from tests.e2e.digit_nets import CRASHING, IMAGES, INFINITE, LABELS, net
from tests.e2e.process import serving, until

QUICK = {"plan": "canary", "steps": [50], "hold_s": 0.5, "differ": 0.01}


class Caller(Thread):
    """One kept-alive connection that asks for digit after digit; every answer that is none is a failure."""

    numbers = itertools.count()

    def __init__(self, port, stop, *, tell=False, path="/v2/models/digits/infer", headers=None, pause=0.0):
        """``tell``: send the true label of each as feedback."""
        super().__init__(daemon=True)
        self.failures: list[str] = []
        self.versions: list[tuple[float, str]] = []
        self.right: dict[str, list[bool]] = {}
        self._stop_it, self._tell, self._path, self._headers = stop, tell, path, headers or {}
        self._pause = pause
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
        self._connection.close()

    def _ask(self, number):
        at = (number * 17) % len(IMAGES)
        key = f"{number}"
        tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": IMAGES[at].tolist()}
        answer = self._post(self._path, {"id": key, "inputs": [tensor]})
        version = answer["model_version"]
        self.versions.append((time.time(), version))
        best = int(np.argmax(answer["outputs"][0]["data"]))
        self.right.setdefault(version, []).append(best == int(LABELS[at]))
        if self._tell:
            self._post("/v1/feedback", {"id": key, "outcome": int(LABELS[at])})

    def _post(self, path, body):
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {text[:300]!r}")
        return json.loads(text)


class Load:
    """Callers for as long as a block runs."""

    def __init__(self, server, count=3, **more):
        self._stop = Event()
        self.callers = [Caller(server.http_port, self._stop, **more) for _ in range(count)]

    def __enter__(self):
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for caller in self.callers:
            caller.join(60)

    @property
    def failures(self):
        return [failure for caller in self.callers for failure in caller.failures]

    def answered(self, version):
        """When, in seconds since the epoch, in order."""
        return sorted(at for caller in self.callers for at, each in caller.versions if each == version)


@pytest.fixture
def house(tmp_path):
    """A model of digits whose version 1 serves, and a place for more."""
    return House(tmp_path / "models", tmp_path / "state")


class House:
    def __init__(self, folder, state):
        self.folder, self.state = folder, state
        self.settings('versions = ["1"]\n')
        self.put("1", net(64))

    def settings(self, text):
        (self.folder / "digits").mkdir(parents=True, exist_ok=True)
        (self.folder / "digits" / "model.toml").write_text(text)

    def put(self, version, content, name="model.onnx"):
        (self.folder / "digits" / version).mkdir()
        data = content if isinstance(content, bytes) else content.encode()
        (self.folder / "digits" / version / name).write_bytes(data)

    def serving(self, **settings):
        told = {"watch_poll_s": 0.1, "watch_settle_s": 0.1, "meter_file": self.state / "books.db"}
        self.state.mkdir(exist_ok=True)
        return serving(self.folder, **(told | settings))


def start(server, version, **terms):
    answer = server.post("/penstock/rollouts/digits", json={"version": version} | QUICK | terms)
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(server):
    return server.get("/penstock/rollouts/digits").json()


def ended(server, seconds=60.0):
    return until(lambda: (now := status(server)).get("ended") and now, "the rollout's end", seconds, 0.05)


def live(server):
    states = server.get("/penstock/models").json()["models"]
    return {each["version"]: each["state"] for each in states if each["name"] == "digits"}


def guard(found, name):
    return next(each for each in found["guards"] if each["name"] == name)


def test_an_honest_better_version_comes_in_by_its_own_merits(house):
    """Eight hidden units get one in ten digits wrong, 64 one in twenty; callers' feedback tells."""
    house.settings('versions = ["2"]\n')
    house.put("2", net(8))
    with house.serving() as server, Load(server, tell=True) as load:
        start(server, "1", differ=0.4, guards={"accuracy": 1.1}, why="more units")
        found = ended(server)
        assert found["phase"] == "promoted", found["says"]
        until(lambda: live(server).get("2") in (None, "UNAVAILABLE"), "the old version to go")
        assert until(lambda: load.answered("1")[-1] > found["ended"], "an answer of the new version")
    assert load.failures == []
    assert max(load.answered("2")) < found["ended"] + 1.0
    assert guard(found, "accuracy")["effect"] < 1.0
    assert [each["verdict"] for each in found["guards"] if each.get("target")] == ["pass"] * sum(
        "target" in each for each in found["guards"]
    )


@pytest.mark.parametrize(
    ("content", "name", "guards"),
    [
        (net(64, slow=120), "model.onnx", ("p50", "p95", "p99")),
        (net(64, odd=32), "model.onnx", ("answers",)),
        (CRASHING, "model.py", ("crash",)),
        (INFINITE, "model.py", ("non-finite",)),
        ("no model", "model.onnx", ("load",)),
    ],
    ids=["slow", "subtly wrong", "crashing", "not finite", "broken"],
)
def test_a_bad_version_is_taken_back_and_no_caller_notices(house, content, name, guards):
    house.put("2", content, name)
    with house.serving() as server, Load(server) as load:
        start(server, "2", mirror=0.5)
        found = ended(server)
        assert found["phase"] == "rolled-back", found["says"]
        told = server.get("/penstock/rollouts/digits/history").json()["changes"]
        assert told[0]["by"] in [f"guard {each}" for each in guards], told[0]
        before = len(load.answered("1"))
        until(lambda: len(load.answered("1")) > before + 100, "answers of the old version")
        bad = server.get("/penstock/rollouts").json()["bad"]
    assert load.failures == []
    assert not [at for at in load.answered("2") if at > found["ended"] + 1.0]
    assert [(each["version"], each["why"]) for each in bad] == [("2", told[0]["why"])]
