"""The gRPC door with NVIDIA's own client: every RPC, every error, deadlines, keys, health, TLS."""

import asyncio
import logging
import math
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from penstock import __version__
from penstock.core import errors
from penstock.core.spec import Batching, ModelSpec, Signature, TensorSpec
from penstock.core.types import BatchTally, ModelState, Reply, Statistics, Tally, Timing
from penstock.doors.auth import Keys, digest
from penstock.doors.errors import grpc_code
from penstock.doors.extensions import EXTENSIONS
from penstock.doors.grpc_rpcs import RPCS
from penstock.doors.v2_grpc import Options, start
from penstock.proto import grpc_service_pb2

ADDER = ModelState(
    name="adder",
    version="2",
    state="READY",
    live=True,
    platform="onnxruntime_onnx",
    spec=ModelSpec(name="adder", engine="onnx", batching=Batching(max_rows=16)),
    signature=Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 3)),)),
    batched=True,
    instances=1,
    threads=2,
)
BROKEN = ModelState(name="broken", version="1", state="UNAVAILABLE", reason="no file", spec=ModelSpec())


class Adder:
    """y = x + 1, unless told to raise or to wait."""

    def __init__(self):
        self.raises = None
        self.waits = False
        self.request = None
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self.release = asyncio.Event()

    async def __call__(self, request):
        self.request = request
        self.entered.set()
        if self.raises is not None:
            raise self.raises
        if self.waits:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        outputs = {"y": request.inputs["x"] + np.float32(1)} if "x" in request.inputs else {}
        return Reply("adder", "2", outputs, Timing(0.001, 0.002, 4))


class TwoModels:
    """One that serves and one that could not be loaded."""

    def __init__(self):
        self.ready = True
        self.memory_limit = 0
        self.now = {"adder": ADDER, "broken": BROKEN}
        self.calls = []

    def state(self, model, version=""):
        if model not in self.now:
            raise errors.UnknownModel(f"no model {model!r}")
        if version not in ("", self.now[model].version):
            raise errors.UnknownVersion(f"no version {version!r}")
        return self.now[model]

    async def describe(self, model, version=""):
        return self.state(model, version)

    def states(self):
        return list(self.now.values())

    def statistics(self, model="", version=""):
        self.state(model or "adder", version)
        batch = BatchTally(4, Tally(2, 900))
        return [
            Statistics(
                name="adder", version="2", last_inference_ms=5, inference_count=8, execution_count=2,
                success=Tally(3, 1000), fail=Tally(1, 50), queue=Tally(3, 100), compute=Tally(3, 900),
                batches=(batch,),
            )
        ]  # fmt: skip

    async def load(self, model, parameters=None):
        self.state(model)
        self.calls.append(("load", model, parameters))

    async def unload(self, model):
        self.state(model)
        self.calls.append(("unload", model))


class House:
    """A door on a loop of its own, in a thread."""

    def __init__(self, keys=None, options=None):
        self.handler, self.models = Adder(), TwoModels()
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        opening = start(["127.0.0.1:0"], self.handler, self.models, keys or Keys({}), options)
        self.door = self.run(opening)
        self.url = f"127.0.0.1:{self.door.port}"

    def run(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(20)

    def close(self):
        self.run(self.door.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@contextmanager
def opened(**settings):
    house = House(**settings)
    try:
        yield house
    finally:
        house.close()


@pytest.fixture(scope="module")
def shared():
    with opened() as house:
        yield house


@pytest.fixture
def house(shared):
    """The shared door, with its handler and models as new."""
    shared.handler.__init__()
    shared.models.__init__()
    return shared


@pytest.fixture
def triton(house):
    with client.InferenceServerClient(house.url) as triton:
        yield triton


@pytest.fixture
def stub(house):
    with grpc.insecure_channel(house.url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensor(values):
    array = np.array(values, np.float32)
    made = client.InferInput("x", array.shape, "FP32")
    made.set_data_from_numpy(array)
    return made


X = [[1, 2, 3]]


def failure(call, *args, **kwargs):
    """The client's error of a call that must fail: status name and details."""
    with pytest.raises(client.InferenceServerException) as caught:
        call(*args, **kwargs)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def test_every_rpc_of_the_service_is_answered():
    service = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert [method.name for method in service.methods] == list(RPCS)


def test_live_and_ready(house, triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    house.models.ready = False
    assert not triton.is_server_ready()


@pytest.mark.parametrize(
    ("model", "version", "ready"),
    [
        ("adder", "", True),
        ("adder", "2", True),
        ("adder", "1", False),
        ("broken", "", False),
        ("none", "", False),
    ],
)
def test_a_model_is_ready_when_it_serves(triton, model, version, ready):
    assert ready == triton.is_model_ready(model, version)


def test_server_metadata_lists_only_what_is_offered(triton):
    metadata = triton.get_server_metadata()
    assert ("penstock", __version__) == (metadata.name, metadata.version)
    assert list(EXTENSIONS) == list(metadata.extensions)
    assert "classification" not in EXTENSIONS


def test_model_metadata_has_full_shapes(triton):
    metadata = triton.get_model_metadata("adder")
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("adder", ["2"], "onnxruntime_onnx")
    [(name, datatype, shape)] = [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs]
    assert (name, datatype, shape) == ("x", "FP32", [-1, 3])
    assert [one.name for one in metadata.outputs] == ["y"]


def test_metadata_of_a_model_that_is_not_loaded_says_why(triton):
    assert failure(triton.get_model_metadata, "broken") == (
        "UNAVAILABLE",
        "model 'broken' version '1' is UNAVAILABLE: no file",
    )


def test_inference(house, triton):
    result = triton.infer("adder", [tensor(X)], request_id="r7", outputs=[client.InferRequestedOutput("y")])
    assert result.as_numpy("y").tolist() == [[2, 3, 4]]
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("adder", "2", "r7")
    assert (
        house.handler.request.model,
        house.handler.request.version,
        house.handler.request.id,
        house.handler.request.outputs,
        house.handler.request.priority,
    ) == ("adder", "", "r7", ("y",), 0)


def test_inference_with_typed_contents_is_answered_raw(stub):
    request = service_pb2.ModelInferRequest(model_name="adder", model_version="2")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    response = stub.ModelInfer(request)
    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [2, 3, 4]


def test_timing_priority_timeout_and_trace_are_passed(house, triton):
    before = time.monotonic()
    result = triton.infer(
        "adder",
        [tensor(X)],
        priority=3,
        timeout=2_000_000,
        parameters={"timing": True, "colour": "red"},
        headers={"traceparent": "00-1-2-01"},
    )
    answered = result.get_response().parameters
    assert {name: answered[name].int64_param for name in answered} == {
        "queue_us": 1000,
        "compute_us": 2000,
        "batch_size": 4,
    }
    request = house.handler.request
    assert request.priority == 3
    assert request.parameters["colour"] == "red"
    assert request.tags == {"traceparent": "00-1-2-01"}
    assert before < request.deadline - 2 < time.monotonic()


def test_the_calls_own_deadline_is_the_requests(house, triton):
    triton.infer("adder", [tensor(X)], client_timeout=30.0)
    assert 20 < house.handler.request.deadline - time.monotonic() < 31  # gRPC rounds up on the wire
    triton.infer("adder", [tensor(X)])
    assert math.inf == house.handler.request.deadline


def test_config_is_tritons(triton):
    config = triton.get_model_config("adder", as_json=True)["config"]
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("adder", "onnxruntime", 16)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}]


def test_statistics(triton):
    [stats] = triton.get_inference_statistics("adder").model_stats
    assert (
        stats.name,
        stats.version,
        stats.last_inference,
        stats.inference_count,
        stats.execution_count,
    ) == ("adder", "2", 5, 8, 2)
    assert (stats.inference_stats.success.count, stats.inference_stats.success.ns) == (3, 1000)
    assert (
        stats.inference_stats.fail.count,
        stats.inference_stats.queue.ns,
        stats.inference_stats.compute_infer.ns,
    ) == (1, 100, 900)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in stats.batch_stats] == [(4, 2)]
    assert failure(triton.get_inference_statistics, "none")[0] == "NOT_FOUND"


def test_repository_index(stub):
    def index(**asked):
        found = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(**asked)).models
        return [(one.name, one.version, one.state, one.reason) for one in found]

    assert index() == [("adder", "2", "READY", ""), ("broken", "1", "UNAVAILABLE", "no file")]
    assert index(ready=True) == [("adder", "2", "READY", "")]
    with pytest.raises(grpc.RpcError, match="leave repository_name empty"):
        index(repository_name="other")


def test_load_and_unload(house, triton):
    triton.load_model("adder")
    triton.load_model("adder", config="{}", files={"file:1/model.onnx": b"bytes"})
    triton.unload_model("adder")
    assert house.models.calls == [
        ("load", "adder", None),
        ("load", "adder", {"config": "{}", "file:1/model.onnx": b"bytes"}),
        ("unload", "adder"),
    ]
    assert failure(triton.load_model, "none")[0] == "NOT_FOUND"


def tree(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(errors.PenstockError)), ids=lambda kind: kind.__name__)
def test_every_error_has_its_status(house, triton, kind):
    house.handler.raises = kind("what was wrong; what would be right")
    want = (grpc_code(house.handler.raises), "what was wrong; what would be right")
    assert want == failure(triton.infer, "adder", [tensor(X)])


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.BudgetSpent])
def test_a_full_queue_and_a_spent_budget_say_when_to_come_back(house, stub, kind):
    house.handler.raises = kind("full", retry_after=0.25)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(service_pb2.ModelInferRequest())
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("grpc-retry-pushback-ms", "250") in [tuple(pair) for pair in caught.value.trailing_metadata()]


def test_an_unexpected_error_is_internal_and_logged_with_the_id(house, triton, caplog):
    house.handler.raises = ZeroDivisionError("secret")
    with caplog.at_level(logging.ERROR, "penstock.grpc"):
        status, details = failure(triton.infer, "adder", [tensor(X)], request_id="r9")
    assert (status, details) == ("INTERNAL", "ModelInfer failed unexpectedly; the server's log says why")
    assert "request id 'r9'" in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_a_failure_of_the_server_is_logged_and_a_callers_mistake_is_not(house, triton, caplog):
    with caplog.at_level(logging.INFO, "penstock.grpc"):
        house.handler.raises = errors.InvalidRequest("a mistake")
        failure(triton.infer, "adder", [tensor(X)])
        house.handler.raises = errors.EngineFailed("no memory")
        failure(triton.infer, "adder", [tensor(X)], request_id="r9")
    ours = [record for record in caplog.records if record.name == "penstock.grpc"]
    assert [(one.getMessage(), one.request_id, one.code) for one in ours] == [
        ("ModelInfer adder: no memory", "r9", "INTERNAL")
    ]


def test_a_handler_that_cancels_does_not_leave_the_caller_hanging(house, triton):
    house.handler.raises = asyncio.CancelledError()
    assert failure(triton.infer, "adder", [tensor(X)], client_timeout=10)[0] == "INTERNAL"


def test_a_long_error_is_cut_to_fit_a_header(house, triton):
    house.handler.raises = errors.InvalidRequest("é" * 100_000)
    assert failure(triton.infer, "adder", [tensor(X)]) == ("INVALID_ARGUMENT", "é" * 1000)


def test_bytes_that_are_no_message_are_refused(house):
    with grpc.insecure_channel(house.url) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the message is not an inference.ModelInferRequest"


def test_a_method_that_is_not_offered_is_unimplemented(triton):
    assert failure(triton.get_log_settings)[0] == "UNIMPLEMENTED"


def test_a_deadline_ends_the_call_and_reaches_the_handler(house, triton):
    house.handler.waits = True
    status, _ = failure(triton.infer, "adder", [tensor(X)], client_timeout=0.1)
    assert status == "DEADLINE_EXCEEDED"
    assert house.handler.cancelled.wait(10)


def test_cancelling_reaches_the_handler(house, stub):
    house.handler.waits = True
    call = stub.ModelInfer.future(service_pb2.ModelInferRequest())
    assert house.handler.entered.wait(10)
    call.cancel()
    assert house.handler.cancelled.wait(10)


def repeat(call, request):
    while True:
        call(request, timeout=10)


def test_stopping_lets_calls_in_flight_finish():
    """New calls are refused, the one inside is answered, and only then does stop return."""
    with opened() as house, grpc.insecure_channel(house.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        house.handler.waits = True
        inside = stub.ModelInfer.future(service_pb2.ModelInferRequest(id="1"))
        assert house.handler.entered.wait(10)
        stopping = asyncio.run_coroutine_threadsafe(house.door.stop(20), house.loop)
        with pytest.raises(grpc.RpcError) as caught:
            repeat(stub.ServerMetadata, service_pb2.ServerMetadataRequest())
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in caught.value.details()
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=10).live
        assert not stopping.done()
        house.loop.call_soon_threadsafe(house.handler.release.set)
        assert inside.result(10).id == "1"
        stopping.result(10)


def test_stopping_cancels_what_outlasts_the_grace():
    with opened() as house, grpc.insecure_channel(house.url) as channel:
        house.handler.waits = True
        inside = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(
            service_pb2.ModelInferRequest()
        )
        assert house.handler.entered.wait(10)
        house.run(house.door.stop(0.05))
        assert inside.exception(10).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert house.handler.cancelled.wait(10)


def test_a_taken_port_stops_the_start(house):
    with pytest.raises(errors.BadSetting, match=f"gRPC cannot listen on {house.url}"):
        house.run(start([house.url], house.handler, house.models, Keys({})))


ROLES = {"infer-key": "infer", "admin-key": "admin"}


@pytest.fixture(scope="module")
def guarded():
    keys = Keys({digest(key): role for key, role in ROLES.items()})
    with opened(keys=keys) as house, client.InferenceServerClient(house.url) as triton:
        yield triton


def test_probes_need_no_key(guarded):
    assert guarded.is_server_live()
    assert guarded.is_server_ready()


@pytest.mark.parametrize("headers", [None, {"authorization": "Bearer nope"}, {"x-api-key": "nope"}])
def test_without_a_known_key_nothing_is_told(guarded, headers):
    for call in (guarded.get_server_metadata, guarded.get_model_repository_index):
        assert failure(call, headers=headers)[0] == "UNAUTHENTICATED"
    assert failure(guarded.infer, "adder", [tensor(X)], headers=headers)[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize("headers", [{"authorization": "Bearer infer-key"}, {"x-api-key": "infer-key"}])
def test_an_infer_key_infers_and_does_not_load(guarded, headers):
    assert guarded.infer("adder", [tensor(X)], headers=headers).as_numpy("y").tolist() == [[2, 3, 4]]
    for call in (guarded.load_model, guarded.unload_model):
        assert failure(call, "adder", headers=headers)[0] == "PERMISSION_DENIED"


def test_an_admin_key_does_both(guarded):
    headers = {"authorization": "Bearer admin-key"}
    guarded.load_model("adder", headers=headers)
    assert guarded.infer("adder", [tensor(X)], headers=headers).as_numpy("y").tolist() == [[2, 3, 4]]


def test_keys_do_not_reach_the_handler():
    with opened(keys=Keys({digest("k"): "infer"})) as house:
        with client.InferenceServerClient(house.url) as triton:
            triton.infer("adder", [tensor(X)], headers={"authorization": "Bearer k", "x-api-key": "k"})
        assert house.handler.request.tags == {}


@pytest.fixture
def health(house):
    with grpc.insecure_channel(house.url) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def asked(service=""):
    return health_pb2.HealthCheckRequest(service=service)


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def test_health_of_server_and_models(house, health):
    assert health.Check(asked()).status == SERVING
    assert health.Check(asked("adder")).status == SERVING
    assert health.Check(asked("broken")).status == NOT_SERVING
    house.models.ready = False
    assert health.Check(asked()).status == NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(asked("none"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_watching_tells_of_changes(house, health):
    watch = health.Watch(asked("new"), timeout=10)
    assert next(watch).status == SERVICE_UNKNOWN
    house.models.now["new"] = BROKEN
    assert next(watch).status == NOT_SERVING
    house.models.now["new"] = ADDER
    assert next(watch).status == SERVING
    watch.cancel()


def test_watchers_are_bounded():
    with opened() as house, grpc.insecure_channel(house.url) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watches = [health.Watch(asked(), timeout=10) for _ in range(64)]
        assert [next(watch).status for watch in watches] == [SERVING] * 64
        with pytest.raises(grpc.RpcError) as caught:
            next(health.Watch(asked(), timeout=10))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()


def test_watching_ends_when_the_server_stops():
    with opened() as house, grpc.insecure_channel(house.url) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(asked(), timeout=10)
        assert next(watch).status == SERVING
        house.run(house.door.stop(10))
        assert [answer.status for answer in watch] == [NOT_SERVING]


def test_a_message_over_the_limit_is_refused():
    limit = Options(max_bytes=1 << 20)
    with opened(options=limit) as house, client.InferenceServerClient(house.url) as triton:
        fits, over = np.zeros((1, (1 << 20) // 4)), np.zeros((1, (3 << 20) // 4))
        assert triton.infer("adder", [tensor(fits)]).as_numpy("y").all()
        status, details = failure(triton.infer, "adder", [tensor(over)])
        assert status == "RESOURCE_EXHAUSTED"
        assert "larger than max" in details


def test_a_compressed_bomb_is_refused():
    with opened(options=Options(max_bytes=1 << 20)) as house:
        with client.InferenceServerClient(house.url) as triton:
            bomb = tensor(np.zeros((1, 4 << 20)))
            status, _ = failure(triton.infer, "adder", [bomb], compression_algorithm="gzip")
            assert status == "RESOURCE_EXHAUSTED"
        assert house.handler.request is None


def test_calls_over_the_limit_are_refused():
    with opened(options=Options(max_calls=1)) as house, grpc.insecure_channel(house.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        house.handler.waits = True
        first = stub.ModelInfer.future(service_pb2.ModelInferRequest())
        assert house.handler.entered.wait(10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ServerLive(service_pb2.ServerLiveRequest())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem",
        cwd=folder, shell=True, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_tls(certificate):
    cert, key = (certificate / "cert.pem").read_bytes(), (certificate / "key.pem").read_bytes()
    with opened(options=Options(certificate=cert, key=key)) as house:
        url = f"localhost:{house.door.port}"
        trusting = {"ssl": True, "root_certificates": str(certificate / "cert.pem")}
        with client.InferenceServerClient(url, **trusting) as triton:
            assert triton.infer("adder", [tensor(X)]).as_numpy("y").tolist() == [[2, 3, 4]]
        with client.InferenceServerClient(url) as plain:
            assert failure(plain.is_server_live)[0] == "UNAVAILABLE"


def test_a_bad_certificate_stops_the_start(house):
    options = Options(certificate=b"no", key=b"no")
    with pytest.raises(errors.BadSetting, match="gRPC"):
        house.run(start(["127.0.0.1:0"], house.handler, house.models, Keys({}), options))
