"""Models in processes of their own: one that crashes or hangs takes nobody and nothing with it."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fixtures
from penstock.client import Client
from penstock.client.errors import ServerError
from tests.e2e.process import serving, until
from tests.workers import breaker


def write(repository, name="fragile", settings="", parameters=""):
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.x").write_text("x")
    text = f'engine = "tests.workers.breaker:BreakerEngine"\n{settings}\n[parameters]\n{parameters}'
    (folder.parent / "model.toml").write_text(text)


def rows(*firsts):
    return {"x": np.array([[first, 0] for first in firsts], np.float32)}


def workers(server):
    """The processes of models, by pid."""
    children = Path(f"/proc/{server.pid}/task").glob("*/children")
    return [int(pid) for each in children for pid in each.read_text().split()]


def status(client, name="fragile"):
    return next(one for one in client.status() if one["name"] == name)


@pytest.fixture
def scene(tmp_path):
    write(tmp_path, settings="[instances]\ncount = 2\nhang_s = 0.3")
    fixtures.write(tmp_path, "steady", "1", fixtures.tiny())
    with serving(tmp_path) as server, Client(server.url) as client:
        yield server, client


def test_a_crash_fails_the_one_who_caused_it_and_nobody_else(scene):
    server, client = scene
    before = set(workers(server))
    with pytest.raises(ServerError, match=r"ended 3 times while it ran this request: signal 11 \(SIGSEGV\)"):
        client.infer("fragile", rows(breaker.SEGFAULT))
    assert client.infer("fragile", rows(1, 2))["y"][:, 0].tolist() == [2, 3]
    assert client.infer("steady", {"x": np.zeros((1, 32), np.float32)})["y"].shape == (1, 10)
    until(lambda: len(workers(server)) == 2, "both processes to be back")
    assert not before & set(workers(server))
    until(lambda: status(client)["restarts"] == 3, "three restarts to be told of")
    assert status(client)["state"] == "READY"


def test_a_request_that_never_ends_is_given_up_and_its_process_replaced(tmp_path):
    write(tmp_path, settings="[instances]\ncount = 1\nhang_s = 0.3\n[queue]\ntimeout_ms = 2000")
    with serving(tmp_path) as server, Client(server.url) as client:
        before = set(workers(server))
        with pytest.raises(ServerError, match="still running past the deadline") as late:
            client.infer("fragile", rows(breaker.LOOP))
        assert late.value.status == 504
        assert client.infer("fragile", rows(1))["y"][0, 0] == 2
        until(lambda: len(set(workers(server)) - before) == 1, "the process that hung to be replaced")
        until(lambda: server.log("its process is ended"), "the log to say so")


def test_a_model_whose_process_will_not_start_again_is_quarantined_and_the_others_serve_on(tmp_path):
    """Taking its module away stands for whatever makes a start fail."""
    (tmp_path / "code").mkdir()
    module = tmp_path / "code" / "passing.py"
    module.write_text("from tests.workers.breaker import BreakerEngine\n")
    write(tmp_path / "models")
    settings = tmp_path / "models" / "fragile" / "model.toml"
    settings.write_text('engine = "passing:BreakerEngine"\n')
    fixtures.write(tmp_path / "models", "steady", "1", fixtures.tiny())
    path = f"{Path(__file__).parents[2]}:{module.parent}"
    with serving(tmp_path / "models", python_path=path) as server, Client(server.url) as client:
        assert client.infer("fragile", rows(1))["y"][0, 0] == 2
        module.write_text("raise ImportError('gone')")
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
        until(lambda: status(client)["state"] == "UNAVAILABLE", "the quarantine")
        assert "quarantined: its processes ended 3 times in a row" in status(client)["reason"]
        assert not client.ready()
        with pytest.raises(ServerError, match="model 'fragile' is quarantined") as refused:
            client.infer("fragile", rows(1))
        assert refused.value.status == 503
        assert client.infer("steady", {"x": np.zeros((1, 32), np.float32)})["y"].shape == (1, 10)
        module.write_text("from tests.workers.breaker import BreakerEngine\n")
        until(lambda: status(client)["state"] == "READY", "the next start")
        assert client.infer("fragile", rows(1))["y"][0, 0] == 2
        assert client.ready()


class Asker(threading.Thread):
    """Asks on one connection without a pause; remembers what was lost or wrong."""

    def __init__(self, url, number, stop):
        super().__init__(daemon=True)
        self.right = 0
        self.wrong = []
        self._url, self._stopping = url, stop
        self._random = np.random.default_rng(number)

    def run(self):
        with Client(self._url) as client:
            while not self._stopping.is_set():
                x = self._random.random((int(self._random.integers(1, 5)), 2), np.float32)
                try:
                    y = client.infer("fragile", {"x": x})["y"]
                except Exception as error:
                    self.wrong.append(f"{type(error).__name__}: {error}")
                else:
                    self.right += 1
                    if not np.array_equal(y, x + 1):
                        self.wrong.append(f"{x} gave {y}")


@pytest.mark.slow
def test_fifty_kills_under_load_lose_no_answer_and_make_none_wrong(scene):
    server, client = scene
    stop = threading.Event()
    askers = [Asker(server.url, number, stop) for number in range(8)]
    for asker in askers:
        asker.start()
    choice = random.Random(0)
    killed = 0
    while killed < 50:
        time.sleep(choice.uniform(0.0, 0.2))
        victims = workers(server)
        for pid in victims if choice.random() < 0.2 else [choice.choice(victims)]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        until(lambda k=killed: len(server.log("a process is back")) >= k, "those killed to be back")
    stop.set()
    for asker in askers:
        asker.join(60)
    assert [asker.wrong for asker in askers] == [[]] * len(askers)
    assert min(asker.right for asker in askers) > 50
    until(lambda: len(workers(server)) == 2, "both processes to be back")
    assert status(client)["restarts"] == killed


def test_no_process_is_left_when_the_server_ends_however_it_ends(scene):
    server, _ = scene
    pids = workers(server)
    assert len(pids) == 2
    server.process.kill()
    server.ended()

    def gone():
        return not any(Path(f"/proc/{pid}/status").exists() and "Z (zombie)" not in
                       Path(f"/proc/{pid}/status").read_text() for pid in pids)  # fmt: skip

    until(gone, "the processes to end with their server", 10)
