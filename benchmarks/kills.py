"""kill -9 of processes that serve MEDIUM under load: requests lost, answers wrong, and how long they took."""

import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fixtures
from benchmarks.machine import Aim, Row
from benchmarks.served import Served, serving
from penstock.client import Client

ASKERS = 8
BOTH = 0.2
"""Share of the kills that hit all instances at once, so that requests wait for a fresh one."""
SETTINGS = 'isolation = "process"\n[instances]\ncount = 2\nthreads = 1\n'


class Asker(threading.Thread):
    """Asks on one connection without a pause, one to four rows of a pool whose answers are known."""

    def __init__(self, url: str, number: int, stop: threading.Event, x: Any, y: Any) -> None:
        super().__init__(daemon=True)
        self.right = self.wrong = 0
        self.lost: list[str] = []
        self.longest = 0.0
        self._url, self._stopping = url, stop
        self._x, self._y = x, y
        self._random = np.random.default_rng(number)

    def run(self) -> None:
        with Client(self._url, timeout=120) as client:
            while not self._stopping.is_set():
                chosen = self._random.integers(0, len(self._x), self._random.integers(1, 5))
                begun = time.perf_counter()
                try:
                    y = client.infer("victim", {"x": self._x[chosen]})["y"]
                except Exception as error:
                    self.lost.append(f"{type(error).__name__}: {error}")
                else:
                    same = y.shape == self._y[chosen].shape and np.allclose(y, self._y[chosen], atol=1e-5)
                    self.right += same
                    self.wrong += not same
                self.longest = max(self.longest, time.perf_counter() - begun)


def kill(server: Served, count: int) -> int:
    """Kills so many processes, each after all have come back and worked for a moment; how many there were."""
    choice = random.Random(0)
    killed = 0
    while killed < count:
        _back(server, killed)
        time.sleep(choice.uniform(0.05, 0.3))
        pids = server.children()
        several = choice.random() < BOTH and killed + len(pids) <= count
        for pid in pids if several else [choice.choice(pids)]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    _back(server, killed)
    return killed


def _back(server: Served, killed: int) -> None:
    end = time.monotonic() + 60
    while len(server.log("a process is back")) < killed:
        if time.monotonic() > end:
            raise RuntimeError("a killed process did not come back; the server said:\n" + server.log()[-1])
        time.sleep(0.01)


def measure(count: int) -> tuple[list[Row], list[Aim]]:
    """One row, and the two aims: none lost, none wrong."""
    with tempfile.TemporaryDirectory() as folder:
        file = fixtures.write(Path(folder), "victim", "1", fixtures.medium())
        (file.parents[1] / "model.toml").write_text(SETTINGS)
        x, y = _pool(file)
        with serving(Path(folder)) as server:
            server.wait()
            stop = threading.Event()
            askers = [Asker(server.url, number, stop, x, y) for number in range(ASKERS)]
            for asker in askers:
                asker.start()
            killed = kill(server, count)
            time.sleep(0.3)
            stop.set()
            for asker in askers:
                asker.join(130)
            with Client(server.url) as client:
                restarts = sum(model["restarts"] for model in client.status())
            idle = len(server.log("ended while it was idle"))
    lost = [why for asker in askers for why in asker.lost]
    lost += ["no answer at all" for asker in askers if asker.is_alive()]
    for why in sorted(set(lost)):
        print(f"lost: {why}")
    wrong = sum(asker.wrong for asker in askers)
    row = {
        "kill -9": killed,
        "in a batch": killed - idle,
        "requests": sum(asker.right for asker in askers) + len(lost) + wrong,
        "lost": len(lost),
        "wrong": wrong,
        "restarts": restarts,
        "longest request ms": round(max(asker.longest for asker in askers) * 1e3, 1),
    }
    return [row], [
        {"name": f"{killed} kills under load: {what}", "aim": 0, "got": got, "met": got == 0}
        for what, got in (("requests lost", len(lost)), ("answers wrong", wrong))
    ]


def _pool(file: Path) -> tuple[Any, Any]:
    """Rows, and what ONNX Runtime answers to them: no two within 0.003 of each other."""
    import onnxruntime as ort

    x = np.random.default_rng(2).standard_normal((64, 3, 64, 64), dtype=np.float32)
    return x, ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
