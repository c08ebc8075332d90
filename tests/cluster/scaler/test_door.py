"""The contract of ``externalscaler.ExternalScaler`` over real gRPC, and what is said of what is wrong."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from penstock.cluster.scaler.desk import Access
from penstock.cluster.scaler.door import METRIC, Listen
from penstock.cluster.scaler.fetch import client, fetch
from penstock.core.errors import Unavailable
from tests.cli.certificate import make as make_certificate
from tests.cluster.scaler.autoscaler import replicas
from tests.cluster.scaler.replica import Growing, answering
from tests.cluster.scaler.serving import Keda, scaling
from tests.e2e.process import until

NOBODY = {"model": "m", "replicas": "127.0.0.1:9", "most": "9"}
HASTE = {"everySeconds": "0.1", "tickSeconds": "0.1", "syncSeconds": "0", "startupSeconds": "1"}


@pytest.fixture(scope="module")
def channel():
    with scaling(most=50) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def at(*ports, **changed):
    where = ",".join(f"127.0.0.1:{port}" for port in ports)
    return {"model": "m", "replicas": where, "most": "50"} | HASTE | changed


# -- the contract -------------------------------------------------------------------------------


def test_the_metric_is_the_number_of_replicas(channel):
    with answering(Growing(45)) as first, answering(Growing(45)) as second:
        keda = Keda(channel, at(first, second), "whole")
        until(lambda: keda.wanted() >= 8, "the traffic to be seen")
        values = keda.values()
        assert values.metricValues[0].metricName == "s0-penstock_desired_replicas"
        wanted = values.metricValues[0].metricValue
        assert replicas(2, keda.specs(), values, 1, 50) == wanted
        assert keda.active()


def test_the_spec_needs_no_figures(channel):
    specs = Keda(channel, NOBODY, "spec").specs()
    assert [(each.metricName, each.targetSize, each.targetSizeFloat) for each in specs.metricSpecs] == [
        (METRIC, 1, 1)
    ]


def test_streams_begin_with_how_it_is():
    with (
        answering(Growing(1)) as port,
        scaling() as (door, stop),
        grpc.insecure_channel(f"127.0.0.1:{door}") as own,
    ):
        keda = Keda(own, at(port))
        active, specs = keda.stream_active(), keda.stream_specs()
        assert next(active).result is True
        assert next(specs) == keda.specs()
        stop()
        assert [list(stream) for stream in (active, specs)] == [[], []]


def test_health_is_told(channel):
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    for service in ("", "externalscaler.ExternalScaler"):
        assert call(health_pb2.HealthCheckRequest(service=service), timeout=5).status == 1


@pytest.mark.alone
def test_a_question_costs_little(channel):
    with answering(Growing(10)) as port:
        keda = Keda(channel, at(port, everySeconds="1"), "cost")
        keda.wanted()
        begun = time.perf_counter()
        for _ in range(50):
            keda.wanted()
        assert (time.perf_counter() - begun) / 50 < 0.05


# -- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"modle": "m"}, "did you mean 'model'?"),
        ({"target": "fast"}, "target must be a number"),
        ({"replicas": "no port"}, "replicas must be host:port"),
        ({"most": "0"}, "must not be over most"),
    ],
)
def test_wrong_metadata_is_said_by_every_rpc(channel, changed, sentence):
    keda = Keda(channel, NOBODY | changed, "wrong")
    asks = [
        keda.specs,
        keda.values,
        keda.active,
        lambda: next(keda.stream_active()),
        lambda: next(keda.stream_specs()),
    ]
    for ask in asks:
        code, said = keda.refusal(ask)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert sentence in said


def test_another_metric_is_refused(channel):
    keda = Keda(channel, NOBODY, "spec")
    code, said = keda.refusal(lambda: keda.values("s0-queue"))
    assert (code, METRIC in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("page", "changed", "code", "sentence"),
    [
        ({"model": "other"}, {}, "NOT_FOUND", "no replica has a model 'm'"),
        ({"carries": 0.0}, {}, "UNAVAILABLE", "give carries in the metadata"),
        ({"target": 0.0}, {}, "UNAVAILABLE", "has no target to hold"),
        (b"<html>not metrics", {"model": "m"}, "NOT_FOUND", "no replica has a model"),
        (b"penstock_requests_total{model=", {}, "UNAVAILABLE", "is it a Penstock server?"),
        (b"\xff\xfe", {}, "UNAVAILABLE", "is it a Penstock server?"),
    ],
)
def test_what_replicas_do_not_say_is_said(channel, page, changed, code, sentence):
    shown = Growing(1, **(page if isinstance(page, dict) else {}))
    shown.body = page if isinstance(page, bytes) else None
    with answering(shown) as port:
        found = Keda(channel, at(port) | changed, f"odd {sentence} {port}").refusal()
    assert found is not None
    assert (found[0].name, sentence in found[1]) == (code, True), found


def test_a_name_without_addresses_and_a_port_without_server_are_told_apart(channel):
    code, said = Keda(channel, NOBODY | {"replicas": "no-such-host.invalid:80"}, "dns").refusal()
    assert (code.name, "has no address" in said) == ("UNAVAILABLE", True)
    code, said = Keda(channel, NOBODY, "port").refusal()
    assert (code.name, "none of 1 replicas answers" in said) == ("UNAVAILABLE", True)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"garbage", "not as Prometheus does"),
        (b'{"status":"error","error":"bad"}', "not as Prometheus does"),
        (b'{"status":"success","data":{"result":[]}}', "has no points of these replicas"),
        (b'{"status":"success","data":{"result":[{"metric":{}}]}}', "no list of series"),
        (None, "cannot be asked"),
    ],
)
def test_a_prometheus_that_says_nonsense_is_said(channel, body, sentence):
    with answering(lambda _: body) as port:
        metadata = {"model": "m", "serverAddress": f"http://127.0.0.1:{port}", "most": "5"}
        code, said = Keda(channel, metadata, f"nonsense {port}").refusal()
    assert (code.name, sentence in said) == ("UNAVAILABLE", True), said


def test_the_last_decision_stands_for_a_while_and_then_the_call_fails(channel):
    page = Growing(60)
    with answering(page) as port:
        keda = Keda(channel, at(port, staleSeconds="1.5"), "stale")
        until(lambda: keda.wanted() >= 5, "the traffic to be seen")

        def stands():
            assert keda.wanted() >= 5

        page.body = b"\xff"
        begun = time.monotonic()
        code, said = until(lambda: keda.refusal(stands), "the call to fail", every=0.05)
        assert (code.name, "Penstock server" in said) == ("UNAVAILABLE", True)
        assert time.monotonic() - begun > 1
        page.body = None
        until(lambda: keda.refusal() is None, "the scaler to go on")


def test_nothing_is_waited_for_without_end():
    def slow(handler):
        time.sleep(0.5)
        return ""

    async def ask(port):
        async with client() as asking:
            await fetch(asking, f"http://127.0.0.1:{port}/", 0.1)

    with answering(slow) as port, pytest.raises(Unavailable, match=r"did not answer in 0\.1 s"):
        asyncio.run(ask(port))


def test_triggers_are_bounded_and_those_that_nobody_asks_for_are_forgotten():
    with scaling(most=2, forget_s=0.3) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as own:
        for name in ("a", "b"):
            Keda(own, NOBODY, name).specs()
        third = Keda(own, NOBODY, "c")
        code, said = third.refusal(third.specs)
        assert (code.name, "--most" in said) == ("RESOURCE_EXHAUSTED", True)
        until(lambda: third.refusal(third.specs) is None, "the others to be forgotten")


def test_history_outlives_a_change_of_terms(channel):
    page = Growing(60)
    with answering(page) as port:
        until(lambda: Keda(channel, at(port), "terms").wanted() >= 5, "the traffic to be seen")
        changed = Keda(channel, at(port, budget="0.02"), "terms")
        until(lambda: changed.refusal() is None, "a decision")
        assert changed.wanted() >= 5


def test_replicas_are_asked_once_for_all_models(channel):
    page, asked = Growing(1), []

    def counting(handler):
        asked.append(handler.path)
        return page(handler)

    with answering(counting) as port:
        for name in "abcd":
            Keda(channel, at(port, everySeconds="60"), f"shared-{name}").wanted()
    assert asked == ["/metrics"]


# -- who may ask whom ---------------------------------------------------------------------------


def test_replicas_are_shown_the_key():
    page = Growing(1)

    def guarded(handler):
        return page(handler) if handler.headers["authorization"] == "Bearer sesame" else b"\xff"

    with (
        answering(guarded) as port,
        scaling(Access(key="sesame")) as (door, _),
        grpc.insecure_channel(f"127.0.0.1:{door}") as own,
    ):
        assert Keda(own, at(port)).refusal() is None


def test_replicas_may_speak_tls(tmp_path, channel):
    context, cert = make_certificate(tmp_path)
    with (
        answering(Growing(1), context) as port,
        scaling(Access(ca=cert)) as (door, _),
        grpc.insecure_channel(f"127.0.0.1:{door}") as own,
    ):
        metadata = at(port) | {"replicas": f"https://127.0.0.1:{port}"}
        assert Keda(own, metadata).refusal() is None
        code, said = Keda(channel, metadata, "untrusted").refusal()
        assert (code.name, "certificate verify failed" in said) == ("UNAVAILABLE", True)


def test_only_those_with_a_certificate_may_ask(tmp_path):
    _, cert = make_certificate(tmp_path)
    pem, secret = Path(cert).read_bytes(), (tmp_path / "key.pem").read_bytes()
    listen = Listen(port=0, certificate=pem, key=secret, client_ca=pem)
    with scaling(listen=listen) as (port, _):
        known = grpc.ssl_channel_credentials(pem, secret, pem)
        with grpc.secure_channel(f"127.0.0.1:{port}", known) as own:
            assert Keda(own, NOBODY).specs().metricSpecs[0].metricName == METRIC
        with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(pem)) as other:
            keda = Keda(other, NOBODY)
            assert keda.refusal(keda.specs)[0].name == "UNAVAILABLE"
