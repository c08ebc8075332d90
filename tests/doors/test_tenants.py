"""Whom a request is charged to: its key's tenant, else the one in a header, and nothing else that is sent."""

import random

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from penstock.core.tenants import cleaned
from penstock.core.terms import KeyTerms
from penstock.doors.auth import Keys, digest
from penstock.doors.grpc_desk import Desk
from penstock.doors.v2_grpc import Options
from tests.doors.house import data, house, http, infer
from tests.doors.test_v2_grpc import opened

KEYS = {
    digest("a"): KeyTerms(role="infer", tenant="team-a"),
    digest("b"): KeyTerms(role="admin", tenant="team-b"),
    digest("c"): "infer",
}
A, B, C = "X-API-Key: a\r\n", "Authorization: Bearer b\r\n", "X-API-Key: c\r\n"


@pytest.fixture(scope="module")
def keyed():
    with house(KEYS, tenant_header="X-Tenant") as found:
        yield found


@pytest.fixture(scope="module")
def open_house():
    with house(tenant_header="X-Tenant") as found:
        yield found


def tags(found, headers):
    with found.caller() as caller:
        assert data(caller.ask(infer(headers=headers))) == [1.0, 2.0]
    return dict(found.handler.seen[-1].tags)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (A, {"tenant": "team-a"}),
        (B, {"tenant": "team-b"}),
        (C, {}),
        (C + "x-TENANT: theirs\r\n", {"tenant": "theirs"}),
        (A + "X-Tenant: theirs\r\n", {"tenant": "team-a"}),
        ("X-Tenant: theirs\r\n" + B, {"tenant": "team-b"}),
        (C + "tenant: theirs\r\n", {}),
        (C + "X-Tenant:\r\n", {}),
        (C + "X-Tenant: one\r\nX-Tenant: two\r\n", {"tenant": "two"}),
        (A + "traceparent: 00-1\r\n", {"tenant": "team-a", "traceparent": "00-1"}),
    ],
)
def test_the_keys_tenant_and_else_the_headers(keyed, headers, expected):
    assert expected == tags(keyed, headers)


def test_without_the_setting_no_header_names_a_tenant():
    with house(KEYS) as found:
        assert tags(found, C + "X-Tenant: theirs\r\ntenant: theirs\r\n") == {}
        assert tags(found, A) == {"tenant": "team-a"}


def test_remembered_heads_of_two_tenants_do_not_mix(keyed):
    keyed.door.heads.clear()
    keyed.handler.seen.clear()
    turns = [A, B, C, C + "X-Tenant: x\r\n", A, A, B, C + "X-Tenant: x\r\n", C, A]
    with keyed.caller() as caller:
        for headers in turns:
            assert data(caller.ask(infer(headers=headers))) == [1.0, 2.0]
    told = {A: "team-a", B: "team-b", C: "", C + "X-Tenant: x\r\n": "x"}
    assert [told[each] for each in turns] == [each.tags.get("tenant", "") for each in keyed.handler.seen]
    assert len(keyed.door.heads) == 4


def test_nor_do_pipelined_ones(keyed):
    keyed.handler.seen.clear()
    turns = [A, C, B, C, C + "X-Tenant: x\r\n", C]
    with keyed.caller() as caller:
        caller.send(b"".join(infer(headers=each) for each in turns))
        for _ in turns:
            assert data(caller.answer()) == [1.0, 2.0]
    expected = ["team-a", "", "team-b", "", "x", ""]
    assert expected == [each.tags.get("tenant", "") for each in keyed.handler.seen]


def test_a_request_in_pieces_or_with_an_upgrade_keeps_its_tenant(keyed):
    keyed.handler.seen.clear()
    upgrade = infer(headers=A + "Connection: Upgrade\r\nUpgrade: h2c\r\n")
    with keyed.caller() as caller:
        assert data(caller.ask(upgrade)) == [1.0, 2.0]
        whole = infer(headers=A)
        caller.send(whole[:60])
        keyed.turn()
        assert data(caller.ask(whole[60:])) == [1.0, 2.0]
    assert [dict(each.tags) for each in keyed.handler.seen] == [{"tenant": "team-a"}] * 2


def test_a_compressed_body_is_charged_like_any(keyed):
    import gzip

    keyed.handler.seen.clear()
    content = gzip.compress(infer().split(b"\r\n\r\n", 1)[1])
    with keyed.caller() as caller:
        request = http("POST", "/v2/models/echo/infer", content, A + "Content-Encoding: gzip\r\n")
        assert data(caller.ask(request)) == [1.0, 2.0]
    assert keyed.handler.seen[-1].tags == {"tenant": "team-a"}


def header_values(number):
    """Header values as llhttp lets them through: anything but line ends and NUL."""
    chance = random.Random(number)
    parts = [b"team", b" ", b"\t", b"\x80\x9b", b"\xff\xfe", "é起".encode(), b"\xe2\x80\xae", b'"', b"x" * 70]
    for _ in range(60):
        made = b"".join(chance.choices(parts, k=chance.randint(0, 6)))
        yield made + bytes(chance.choices([*range(32, 127), *range(128, 256)], k=chance.randint(0, 20)))


@pytest.mark.parametrize("number", range(4))
def test_whatever_a_header_holds_a_tenant_is_printable_and_short(open_house, number):
    with open_house.caller() as caller:
        for value in header_values(number):
            caller.send(infer().replace(b"Host: test", b"Host: test\r\nX-Tenant: " + value, 1))
            assert data(caller.answer()) == [1.0, 2.0], value
            tenant = open_house.handler.seen[-1].tags.get("tenant")
            expected = cleaned(value.strip(b" \t").decode(errors="replace"))
            assert (expected or None) == tenant
            assert tenant is None or (0 < len(tenant) <= 64 and tenant.isprintable())


# -- gRPC ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"x-api-key": "a"}, {"tenant": "team-a"}),
        ({"authorization": "Bearer b", "x-tenant": "theirs"}, {"tenant": "team-b"}),
        ({"x-api-key": "c", "x-tenant": " theirs "}, {"tenant": "theirs"}),
        ({"x-api-key": "c", "tenant": "theirs"}, {}),
        ({"x-api-key": "c", "traceparent": "00-1"}, {"traceparent": "00-1"}),
    ],
)
def test_a_call_has_its_keys_tenant_and_else_its_metadatas(called, metadata, expected):
    house, stub = called
    request = service_pb2.ModelInferRequest(model_name="adder")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    request.raw_input_contents.append(np.zeros(3, np.float32).tobytes())
    stub.ModelInfer(request, metadata=tuple(metadata.items()))
    assert expected == house.handler.request.tags


@pytest.fixture(scope="module")
def called():
    options = Options(tenant_header="X-Tenant")
    with opened(keys=Keys(KEYS), options=options) as house, grpc.insecure_channel(house.url) as channel:
        yield house, service_pb2_grpc.GRPCInferenceServiceStub(channel)


def test_metadata_of_bytes_names_nobody():
    desk = Desk(Keys({}), "x-tenant")
    assert desk.admit([("x-tenant", b"theirs"), ("tenant", "theirs"), ("tenant-bin", b"x")], "infer") == {}
    assert desk.admit([("x-tenant", "a\x00b" + "c" * 80)], None) == {"tenant": "ab" + "c" * 62}
    assert Desk(Keys({})).admit([("", "theirs"), ("x-tenant", "theirs")], "infer") == {}
