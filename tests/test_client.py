"""The clients, against a small V2 server; the codec, against itself."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from penstock import AsyncClient, Client
from penstock.client import ServerError
from penstock.client.codec import decode, encode
from penstock.core.errors import BadSetting, InvalidRequest
from penstock.core.tensors import DATATYPES, dtype_of
from penstock.core.types import Timing
from tests.cli.v2_server import V2Server, error, ok

X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def server() -> Iterator[V2Server]:
    with V2Server() as running:
        yield running


@pytest.fixture
def client(server: V2Server) -> Iterator[Client]:
    with Client(server.url) as opened:
        yield opened


def mirrored(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """The request as if it were the answer: same tensors, as outputs."""
    headers = {name.lower(): value for name, value in headers.items()}
    size = int(headers.get("inference-header-content-length", len(body)))
    head = orjson.loads(body[:size])
    text = orjson.dumps({"model_name": "m", "id": head.get("id", ""), "outputs": head["inputs"]})
    return {"inference-header-content-length": str(len(text))}, text + body[size:]


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[str, ...]) -> np.ndarray:
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if datatype == "BYTES":
        text = st.text(max_size=8).map(str.encode)
        flat = draw(st.lists(text, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        array = np.empty(len(flat), dtype=object)
        array[:] = flat
        return array.reshape(shape)
    if datatype == "BF16":
        bits = draw(npst.arrays(np.uint16, shape))
        return bits.view(dtype_of("BF16"))
    finite = {"allow_nan": False, "allow_infinity": False} if datatype[:2] == "FP" else {}
    return draw(npst.arrays(dtype_of(datatype), shape, elements=finite or None))


def same(expected: np.ndarray, actual: np.ndarray) -> bool:
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return False
    if expected.dtype == object:
        return bool((expected == actual).all())
    return expected.tobytes() == actual.tobytes()


@settings(max_examples=200, deadline=None)
@given(st.lists(tensors(DATATYPES), min_size=1, max_size=3), st.text(max_size=5))
def test_binary_tensors_of_every_datatype_and_shape_come_back_as_they_went(
    arrays: list[np.ndarray], request_id: str
) -> None:
    inputs = {f"t{i}": array for i, array in enumerate(arrays)}
    result = decode(*mirrored(*encode(inputs, id=request_id)))
    assert list(inputs) == list(result)
    assert request_id == result.id
    assert all(same(inputs[name], result[name]) for name in inputs)


@settings(max_examples=200, deadline=None)
@given(tensors(tuple(d for d in DATATYPES if d not in ("FP16", "BF16"))))
def test_json_tensors_of_every_datatype_that_json_has_come_back_as_they_went(array: np.ndarray) -> None:
    headers, body = encode({"t": array}, binary=False)
    assert headers == {"Content-Type": "application/json"}
    actual = decode({}, mirrored(headers, body)[1])["t"]
    assert array.dtype == actual.dtype
    assert np.array_equal(array, actual)


def test_binary_body_is_json_then_tensors_in_order() -> None:
    headers, body = encode({"a": np.array([1], np.int16), "b": np.array([b"xy"], object)}, outputs=("y",))
    head = (
        b'{"inputs":[{"name":"a","shape":[1],"datatype":"INT16","parameters":{"binary_data_size":2}},'
        b'{"name":"b","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}}],'
        b'"outputs":[{"name":"y","parameters":{"binary_data":true}}],"parameters":{"binary_data_output":true}}'
    )
    assert head + b"\x01\x00" + b"\x02\x00\x00\x00xy" == body
    assert str(len(head)) == headers["Inference-Header-Content-Length"]


def test_decoding_copies_no_tensor() -> None:
    array = decode(*mirrored(*encode({"t": np.zeros(1024, np.uint8)})))["t"]
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"not json"),
        ({}, b"[]"),
        ({}, b"{}"),
        ({}, b'{"outputs":[{"name":"y"}]}'),
        ({}, b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}'),
        ({"inference-header-content-length": "x"}, b"{}"),
    ],
)
def test_an_answer_that_is_no_infer_response_is_a_server_error(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(ServerError, match="not a V2 infer response"):
        decode(headers, body)


@pytest.mark.parametrize(
    "value", [np.array([np.nan]), np.array([1], np.float16), np.array([b"\xff"], object)]
)
def test_what_json_cannot_carry_is_refused_with_the_way_out(value: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match=r"tensor 'x' is .*; use binary data"):
        encode({"x": value}, binary=False)


@pytest.mark.parametrize("binary", [True, False])
def test_infer_answers_arrays(client: Client, binary: bool) -> None:
    result = client.infer("double", {"x": X}, id="7", binary=binary)
    assert np.array_equal(X * 2, result["y"])
    assert (result.model, result.version, result.id, list(result)) == ("double", "1", "7", ["y"])
    assert repr(result) == "Result('double', version='1', {y: float32[2, 4]})"


def test_infer_asks_for_no_compression(server: V2Server, client: Client) -> None:
    client.infer("double", {"x": X})
    assert server.seen[-1].headers["accept-encoding"] == "identity"


def test_a_lone_array_goes_to_the_only_input_whose_name_is_asked_once(
    server: V2Server, client: Client
) -> None:
    for _ in range(2):
        assert np.array_equal(X * 2, client.infer("double", X)["y"])
    assert ["/v2/models/double", *["/v2/models/double/infer"] * 2] == [seen.path for seen in server.seen]


def test_a_lone_array_for_several_inputs_is_refused_with_their_names(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=r"has 2 inputs \(ids, word\); give a mapping"):
        client.infer("two", X)


def test_lists_and_numbers_take_the_datatype_that_the_model_wants(client: Client) -> None:
    assert np.array_equal([[2, 3, 4, 6]], client.infer("double", [[1, 1.5, 2, 3]])["y"])
    result = client.infer("two", {"ids": [[1, 2]], "word": ["é"]})
    assert np.int64 == result["ids"].dtype
    assert result["word"].tolist() == [b"\xc3\xa9"]


def test_huge_whole_numbers_in_lists_stay_exact(server: V2Server, client: Client) -> None:
    spec = {"name": "n", "datatype": "UINT64", "shape": [-1]}
    server.routes["/v2/models/two"] = ok({"name": "two", "inputs": [spec], "outputs": []})
    assert client.infer("two", [1, 2**64 - 1])["n"].tolist() == [1, 2**64 - 1]


def test_lists_that_do_not_fit_the_datatype_are_refused(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="'ids': INT64 data must be whole numbers; it has fractions"):
        client.infer("two", {"ids": [[1.5]], "word": ["a"]})
    with pytest.raises(InvalidRequest, match="ragged"):
        client.infer("double", [[1, 2], [3]])


def test_arrays_are_never_cast(client: Client) -> None:
    with pytest.raises(ServerError, match="input 'x' must be FP32, got FP64"):
        client.infer("double", X.astype(np.float64))


def test_a_refused_request_makes_the_client_ask_for_the_metadata_anew(
    server: V2Server, client: Client
) -> None:
    client.infer("double", X)
    with pytest.raises(ServerError):
        client.infer("double", X.astype(np.float64))
    client.infer("double", X)
    assert [seen.path for seen in server.seen].count("/v2/models/double") == 2


def test_timeout_priority_and_parameters_travel(server: V2Server, client: Client) -> None:
    client.infer("double", {"x": X}, timeout=1.5, priority=2, parameters={"a": "b"}, binary=False)
    head = json.loads(server.seen[-1].body)
    assert head["parameters"] == {"a": "b", "timeout": 1_500_000, "priority": 2}


def test_timing_is_given_when_asked_for(client: Client) -> None:
    assert Timing(1e-4, 5e-5, 3) == client.infer("double", X, parameters={"timing": True}).timing
    assert client.infer("double", X).timing is None


def test_version_and_odd_names_go_into_the_path(server: V2Server, client: Client) -> None:
    with pytest.raises(ServerError):
        client.infer("a b/c", {"x": X}, version="v1.0-β")
    assert server.seen[-1].path == "/v2/models/a%20b%2Fc/versions/v1.0-%CE%B2/infer"


def test_errors_carry_the_servers_sentence_and_status(client: Client) -> None:
    with pytest.raises(ServerError, match="no model or path '/v2/models/nope'") as caught:
        client.metadata("nope")
    assert caught.value.status == 404


def test_an_error_without_a_sentence_gives_its_text(server: V2Server, client: Client) -> None:
    server.routes["/v2"] = (502, {}, b"<h1>Bad\n gateway</h1>")
    with pytest.raises(ServerError, match="HTTP 502: <h1>Bad gateway</h1>"):
        client.server()


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_a_server_that_speaks_something_else_is_named_so(
    server: V2Server, client: Client, body: bytes
) -> None:
    server.routes["/v2"] = (200, {}, body)
    with pytest.raises(ServerError, match="is this the address of an Open Inference Protocol server"):
        client.server()


def test_the_key_is_sent_as_bearer() -> None:
    with V2Server(key="secret") as server:
        with Client(server.url, api_key="secret") as client:
            assert client.live()
        with Client(server.url) as client, pytest.raises(ServerError, match="an API key is needed") as caught:
            client.live()
    assert caught.value.status == 401


@pytest.mark.parametrize(("status", "expected"), [(200, True), (400, False), (503, False)])
def test_ready_is_read_from_the_status(server: V2Server, client: Client, status: int, expected: bool) -> None:
    server.routes["/v2/health/ready"] = (status, {}, b"")
    server.routes["/v2/models/double/ready"] = (status, {}, b"")
    assert expected == client.ready()
    assert expected == client.ready("double")


def test_ready_of_an_unknown_model_is_an_error(client: Client) -> None:
    with pytest.raises(ServerError, match="no model"):
        client.ready("nope")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_nobody_there_says_where_and_what_to_do() -> None:
    with Client(f"127.0.0.1:{free_port()}", timeout=5) as client:
        assert not client.live()
        assert not client.ready()
        with pytest.raises(ServerError, match=rf"nobody answers at {client.url} .*penstock serve") as caught:
            client.server()
    assert caught.value.status == 0


def test_too_late_an_answer_is_an_error_of_time() -> None:
    with V2Server(stall=0.3, stall_after=1) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match=r"no answer from .* in time") as caught:
            client.infer("double", {"x": X}, timeout=0.05)
        assert caught.value.status == 0


@pytest.mark.parametrize("url", ["", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="should look like http"):
        Client(url)


def test_a_ca_file_that_cannot_be_read_is_refused(tmp_path: Any) -> None:
    with pytest.raises(BadSetting, match="cannot be read as PEM"):
        Client("https://127.0.0.1:1", verify=str(tmp_path / "none.pem"))


def test_administration_uses_the_extensions_paths(server: V2Server, client: Client) -> None:
    server.routes |= {
        "/v2/repository/index": ok([{"name": "double", "version": "1", "state": "READY", "reason": ""}]),
        "/v2/repository/models/double/load": ok({}),
        "/v2/repository/models/double/unload": error(404, "no such model"),
        "/v2/models/double/config": ok({"name": "double"}),
        "/v2/models/stats": ok({"model_stats": [{"name": "double"}]}),
        "/penstock/models": ok({"models": [{"name": "double"}]}),
    }
    assert client.index(ready=True) == [{"name": "double", "version": "1", "state": "READY", "reason": ""}]
    assert json.loads(server.seen[-1].body) == {"ready": True}
    client.load("double")
    with pytest.raises(ServerError, match="no such model"):
        client.unload("double")
    assert client.config("double") == {"name": "double"}
    assert client.statistics() == [{"name": "double"}]
    assert client.statistics("double")[0]["execution_count"] == 0
    assert client.status() == [{"name": "double"}]
    assert client.server()["extensions"] == ["binary_tensor_data", "statistics"]


def test_the_async_client_does_the_same(server: V2Server) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(server.url) as client:
            assert await client.live()
            results = await asyncio.gather(*(client.infer("double", X + i) for i in range(4)))
            with pytest.raises(ServerError, match="no model"):
                await client.metadata("nope")
            return list(results)

    for i, result in enumerate(asyncio.run(ask())):
        assert np.array_equal((X + i) * 2, result["y"])


def test_both_clients_offer_the_same_methods() -> None:
    def offered(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("__")}

    assert offered(Client) == offered(AsyncClient)


def test_a_bill_is_asked_for_by_what_and_since_when(server: V2Server, client: Client) -> None:
    paths = [
        "/penstock/bill?by=model%2Cversion&since=24h",
        "/penstock/bill?by=tenant&since=7d&until=1700000000.5&model=a%26b&tenant=",
    ]
    server.routes |= dict.fromkeys(paths, ok({"lines": []}))
    assert client.bill() == {"lines": []}
    assert client.bill("tenant", "7d", 1700000000.5, model="a&b", tenant="") == {"lines": []}

    async def ask() -> dict[str, Any]:
        async with AsyncClient(server.url) as asking:
            return await asking.bill(["tenant"], "7d", 1700000000.5, model="a&b", tenant="")

    assert asyncio.run(ask()) == {"lines": []}
    assert [*paths, paths[1]] == [seen.path for seen in server.seen]


def test_rollouts_are_spoken_to_by_their_paths(server: V2Server, client: Client) -> None:
    status = {"model": "a b", "candidate": "2"}
    paths = {
        "/penstock/rollouts": ok({"rollouts": [status], "bad": [{"version": "1"}]}),
        "/penstock/rollouts/a%20b": ok(status),
        "/penstock/rollouts/a%20b/pause": ok(status),
        "/penstock/rollouts/a%20b/history?limit=100": ok({"changes": [{"what": "start"}]}),
        "/penstock/audit?limit=5": ok({"changes": []}),
        "/penstock/rollouts/a%20b/verdict": ok({"verdict": "pass"}),
        "/penstock/rollouts/a%20b/verdict?version=v%2B1": ok({"verdict": "fail"}),
    }
    server.routes |= paths
    assert client.rollouts() == [status]
    assert client.bad_versions() == [{"version": "1"}]
    assert client.rollout("a b") == status
    assert client.start_rollout("a b", "2", why="better", plan="canary", steps=[1, 50]) == status
    started = {"version": "2", "why": "better", "force": False, "plan": "canary", "steps": [1, 50]}
    assert (server.seen[-1].method, json.loads(server.seen[-1].body)) == ("POST", started)
    assert client.rollout_command("a b", "pause", "lunch") == status
    assert json.loads(server.seen[-1].body) == {"why": "lunch"}
    assert client.rollout_history("a b") == [{"what": "start"}]
    assert client.rollout_history(limit=5) == []
    assert client.verdict("a b") == {"verdict": "pass"}
    assert client.verdict("a b", "v+1") == {"verdict": "fail"}


def test_feedback_takes_what_python_and_numpy_have(server: V2Server, client: Client) -> None:
    server.routes["/v1/feedback"] = ok({"counted": 1, "unknown": 0})

    def sent() -> Any:
        return json.loads(server.seen[-1].body)["labels"]

    assert client.feedback("42", np.int64(7)) == {"counted": 1, "unknown": 0}
    assert sent() == [{"id": "42", "outcome": 7}]
    client.feedback("42", np.array([1.5, 2.0]), model="m")
    assert sent() == [{"id": "42", "outcome": [1.5, 2.0], "model": "m"}]
    client.feedback("42", correct=False)
    assert sent() == [{"id": "42", "correct": False}]
    client.feedback_batch([{"id": "1", "outcome": 0}, {"id": "2", "correct": np.bool_(True)}])
    assert sent() == [{"id": "1", "outcome": 0}, {"id": "2", "correct": True}]


def test_the_async_client_speaks_to_rollouts_too(server: V2Server) -> None:
    server.routes |= {
        "/penstock/rollouts": ok({"rollouts": [], "bad": []}),
        "/penstock/rollouts/m": ok({"model": "m"}),
        "/penstock/rollouts/m/rollback": ok({"model": "m"}),
        "/penstock/rollouts/m/history?limit=100": ok({"changes": []}),
        "/penstock/rollouts/m/verdict": ok({"verdict": "pass"}),
        "/v1/feedback": ok({"counted": 2, "unknown": 0}),
    }

    async def ask() -> list[Any]:
        async with AsyncClient(server.url) as asking:
            return [
                await asking.rollouts(),
                await asking.bad_versions(),
                await asking.rollout("m"),
                await asking.start_rollout("m", "2", plan="shadow"),
                await asking.rollout_command("m", "rollback"),
                await asking.rollout_history("m"),
                await asking.verdict("m"),
                await asking.feedback("1", 3),
                await asking.feedback_batch([]),
            ]

    one, counted = {"model": "m"}, {"counted": 2, "unknown": 0}
    assert asyncio.run(ask()) == [[], [], one, one, one, [], {"verdict": "pass"}, counted, counted]
    assert json.loads(server.seen[3].body)["plan"] == "shadow"
