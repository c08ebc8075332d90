"""Who may do what: exposure, API keys and TLS, on both doors."""

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks import fixtures
from penstock.client import Client
from penstock.doors.auth import digest
from tests.cli import certificate
from tests.e2e import models
from tests.e2e.process import refused, serving
from tests.e2e.wire import grpc_request, http_request, receive, send

ADMIN, INFER = "admin-key-for-tests", "infer-key-for-tests"
KEYS = {f"keys_{digest(ADMIN)}": "admin", f"keys_{digest(INFER)}": "infer"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("access") / "models"
    fixtures.write(made, "adding", "1", models.adding(1))
    return made


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder, watch_enabled=False, **KEYS) as process:
        yield process


# -- exposure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_this_machine_it_wants_keys_and_says_so(folder, host):
    code, words = refused(folder, "--host", host)
    assert code == 2
    assert f"server.host is '{host}', which other machines can reach, and there are no API keys" in words
    assert "--insecure" in words


def test_with_keys_or_by_an_explicit_word_it_listens_beyond_this_machine(folder):
    for flags, settings in ((["--insecure"], {}), ([], KEYS)):
        with serving(folder, "--host", "0.0.0.0", *flags, **settings) as process:
            assert process.get("/v2/health/ready").status_code == 200
            assert process.stop() == 0


def test_without_keys_a_name_that_was_led_to_this_machine_may_see_but_not_touch(folder):
    led = {"host": "evil.example:8000", "origin": "http://evil.example:8000"}
    load = "/v2/repository/models/adding/load"
    with serving(folder, watch_enabled=False) as process:
        refused = httpx.post(process.url + load, headers=led)
        assert (refused.status_code, "'evil.example:8000'" in refused.json()["error"]) == (403, True)
        assert httpx.get(process.url + "/penstock/bill", headers=led).status_code == 403
        assert httpx.get(process.url + "/v2/models/adding", headers=led).status_code == 200
        assert httpx.post(process.url + load).status_code == 200


# -- keys over HTTP -------------------------------------------------------------------------------

FORMS = {
    "bearer": lambda key: {"authorization": f"Bearer {key}"},
    "header": lambda key: {"x-api-key": key},
}
HTTP_CALLS = {
    "infer": ("POST", "/v2/models/adding/infer"),
    "metadata": ("GET", "/v2/models/adding"),
    "index": ("POST", "/v2/repository/index"),
    "metrics": ("GET", "/metrics"),
    "load": ("POST", "/v2/repository/models/adding/load"),
    "unload": ("POST", "/v2/repository/models/nobody/unload"),
}


def http_status(server, call, key=None, form="bearer"):
    method, path = HTTP_CALLS[call]
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = {"inputs": [tensor]} if call == "infer" else None
    headers = FORMS[form](key) if key else {}
    response = httpx.request(method, server.url + path, json=body, headers=headers, timeout=30)
    if response.status_code >= 400:
        assert response.json()["error"]
    return response.status_code


@pytest.mark.parametrize("call", HTTP_CALLS)
def test_without_a_key_or_with_a_wrong_one_nothing_is_done_over_http(server, call):
    assert http_status(server, call) == 401
    assert http_status(server, call, "wrong") == 401
    assert http_status(server, call, digest(ADMIN)) == 401


@pytest.mark.parametrize("form", FORMS)
def test_a_key_opens_what_its_role_may_do_over_http(server, form):
    assert http_status(server, "infer", INFER, form) == 200
    assert http_status(server, "metadata", INFER, form) == 200
    assert http_status(server, "load", INFER, form) == 403
    assert http_status(server, "unload", INFER, form) == 403
    assert http_status(server, "infer", ADMIN, form) == 200
    assert http_status(server, "load", ADMIN, form) == 200
    assert http_status(server, "unload", ADMIN, form) == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/penstock/bill", 403),
        ("/penstock/bill/", 403),
        ("/penstock%2fbill", 403),
        ("/%70enstock/bill?by=tenant", 403),
        ("http://127.0.0.1/penstock/bill", 403),
        *((f"/penstock/bill%{code}", 400) for code in ("0a", "0A", "0d", "00", "09", "7f", "0d%0a")),
        ("/penstock/bill%0A?by=tenant", 400),
        ("/penstock/%0Abill", 400),
        ("//penstock/bill", 404),
        ("/penstock//bill", 404),
        ("/penstock/./bill", 404),
        ("/penstock/models/adding/samples%0A", 400),
        ("/v2/repository/index%0A", 400),
    ],
)
def test_no_spelling_of_a_path_gets_round_its_role(server, path, status):
    request = f"GET {path} HTTP/1.1\r\nhost: here\r\nx-api-key: {INFER}\r\n\r\n".encode()
    with send(server, request) as connection:
        found, said = receive(connection)
    assert (found, list(said)) == (status, ["error"])


def test_a_refusal_says_which_key_is_wanted(server):
    response = httpx.get(server.url + "/v2/models/adding")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "API key" in response.json()["error"]


def test_health_is_open_over_http(server):
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert httpx.get(server.url + path).status_code == 200


def test_one_connection_is_asked_for_its_key_with_every_request(server):
    good = http_request("adding", headers=f"x-api-key: {INFER}\r\n")
    with send(server, good) as connection:
        for _ in range(3):  # the second and third of the same bytes
            assert receive(connection)[0] == 200
            connection.sendall(good)
        assert receive(connection)[0] == 200
        connection.sendall(http_request("adding"))
        assert receive(connection)[0] == 401


def test_our_own_client_sends_its_key(server):
    with Client(server.url, api_key=INFER) as client:
        y = client.infer("adding", {"x": np.zeros((1, 4), np.float32)})["y"]
    assert y.tolist() == [[1, 1, 1, 1]]


# -- keys over gRPC -------------------------------------------------------------------------------

GRPC_CALLS = {
    "infer": lambda stub: (stub.ModelInfer, grpc_request("adding")),
    "metadata": lambda stub: (stub.ModelMetadata, service_pb2.ModelMetadataRequest(name="adding")),
    "index": lambda stub: (stub.RepositoryIndex, service_pb2.RepositoryIndexRequest()),
    "load": lambda stub: (
        stub.RepositoryModelLoad,
        service_pb2.RepositoryModelLoadRequest(model_name="adding"),
    ),
    "unload": lambda stub: (
        stub.RepositoryModelUnload,
        service_pb2.RepositoryModelUnloadRequest(model_name="nobody"),
    ),
    "live": lambda stub: (stub.ServerLive, service_pb2.ServerLiveRequest()),
    "ready": lambda stub: (stub.ServerReady, service_pb2.ServerReadyRequest()),
}


def grpc_status(server, call, key=None, form="bearer"):
    with grpc.insecure_channel(server.grpc) as channel:
        method, message = GRPC_CALLS[call](service_pb2_grpc.GRPCInferenceServiceStub(channel))
        try:
            method(message, timeout=30, metadata=tuple(FORMS[form](key).items()) if key else ())
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


@pytest.mark.parametrize("call", ["infer", "metadata", "index", "load", "unload"])
def test_without_a_key_or_with_a_wrong_one_nothing_is_done_over_grpc(server, call):
    assert grpc_status(server, call) == "UNAUTHENTICATED"
    assert grpc_status(server, call, "wrong") == "UNAUTHENTICATED"


@pytest.mark.parametrize("form", FORMS)
def test_a_key_opens_what_its_role_may_do_over_grpc(server, form):
    assert grpc_status(server, "infer", INFER, form) == "OK"
    assert grpc_status(server, "load", INFER, form) == "PERMISSION_DENIED"
    assert grpc_status(server, "unload", INFER, form) == "PERMISSION_DENIED"
    assert grpc_status(server, "infer", ADMIN, form) == "OK"
    assert grpc_status(server, "load", ADMIN, form) == "OK"
    assert grpc_status(server, "unload", ADMIN, form) == "NOT_FOUND"


def test_health_is_open_over_grpc(server):
    assert (grpc_status(server, "live"), grpc_status(server, "ready")) == ("OK", "OK")
    with grpc.insecure_channel(server.grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert check.status == health_pb2.HealthCheckResponse.SERVING


def test_neither_keys_nor_their_hashes_are_logged(server):
    for key in (INFER, ADMIN, "wrong-key-for-tests"):
        http_status(server, "load", key)
        grpc_status(server, "load", key)
    text = str(server.lines)
    for secret in (INFER, ADMIN, "wrong-key-for-tests", digest(INFER), digest(ADMIN)):
        assert secret not in text


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(folder, tmp_path_factory):
    """A server with a certificate of its own making, and the file that its clients must trust."""
    made = tmp_path_factory.mktemp("certificate")
    _, pem = certificate.make(made)
    flags = ("--tls-cert", pem, "--tls-key", str(made / "key.pem"))
    with serving(folder, *flags, watch_enabled=False, **KEYS) as process:
        yield process, pem


# NVIDIA's client, and gevent under it, still speak to the ssl module in the old way.
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings(r"ignore:ssl.match_hostname\(\) is deprecated:DeprecationWarning")
def test_tls_over_http_with_nvidias_and_our_own_client(secure):
    server, pem = secure
    x = np.zeros((1, 4), np.float32)
    url = f"https://{server.http}"
    with Client(url, api_key=INFER, verify=pem) as client:
        assert client.infer("adding", {"x": x})["y"].tolist() == [[1, 1, 1, 1]]
    lib = tritonclient.http
    tensor = lib.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(x)
    with lib.InferenceServerClient(server.http, ssl=True, ssl_options={"ca_certs": pem}) as client:
        result = client.infer("adding", [tensor], headers=FORMS["bearer"](INFER))
    assert result.as_numpy("y").tolist() == [[1, 1, 1, 1]]


def test_tls_over_grpc(secure):
    server, pem = secure
    lib = tritonclient.grpc
    tensor = lib.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
    with lib.InferenceServerClient(server.grpc, ssl=True, root_certificates=pem) as client:
        result = client.infer("adding", [tensor], headers=FORMS["bearer"](INFER))
    assert result.as_numpy("y").tolist() == [[1, 1, 1, 1]]


def test_with_tls_plain_text_is_not_answered(secure):
    server, _ = secure
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{server.http}/v2/health/live", timeout=10)
    assert grpc_status(server, "live") == "UNAVAILABLE"


def test_a_key_that_does_not_fit_the_certificate_is_refused_at_the_start(folder, tmp_path):
    _, pem = certificate.make(tmp_path)
    (tmp_path / "other.pem").write_text("no key")
    code, words = refused(folder, "--tls-cert", pem, "--tls-key", str(tmp_path / "other.pem"))
    assert code == 2
    assert "server.tls_cert and server.tls_key do not make a certificate" in words
