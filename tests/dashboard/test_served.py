"""The page of a whole server: its figures under requests, a model's life as history, and the end."""

import socket
import time
from pathlib import Path

import httpx
import msgspec
import numpy as np
import orjson
import pytest

from benchmarks import fixtures
from penstock.client import Client
from penstock.doors.auth import digest
from tests.dashboard import schema
from tests.dashboard.looking import events
from tests.e2e import lazy
from tests.e2e.process import until

ROW = {"inputs": [{"name": "x", "shape": [1, 32], "datatype": "FP32", "data": np.zeros(32).tolist()}]}


def ask(server, model="tiny", **headers):
    return server.post(f"/v2/models/{model}/infer", content=orjson.dumps(ROW), headers=headers)


@pytest.fixture
def settings(tmp_path):
    return {"meter_file": tmp_path / "books.db", "meter_every_s": 0.2, "price_per_hour": 3.6}


def test_requests_show_in_the_figures_of_a_server(serve, repository, settings):
    server = serve(repository, **settings)
    with httpx.stream("GET", f"{server.url}/penstock/live", timeout=20) as answer:
        told = events(answer)
        name, hello = next(told)
        assert (name, msgspec.convert(hello, schema.Hello).may) == ("hello", "all")
        for _ in range(5):
            assert ask(server).status_code == 200
        ask(server, "nothing")
        until(lambda: (tick := counted(told)).models[0].requests == 5 and tick.cost.per_1000, "the requests")
        tick = counted(told)
    (model,) = tick.models
    assert (model.name, model.live, model.state) == ("tiny", True, "READY")
    assert (model.p50_ms or 0) <= (model.p99_ms or 0)
    assert tick.ready
    assert tick.cost.per_hour == pytest.approx(3.6, rel=0.01)
    assert tick.machine.memory_bytes > 10 << 20
    assert tick.cost.currency == hello["currency"] == "USD"


def counted(told):
    name, tick = next(told)
    assert name == "tick"
    return msgspec.convert(tick, schema.Tick)


def test_a_viewer_is_told_what_his_key_allows(serve, repository, tmp_path):
    config = tmp_path / "penstock.toml"
    config.write_text(f'[keys]\n{digest("user")} = "infer"\n{digest("boss")} = "admin"\n')
    server = serve(repository, "--config", str(config), meter_file="none")
    assert server.get("/penstock/live").status_code == 401
    assert server.get("/", headers={"accept": "text/html"}).status_code == 200
    for key, may in (("user", "infer"), ("boss", "admin")):
        headers = {"authorization": f"Bearer {key}"}
        with httpx.stream("GET", f"{server.url}/penstock/live", headers=headers, timeout=20) as answer:
            assert next(events(answer))[1]["may"] == may


def past(server, model="tiny"):
    answer = server.get(f"/penstock/history/{model}?since=1h")
    assert answer.status_code == 200, answer.text
    told = msgspec.convert(answer.json(), schema.History)
    return [(event.version, event.what) for event in told.events], told


def test_a_models_life_is_its_history_and_outlives_the_server(serve, repository, settings, tmp_path):
    server = serve(repository, watch_poll_s=0.1, watch_settle_s=0, **settings)
    assert past(server)[0] == [("1", "loaded"), ("1", "live")]
    fixtures.write(tmp_path / "made", "tiny", "2", fixtures.tiny())
    record = orjson.dumps({"choice": {"reasons": ["2 × faster", "nothing lost", "what else: nothing"]}})
    (tmp_path / "made" / "tiny" / "2" / "variant.json").write_bytes(record)
    (tmp_path / "made" / "tiny" / "2").rename(repository / "tiny" / "2")
    wanted = [
        *[("1", "loaded"), ("1", "live")],
        *[("2", "optimized"), ("2", "loaded"), ("2", "live"), ("1", "replaced"), ("1", "unloaded")],
    ]
    until(lambda: past(server)[0] == wanted, "the second version")
    assert [event.detail for event in past(server)[1].events if event.what in ("optimized", "replaced")] == [
        "2 × faster; nothing lost",
        "by version 2",
    ]
    broken = repository / "tiny" / "3" / "model.onnx"
    broken.parent.mkdir()
    broken.write_bytes(b"not a model")
    until(lambda: past(server)[0][-1] == ("3", "failed"), "the third to fail")
    assert past(server)[1].events[-1].detail
    assert ask(server).status_code == 200
    until(lambda: sum(piece.queries for piece in past(server)[1].series) == 1, "the request in the books")
    before = past(server)[0]
    assert server.stop() == 0
    broken.unlink()
    broken.parent.rmdir()
    again = serve(repository, **settings)
    told = past(again)[0]
    assert told[: len(before)] == before
    assert told[len(before) :] == [("2", what) for what in ("unloaded", "optimized", "loaded", "live")]


def test_what_is_unloaded_to_make_room_says_so(serve, tmp_path):
    folder = tmp_path / "models"
    for number, name in enumerate("ab", 1):
        lazy.write(folder, name, number, disk=10)
    server = serve(folder, memory_limit="20 MB", memory_stay_s=0, meter_file="none", watch_enabled=False)
    with Client(server.url) as client:
        for name in "aba":
            client.infer(name, {"x": np.zeros((1, 4), np.float32)})
    life = ["loaded", "live", "evicted", "unloaded"]
    assert [what for _, what in past(server, "a")[0]] == [*life, "loaded", "live"]
    assert [what for _, what in past(server, "b")[0]] == life


def viewer(server):
    """A socket that is told events, and reads none."""
    connection = socket.create_connection(("127.0.0.1", server.http_port))
    connection.sendall(b"GET /penstock/live HTTP/1.1\r\nhost: test\r\n\r\n")
    assert connection.recv(100)
    return connection


def seconds_to_stop(server):
    began = time.monotonic()
    server.terminate()
    assert server.ended() == 0
    return time.monotonic() - began


def test_an_open_page_does_not_hold_the_server_up(serve, repository):
    alone = seconds_to_stop(serve(repository, server_lame_duck_s=0, meter_file="none"))
    server = serve(repository, server_lame_duck_s=0, meter_file="none")
    connections = [viewer(server) for _ in range(5)]
    assert seconds_to_stop(server) < alone + 1.0
    for connection in connections:
        connection.close()


def test_the_page_is_part_of_the_package():
    import penstock.dashboard

    assert (Path(penstock.dashboard.__file__).parent / "static" / "index.html").is_file()
