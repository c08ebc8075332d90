"""A limit on memory: what does not fit is cold, the first request loads it, and others make room."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from tritonclient import grpc as triton

from penstock.client import Client
from penstock.client.errors import ServerError
from tests.e2e import lazy, process

SETTINGS = {"memory_stay_s": 0, "watch_settle_s": 0, "watch_poll_s": 0.2}
X = np.zeros((1, 4), np.float32)
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0] * 4}


def until(condition, what):
    return process.until(condition, what, seconds=20)


@pytest.fixture
def folder(tmp_path):
    """Files of 10 MB that take 12 MB loaded and are expected to take 15: two fit into 33 MB, three do not."""
    for number, name in enumerate("abc", 1):
        lazy.write(tmp_path / "models", name, number, disk=10)
    return tmp_path / "models"


def states(server):
    return {one["name"]: one["state"] for one in server.get("/penstock/models").json()["models"]}


def ask(server, model, timeout=30.0, x=X, **kwargs):
    with Client(server.url, timeout=timeout) as client:
        return float(client.infer(model, {"x": x}, **kwargs)["y"][0, 0])


def counters(server, name):
    lines = server.get("/metrics").text.splitlines()
    return {
        line.split("{")[1].split("}")[0]: float(line.split()[-1])
        for line in lines
        if line.startswith(name + "{")
    }


def test_what_does_not_fit_is_cold_ready_and_loaded_by_a_request(serve, folder):
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    assert states(server) == {"a": "READY", "b": "READY", "c": "COLD"}
    assert server.get("/v2/health/ready").status_code == 200
    assert server.get("/v2/models/c/ready").status_code == 200
    index = server.post("/v2/repository/index", json={"ready": True}).json()
    assert [(one["name"], one["state"]) for one in index] == [("a", "READY"), ("b", "READY"), ("c", "READY")]
    assert ask(server, "b") == 2.0
    assert ask(server, "c") == 3.0
    assert states(server) == {"a": "COLD", "b": "READY", "c": "READY"}
    assert counters(server, "penstock_model_evictions_total") == {'model="a"': 1.0}
    assert counters(server, "penstock_cold_wait_seconds_count") == {'model="c"': 1.0}
    status = server.get("/penstock/models").json()["memory"]
    assert status["limit_bytes"] == 33_000_000
    assert 0 < status["resident_bytes"] <= 33_000_000


def test_both_doors_wait_for_a_cold_model(serve, folder):
    server = serve(folder, memory_limit="16 MB", **SETTINGS)
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_model_ready("c")
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(X)
        assert client.infer("c", [tensor]).as_numpy("y")[0, 0] == 3.0
        assert client.infer("b", [tensor], model_version="1").as_numpy("y")[0, 0] == 2.0


def test_requests_for_the_same_cold_model_load_it_once(serve, folder):
    lazy.write(folder, "c", 3, disk=10, seconds=0.5)
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: ask(server, "c"), range(8))) == [3.0] * 8
    assert lazy.opened(folder, "c") == 1


def test_a_deadline_passes_while_it_loads_and_the_next_request_finds_it(serve, folder):
    lazy.write(folder, "c", 3, disk=10, seconds=1.0)
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    body = {"inputs": [TENSOR], "parameters": {"timeout": 200_000}}
    answer = server.post("/v2/models/c/infer", json=body)
    assert answer.status_code == 504
    assert "could not be loaded within 0.2 s; a load that has begun goes on" in answer.json()["error"]
    until(lambda: states(server)["c"] == "READY", "the load to go on")
    assert (ask(server, "c"), lazy.opened(folder, "c")) == (3.0, 1)


def test_a_load_that_fails_is_the_requests_error_and_an_older_version_steps_in(serve, folder):
    lazy.write(folder, "c", "fail", disk=10, version="2")
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    assert ask(server, "c") == 3.0  # the newest version would not load, which shows only now
    named = server.get("/v2/models/c/versions/2/ready")
    assert named.status_code == 503
    lazy.write(folder, "d", "fail", disk=10)
    until(lambda: states(server).get("d") == "COLD", "the new model")
    with pytest.raises(ServerError, match=r"'d' could not be loaded: .*the file says that it fails"):
        ask(server, "d")
    until(lambda: states(server)["d"] == "UNAVAILABLE", "the failure to be told")
    assert server.get("/v2/health/ready").status_code == 503
    lazy.write(folder, "d", 4.5, disk=10)
    until(lambda: states(server)["d"] == "COLD", "the repaired file")
    assert ask(server, "d") == 4.5


def test_a_request_that_is_wrong_loads_nothing_once_the_signature_is_known(serve, folder):
    server = serve(folder, memory_limit="16 MB", **SETTINGS)
    assert ask(server, "b") == 2.0
    before = lazy.opened(folder, "a")
    assert server.get("/v2/models/a").json()["inputs"][0]["shape"] == [-1, 4]
    with Client(server.url) as client, pytest.raises(ServerError, match="'x' has shape"):
        client.infer("a", {"x": np.zeros((1, 5), np.float32)})
    assert (states(server)["a"], lazy.opened(folder, "a")) == ("COLD", before)


def test_metadata_of_a_model_that_was_never_loaded_loads_it(serve, folder):
    server = serve(folder, memory_limit="16 MB", **SETTINGS)
    assert lazy.opened(folder, "c") == 0
    assert server.get("/v2/models/c").json()["inputs"][0]["name"] == "x"
    assert server.get("/v2/models/b/config").status_code == 200
    assert lazy.opened(folder, "c") == 1


def test_mixed_traffic_over_three_models_with_room_for_two_loses_nothing(serve, folder):
    server = serve(folder, memory_limit="33 MB", **SETTINGS | {"memory_stay_s": 0.05})
    stop, wrong, counts = threading.Event(), [], dict.fromkeys("abc", 0)

    def caller(seed):
        rng = np.random.default_rng(seed)
        with Client(server.url, timeout=60) as client:
            while not stop.is_set():
                model = "abc"[rng.integers(3)]
                x = rng.integers(0, 100, (1, 4)).astype(np.float32)
                try:
                    y = client.infer(model, {"x": x})["y"]
                    if not np.array_equal(y, x + "abc".index(model) + 1):
                        wrong.append(f"{model}: {x} {y}")
                    counts[model] += 1
                except Exception as error:
                    wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: sum(counters(server, "penstock_model_evictions_total").values()) > 40 or wrong, "40 swaps")
    stop.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert min(counts.values()) > 10
    until(lambda: server.log("models were unloaded within a minute"), "the warning")
    assert server.log("memory.limit is 31.5 MiB, and .* would hold the models that were used: a, b, c")


def test_a_model_that_is_running_is_drained_before_it_goes(serve, folder):
    lazy.write(folder, "a", 1, disk=10, run=1.0)
    server = serve(folder, memory_limit="16 MB", **SETTINGS)
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(ask, server, "a", x=X + 2000) for _ in range(2)]
        time.sleep(0.3)
        begun = time.monotonic()
        assert ask(server, "b") == 2.0
        assert time.monotonic() - begun > 0.4
        assert [one.result() for one in slow] == [2001.0] * 2


def test_a_changed_cold_model_is_what_the_next_request_loads(serve, folder):
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    lazy.write(folder, "c", 30, disk=10)
    assert ask(server, "c") in (3.0, 30.0)
    until(lambda: ask(server, "c") == 30.0, "the change")
    assert ask(server, "a") + ask(server, "b") == 3.0
    assert states(server)["c"] == "COLD"
    lazy.write(folder, "c", 31, disk=10)
    assert server.post("/v2/repository/models/c/load").status_code == 200
    assert states(server)["c"] == "READY"
    assert ask(server, "c") == 31.0


def test_the_api_unloads_a_cold_model_and_loads_one_that_has_no_room(serve, folder):
    server = serve(folder, memory_limit="33 MB", watch_enabled=False, **SETTINGS)
    assert server.post("/v2/repository/models/c/unload").status_code == 200
    assert states(server)["c"] == "UNAVAILABLE"
    assert server.get("/v2/health/ready").status_code == 200
    assert server.post("/v2/repository/models/c/load").status_code == 200
    assert sorted(states(server).values()) == ["COLD", "READY", "READY"]
    lazy.write(folder, "big", 9, disk=50)
    answer = server.post("/v2/repository/models/big/load")
    assert answer.status_code == 400
    assert "memory.limit is 31.5 MiB; a limit of" in answer.json()["error"]


def test_kept_models_stay_and_those_that_never_fit_beside_them_say_so(serve, folder):
    lazy.write(folder, "big", 9, disk=30)
    server = serve(folder, memory_limit="33 MB", memory_keep='["c", "nobody"]', **SETTINGS)
    assert states(server) == {"a": "READY", "b": "COLD", "c": "READY", "big": "UNAVAILABLE"}
    assert server.log("memory.keep: no model 'nobody'")
    assert ask(server, "b") == 2.0
    assert states(server) == {"a": "COLD", "b": "READY", "c": "READY", "big": "UNAVAILABLE"}
    with pytest.raises(ServerError, match="models that are kept take"):
        ask(server, "big")


def test_memory_comes_back_over_a_hundred_swaps(serve, folder):
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    for name in "abcabc":
        ask(server, name)
    base = server.rss()
    worst = 0
    with Client(server.url) as client:
        for at in range(100):
            client.infer("abc"[at % 3], {"x": X})
            worst = max(worst, server.rss())
    assert sum(counters(server, "penstock_model_evictions_total").values()) >= 100
    assert worst - base < 15e6  # one model more than there is room for, while it is drained


def test_more_rows_than_the_queue_holds_do_not_wait_for_a_cold_model(serve, folder):
    lazy.write(folder, "c", 3, "[queue]\nmax_rows = 2", disk=10, seconds=1.0)
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _status(server), range(6)))
    assert sorted(answers) == [200, 200, 503, 503, 503, 503]


def _status(server):
    return server.post("/v2/models/c/infer", json={"inputs": [TENSOR]}).status_code


def test_a_caller_who_gives_up_leaves_the_others_waiting(serve, folder):
    lazy.write(folder, "c", 3, disk=10, seconds=1.0)
    server = serve(folder, memory_limit="33 MB", **SETTINGS)
    with ThreadPoolExecutor(2) as pool:
        patient = pool.submit(ask, server, "c")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v2/models/c/infer", json={"inputs": [TENSOR]}, timeout=0.2)
        assert patient.result() == 3.0


def test_a_pipeline_loads_the_steps_that_it_needs(serve, folder):
    """Both steps are cold in turn: there is room for one."""
    (folder / "chain").mkdir()
    (folder / "chain" / "pipeline.toml").write_text(
        '[[step]]\nmodel = "a"\noutputs = { y = "h" }\n[[step]]\nmodel = "b"\ninputs = { x = "h" }\n'
    )
    server = serve(folder, memory_limit="16 MB", **SETTINGS)
    assert [ask(server, "chain") for _ in range(3)] == [3.0] * 3
    assert sum(counters(server, "penstock_model_evictions_total").values()) >= 5
    assert states(server)["chain"] == "READY"
