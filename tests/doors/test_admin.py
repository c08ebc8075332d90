"""All of V2 over HTTP but inference, and our own status and metrics."""

import numpy as np
import orjson
import pytest

from penstock import __version__
from penstock.doors.extensions import EXTENSIONS
from tests.doors.house import get, house, http

X = {"name": "x", "datatype": "FP32", "shape": [-1, -1]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, -1]}


@pytest.fixture(scope="module")
def door():
    with house() as found:
        yield found


@pytest.fixture
def caller(door):
    door.models.ready = True
    door.models.calls.clear()
    with door.caller() as found:
        yield found


def test_server_metadata(caller):
    expected = {"name": "penstock", "version": __version__, "extensions": list(EXTENSIONS)}
    assert caller.ask(get("/v2")).json == expected
    assert caller.ask(get("/")).json["see"] == ["/v2", "/penstock/models", "/metrics"]


def test_live_is_always_so_and_ready_when_it_is(door, caller):
    for ready, status in ((True, 200), (False, 503)):
        door.models.ready = ready
        assert caller.ask(get("/v2/health/live")).json == {"live": True}
        answer = caller.ask(get("/v2/health/ready"))
        assert (answer.status, answer.json) == (status, {"ready": ready})


@pytest.mark.parametrize("url", ["/v2/models/echo", "/v2/models/echo/versions/2"])
def test_model_metadata(caller, url):
    assert caller.ask(get(url)).json == {
        "name": "echo",
        "versions": ["2"],
        "platform": "echo",
        "inputs": [X],
        "outputs": [Y],
    }


@pytest.mark.parametrize("what", ["", "/config", "/versions/1"])
def test_a_model_that_is_not_loaded_says_why(caller, what):
    answer = caller.ask(get(f"/v2/models/broken{what}"))
    assert (answer.status, answer.error) == (503, "model 'broken' is not loaded: no file")


@pytest.mark.parametrize(
    ("url", "status", "body"),
    [
        ("/v2/models/echo/ready", 200, {"name": "echo", "ready": True}),
        ("/v2/models/echo/versions/2/ready", 200, {"name": "echo", "ready": True}),
        ("/v2/models/broken/ready", 503, {"name": "broken", "ready": False}),
    ],
)
def test_model_readiness(caller, url, status, body):
    answer = caller.ask(get(url))
    assert (answer.status, answer.json) == (status, body)


def test_names_of_all_models(caller):
    assert caller.ask(get("/v2/models")).json == {"models": ["broken", "echo"]}


def test_config_is_tritons(caller):
    for url in ("/v2/models/echo/config", "/v2/models/echo/versions/2/config"):
        config = caller.ask(get(url)).json
        assert (config["name"], config["max_batch_size"]) == ("echo", 16)
        assert config["input"][0]["name"] == "x"


@pytest.mark.parametrize(
    "url", ["/v2/models/stats", "/v2/models/echo/stats", "/v2/models/echo/versions/2/stats"]
)
def test_statistics_are_tritons(caller, url):
    (one,) = caller.ask(get(url)).json["model_stats"]
    assert (one["name"], one["version"], one["last_inference"]) == ("echo", "2", 5)
    assert (one["inference_count"], one["execution_count"]) == (8, 2)
    none = {"count": 0, "ns": 0}
    assert one["inference_stats"] == {
        "success": {"count": 3, "ns": 1000},
        "fail": {"count": 1, "ns": 50},
        "queue": {"count": 3, "ns": 100},
        "compute_input": none,
        "compute_infer": {"count": 3, "ns": 900},
        "compute_output": none,
        "cache_hit": none,
        "cache_miss": none,
    }
    (batch,) = one["batch_stats"]
    assert (batch["batch_size"], batch["compute_infer"]) == (4, {"count": 2, "ns": 900})


BROKEN = {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "no file"}
READY = {"name": "echo", "version": "2", "state": "READY", "reason": ""}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", [BROKEN, READY]),
        (b" \r\n", [BROKEN, READY]),
        (b"{}", [BROKEN, READY]),
        (b'{"ready":false}', [BROKEN, READY]),
        (b'{"ready":true}', [READY]),
    ],
)
def test_the_repositorys_index(caller, content, expected):
    assert caller.ask(http("POST", "/v2/repository/index", content)).json == expected


@pytest.mark.parametrize(
    ("content", "parameters"),
    [(b"", {}), (b"{}", {}), (b'{"parameters":{"config":"{}"}}', {"config": "{}"})],
)
def test_load_and_unload_answer_with_nothing(door, caller, content, parameters):
    for what in ("load", "unload"):
        answer = caller.ask(http("POST", f"/v2/repository/models/echo/{what}", content))
        assert (answer.status, answer.body) == (200, b"")
    assert door.models.calls == [("load", "echo", parameters), ("unload", "echo")]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"\xff",
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 100_000,
        b'{"parameters":[]}',
        b'{"parameters":null}',
    ],
)
def test_a_body_that_is_no_object_is_refused(door, caller, content):
    answer = caller.ask(http("POST", "/v2/repository/models/echo/load", content))
    assert answer.status == 400
    assert "JSON object" in answer.error
    assert door.models.calls == []


@pytest.mark.parametrize(
    "url",
    [
        "/v2/models/nobody",
        "/v2/models/nobody/ready",
        "/v2/models/nobody/config",
        "/v2/models/nobody/stats",
        "/v2/models/echo/versions/9",
        "/v2/models/echo/versions/9/ready",
        "/v2/models/echo/versions/9/stats",
    ],
)
def test_unknown_models_and_versions_are_404(caller, url):
    answer = caller.ask(get(url))
    assert answer.status == 404
    assert answer.error.startswith(("no model 'nobody'", "model 'echo' has no version '9'"))


def test_loading_an_unknown_model_is_404(caller):
    assert caller.ask(http("POST", "/v2/repository/models/nobody/load")).status == 404


@pytest.mark.parametrize(
    "url",
    [
        "/nowhere",
        "/v1/models",
        "/v2/nothing",
        "/v2/models/echo/nothing",
        "/v2/",
        "/v2/models/echo/",
        "/%C3%A9",
    ],
)
def test_an_unknown_path_says_where_the_api_begins(caller, url):
    answer = caller.ask(get(url))
    assert answer.status == 404
    assert answer.error.endswith("; the API begins at /v2")


@pytest.mark.parametrize(
    ("method", "url", "allowed"),
    [
        ("POST", "/v2", {"GET", "HEAD"}),
        ("DELETE", "/v2/models/echo", {"GET", "HEAD"}),
        ("GET", "/v2/repository/index", {"POST"}),
        ("GET", "/v2/repository/models/echo/load", {"POST"}),
        ("GET", "/v2/models/echo/infer", {"POST"}),
        ("PUT", "/v2/models/echo/versions/2/infer", {"POST"}),
        ("OPTIONS", "/v2", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_says_which_is_right(caller, method, url, allowed):
    answer = caller.ask(http(method, url))
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert answer.error.startswith(f"{method} is not for '{url}'; it takes ")


def test_metrics_are_written_as_the_scraper_takes_them(caller):
    answer = caller.ask(get("/metrics", "Accept: application/openmetrics-text\r\n"))
    assert answer.body == b"metrics for application/openmetrics-text"
    assert answer.headers["content-type"] == "text/plain"


def test_our_own_status_of_models(caller):
    status = caller.ask(get("/penstock/models")).json
    broken, echo = status["models"]
    assert status["memory"] == {"limit_bytes": 0, "resident_bytes": 0}
    assert (broken["name"], broken["state"], broken["reason"]) == ("broken", "UNAVAILABLE", "no file")
    assert (broken["requests"], broken["p50_ms"], broken["p99_ms"]) == (0, None, None)
    assert echo == {
        "name": "echo",
        "version": "2",
        "state": "READY",
        "reason": "",
        "live": True,
        "platform": "echo",
        "batched": True,
        "device": "",
        "isolation": "",
        "restarts": 0,
        "instances": 1,
        "threads": 1,
        "batch_cap": 0,
        "run_ms": 0.0,
        "load_seconds": 0.0,
        "memory_bytes": 0,
        "memory_measured": False,
        "policy": "slo",
        "target_p99_ms": None,
        "requests": 3,
        "p50_ms": 1.5,
        "p99_ms": 2.5,
    }


def test_samples_are_an_answer_with_binary_outputs(caller):
    answer = caller.ask(get("/penstock/models/echo/samples?version=2"))
    length = int(answer.headers["inference-header-content-length"])
    told = orjson.loads(answer.body[:length])
    assert (told["model_name"], told["model_version"]) == ("echo", "2")
    assert [(one["name"], one["shape"]) for one in told["outputs"]] == [("0/x", [2, 3]), ("1/x", [1, 4])]
    assert np.frombuffer(answer.body[length:], "<f4").tolist() == [1.0] * 6 + [0.0] * 4


@pytest.mark.parametrize("url", ["echo/samples?version=9", "none/samples"])
def test_samples_of_what_is_not_there_are_404(caller, url):
    assert caller.ask(get(f"/penstock/models/{url}")).status == 404
