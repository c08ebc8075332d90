"""NVIDIA's own client, unmodified, over both of its transports, against a server process."""

import asyncio
import gzip
import shutil
from contextlib import closing

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from benchmarks import fixtures
from penstock import __version__
from tests.e2e import models

DOORS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


class Door:
    """One of the two transports: its module, a client of the server, and answers as plain values."""

    def __init__(self, name, server):
        self.name, self.lib = name, DOORS[name]
        self.client = self.lib.InferenceServerClient(server.http if name == "http" else server.grpc)

    def plain(self, method, *args, **kwargs):
        """The HTTP client gives JSON, the gRPC client does so when asked."""
        if self.name == "grpc":
            kwargs["as_json"] = True
        return getattr(self.client, method)(*args, **kwargs)

    def inputs(self, datatype="FP32", **arrays):
        made = []
        for name, array in arrays.items():
            tensor = self.lib.InferInput(name, list(array.shape), datatype)
            tensor.set_data_from_numpy(array)
            made.append(tensor)
        return made

    def outputs(self, *names):
        return [self.lib.InferRequestedOutput(name) for name in names]

    def index(self):
        """What the repository holds: state by name and version."""
        found = self.plain("get_model_repository_index")
        found = found if self.name == "http" else found["models"]
        return {(one["name"], one["version"]): one["state"] for one in found}

    def status(self, call, *args, **kwargs):
        """The status and the words of a call that must fail."""
        with pytest.raises(InferenceServerException) as caught:
            call(*args, **kwargs)
        return caught.value.status(), caught.value.message()


@pytest.fixture(params=DOORS)
def door(request, server):
    made = Door(request.param, server)
    with closing(made.client):
        yield made


ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def test_live_ready_and_model_ready(door):
    assert door.client.is_server_live()
    assert door.client.is_server_ready()
    assert door.client.is_model_ready("tiny")
    assert door.client.is_model_ready("adding", "v2")
    assert not door.client.is_model_ready("nobody")


def test_server_metadata(door):
    metadata = door.plain("get_server_metadata")
    assert ("penstock", __version__) == (metadata["name"], metadata["version"])
    assert {"binary_tensor_data", "model_repository", "statistics", "model_configuration"} <= {
        *metadata["extensions"]
    }


def test_model_metadata(door):
    metadata = door.plain("get_model_metadata", "adding")
    assert (
        metadata["name"],
        metadata["versions"],
        metadata["platform"],
    ) == ("adding", ["1", "v2"], "onnxruntime_onnx")
    shapes = [(t["name"], t["datatype"], [int(n) for n in t["shape"]]) for t in metadata["inputs"]]
    assert shapes == [("x", "FP32", [-1, 4])]


def test_model_config(door):
    config = door.plain("get_model_config", "add_sub")
    config = config.get("config", config)
    assert config["name"] == "add_sub"
    assert [tensor["name"] for tensor in config["input"]] == ["a", "b"]
    assert [tensor["name"] for tensor in config["output"]] == ["sum", "difference"]
    assert {"TYPE_INT32"} == {tensor["data_type"] for tensor in config["input"] + config["output"]}


def test_statistics_count_what_was_inferred(door):
    def successes():
        stats = door.plain("get_inference_statistics", "add_sub", "1")["model_stats"]
        return int(stats[0]["inference_stats"]["success"].get("count", 0)), int(
            stats[0].get("inference_count", 0)
        )

    requests, rows = successes()
    a = np.ones((3, 4), np.int32)
    door.client.infer("add_sub", door.inputs("INT32", a=a, b=a))
    assert (requests + 1, rows + 3) == successes()


def test_statistics_of_all_models(door):
    names = {one["name"] for one in door.plain("get_inference_statistics")["model_stats"]}
    assert {"tiny", "add_sub", "adding"} <= names


def test_repository_index(door):
    found = door.index()
    assert (found["adding", "1"], found["adding", "v2"]) == ("READY", "READY")


@pytest.mark.parametrize("datatype", models.KINDS)
def test_every_datatype_comes_back_as_it_went(door, datatype):
    values = models.VALUES[datatype]
    sent = values.astype(np.float32) if datatype == "BF16" else values  # the client's form of BF16
    result = door.client.infer(f"identity_{datatype.lower()}", door.inputs(datatype, x=sent))
    got = result.as_numpy("y")
    if datatype == "BYTES":
        got = np.vectorize(bytes.decode, otypes=[object])(got)
    assert sent.tolist() == got.tolist()
    meta = result.get_output("y")
    assert datatype == (meta["datatype"] if door.name == "http" else meta.datatype)


@pytest.mark.parametrize("datatype", [name for name in models.KINDS if name not in ("FP16", "BF16")])
def test_every_datatype_that_json_has_comes_back_as_json(server, datatype):
    values = models.VALUES[datatype]
    tensor = tritonclient.http.InferInput("x", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    wanted = tritonclient.http.InferRequestedOutput("y", binary_data=False)
    with tritonclient.http.InferenceServerClient(server.http) as client:
        result = client.infer(f"identity_{datatype.lower()}", [tensor], outputs=[wanted])
    assert "data" in result.get_output("y")
    assert values.tolist() == result.as_numpy("y").tolist()


def test_binary_and_json_tensors_mix_in_both_directions(server):
    a, b = np.full((1, 4), 7, np.int32), np.full((1, 4), 2, np.int32)
    lib = tritonclient.http
    inputs = [lib.InferInput("a", [1, 4], "INT32"), lib.InferInput("b", [1, 4], "INT32")]
    inputs[0].set_data_from_numpy(a, binary_data=False)
    inputs[1].set_data_from_numpy(b, binary_data=True)
    outputs = [
        lib.InferRequestedOutput("difference", binary_data=False),
        lib.InferRequestedOutput("sum", binary_data=True),
    ]
    with lib.InferenceServerClient(server.http) as client:
        result = client.infer("add_sub", inputs, outputs=outputs)
    assert result.as_numpy("sum").tolist() == [[9] * 4]
    assert result.as_numpy("difference").tolist() == [[5] * 4]
    assert ("data" in result.get_output("difference"), "data" in result.get_output("sum")) == (True, False)


def test_only_the_requested_outputs_come_back(door):
    a = np.ones((1, 4), np.int32)
    inputs = door.inputs("INT32", a=a, b=a)
    result = door.client.infer("add_sub", inputs, outputs=door.outputs("difference"))
    assert result.as_numpy("difference").tolist() == [[0] * 4]
    assert result.as_numpy("sum") is None
    both = door.client.infer("add_sub", inputs)
    assert (both.as_numpy("sum").tolist(), both.as_numpy("difference").tolist()) == ([[2] * 4], [[0] * 4])


def test_id_is_echoed_and_the_version_that_answered_is_named(door):
    for version, answered, added in (("", "v2", 2), ("1", "1", 1), ("v2", "v2", 2)):
        result = door.client.infer("adding", door.inputs(x=ROWS), model_version=version, request_id="abc 7")
        response = result.get_response()
        if door.name == "http":
            named = response["model_name"], response["model_version"], response["id"]
        else:
            named = response.model_name, response.model_version, response.id
        assert ("adding", answered, "abc 7") == named
        assert (ROWS + added).tolist() == result.as_numpy("y").tolist()


def test_priority_timeout_and_parameters_are_taken(door):
    result = door.client.infer(
        "adding", door.inputs(x=ROWS), priority=2, timeout=30_000_000, parameters={"team": "blue", "try": 3}
    )
    assert (ROWS + 2).tolist() == result.as_numpy("y").tolist()


BIG = np.random.default_rng(0).integers(0, 3, (64, 256)).astype(np.float32)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("request_algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_algorithm", [None, "gzip", "deflate"])
def test_compression_over_http_both_ways(server, binary, request_algorithm, response_algorithm):
    lib = tritonclient.http
    tensor = lib.InferInput("x", list(BIG.shape), "FP32")
    tensor.set_data_from_numpy(BIG, binary_data=binary)
    with lib.InferenceServerClient(server.http) as client:
        result = client.infer(
            "identity_fp32",
            [tensor],
            outputs=[lib.InferRequestedOutput("y", binary_data=binary)],
            request_compression_algorithm=request_algorithm,
            response_compression_algorithm=response_algorithm,
        )
    assert BIG.tolist() == result.as_numpy("y").tolist()


def test_an_answer_is_smaller_when_compression_was_asked_for(server):
    body = {"inputs": [{"name": "x", "shape": [4096, 1], "datatype": "FP32", "data": [1.0] * 4096}]}
    url = server.url + "/v2/models/identity_fp32/infer"
    with httpx.stream("POST", url, json=body, headers={"accept-encoding": "gzip"}) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert len(raw) == int(response.headers["content-length"])
    assert len(raw) < len(gzip.decompress(raw)) / 10


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_over_grpc(server, algorithm):
    lib = tritonclient.grpc
    tensor = lib.InferInput("x", list(BIG.shape), "FP32")
    tensor.set_data_from_numpy(BIG)
    with lib.InferenceServerClient(server.grpc) as client:
        result = client.infer("identity_fp32", [tensor], compression_algorithm=algorithm)
    assert BIG.tolist() == result.as_numpy("y").tolist()


def test_asynchronous_calls_each_get_their_own_answer(server):
    lib = tritonclient.http
    with lib.InferenceServerClient(server.http, concurrency=8) as client:
        pending = []
        for n in range(64):
            tensor = lib.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(np.full((1, 4), n, np.float32))
            pending.append(client.async_infer("adding", [tensor]))
        answers = [one.get_result().as_numpy("y")[0, 0] for one in pending]
    assert [n + 2 for n in range(64)] == answers


@pytest.mark.parametrize("name", ["http", "grpc"])
def test_asyncio_clients(server, name):
    lib = {"http": tritonclient.http.aio, "grpc": tritonclient.grpc.aio}[name]
    address = {"http": server.http, "grpc": server.grpc}[name]

    async def run():
        async with lib.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("adding")

            async def ask(n):
                tensor = lib.InferInput("x", [1, 4], "FP32")
                tensor.set_data_from_numpy(np.full((1, 4), n, np.float32))
                return (await client.infer("adding", [tensor])).as_numpy("y")[0, 0]

            return await asyncio.gather(*(ask(n) for n in range(64)))

    assert [n + 2 for n in range(64)] == asyncio.run(run())


# -- errors ---------------------------------------------------------------------------------------


def test_an_unknown_model_is_not_found(door):
    status, words = door.status(door.client.infer, "nobody", door.inputs(x=ROWS))
    assert {"http": "404", "grpc": "StatusCode.NOT_FOUND"}[door.name] == status
    assert words.startswith("no model 'nobody'; have ")


def test_an_unknown_version_is_not_found(door):
    status, words = door.status(door.client.infer, "adding", door.inputs(x=ROWS), model_version="9")
    assert {"http": "404", "grpc": "StatusCode.NOT_FOUND"}[door.name] == status
    assert words == "model 'adding' has no version '9' serving; have 1, v2"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"z": ROWS}, "lacks input 'x'"),
        ({"x": ROWS[:, :3]}, "shape"),
        ({"x": ROWS, "more": ROWS}, "'more'"),
    ],
)
def test_a_wrong_name_or_shape_is_an_invalid_argument(door, inputs, words):
    status, said = door.status(door.client.infer, "adding", door.inputs(**inputs))
    assert {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}[door.name] == status
    assert words in said


def test_a_wrong_datatype_is_an_invalid_argument(door):
    inputs = door.inputs("INT32", x=ROWS.astype(np.int32))
    status, said = door.status(door.client.infer, "adding", inputs)
    assert {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}[door.name] == status
    assert "INT32" in said
    assert "FP32" in said


def test_an_unknown_output_is_an_invalid_argument(door):
    status, said = door.status(
        door.client.infer, "adding", door.inputs(x=ROWS), outputs=door.outputs("nothing")
    )
    assert {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}[door.name] == status
    assert "'nothing'" in said


def test_a_deadline_that_cannot_be_met_is_told_so(door):
    status, _ = door.status(door.client.infer, "adding", door.inputs(x=ROWS), timeout=1)
    assert {"http": "504", "grpc": "StatusCode.DEADLINE_EXCEEDED"}[door.name] == status


def test_an_unknown_model_cannot_be_loaded(door):
    status, words = door.status(door.client.load_model, "nobody")
    assert {"http": "404", "grpc": "StatusCode.NOT_FOUND"}[door.name] == status
    assert "no model 'nobody'" in words


# -- the model repository --------------------------------------------------------------------------


@pytest.fixture(params=DOORS)
def own(request, serve, repository):
    """A door of a server of one's own, whose repository may be changed."""
    server = serve(repository, watch_enabled=False)
    made = Door(request.param, server)
    with closing(made.client):
        yield made


def test_unload_and_load(own):
    x = np.zeros((1, 32), np.float32)
    own.client.unload_model("tiny")
    assert not own.client.is_model_ready("tiny")
    assert own.index() == {("tiny", "1"): "UNAVAILABLE"}
    status, words = own.status(own.client.infer, "tiny", own.inputs(x=x))
    assert {"http": "503", "grpc": "StatusCode.UNAVAILABLE"}[own.name] == status
    assert "unloaded" in words
    own.client.load_model("tiny")
    assert own.index() == {("tiny", "1"): "READY"}
    assert own.client.infer("tiny", own.inputs(x=x)).as_numpy("y").shape == (1, 10)


def test_a_load_takes_what_is_in_the_repository_now(own, repository):
    fixtures.write(repository, "adding", "1", models.adding(5))
    own.client.load_model("adding")
    result = own.client.infer("adding", own.inputs(x=ROWS))
    assert (ROWS + 5).tolist() == result.as_numpy("y").tolist()


def test_a_corrupt_model_is_refused_with_the_reason_and_the_old_one_serves(own, repository):
    x = np.zeros((1, 32), np.float32)
    (repository / "tiny" / "1" / "model.onnx").write_bytes(b"no model")
    status, words = own.status(own.client.load_model, "tiny")
    assert {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}[own.name] == status
    assert "model.onnx" in words
    assert own.client.infer("tiny", own.inputs(x=x)).as_numpy("y").shape == (1, 10)


def test_a_config_in_the_load_request_takes_effect(own):
    config = '{"max_batch_size": 3, "dynamic_batching": {}}'
    own.client.load_model("tiny", config=config)
    found = own.plain("get_model_config", "tiny")
    assert found.get("config", found)["max_batch_size"] == 3


def test_a_model_whose_folder_has_gone_cannot_be_loaded(own, repository):
    shutil.rmtree(repository / "tiny")
    status, _ = own.status(own.client.load_model, "tiny")
    assert {"http": "404", "grpc": "StatusCode.NOT_FOUND"}[own.name] == status
