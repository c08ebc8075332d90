"""API keys by headers on every route, and nothing by which they could be got round."""

import asyncio
import time

import pytest

from penstock.core.errors import Forbidden, Unauthenticated
from penstock.core.terms import KeyTerms
from penstock.doors.auth import Keys, digest, key_of
from tests.doors.house import data, get, house, http, infer, until

ROLES = {digest("user"): "infer", digest("boss"): "admin"}
USER, BOSS = "X-API-Key: user\r\n", "Authorization: Bearer boss\r\n"
LOAD = "/v2/repository/models/echo/load"

INFER_ROUTES = [
    infer(),
    get("/v2"),
    get("/v2/models"),
    get("/v2/models/stats"),
    get("/v2/models/echo"),
    get("/v2/models/echo/versions/2"),
    get("/v2/models/echo/ready"),
    get("/v2/models/echo/config"),
    get("/v2/models/echo/stats"),
    get("/metrics"),
    get("/penstock/models"),
    get("/nowhere"),
]
ADMIN_ROUTES = [
    http("POST", "/v2/repository/index"),
    http("POST", LOAD),
    http("POST", "/v2/repository/models/echo/unload"),
    http("POST", "/v2/%72epository/models/echo/load"),
    http("POST", "http://test" + LOAD),
    http("POST", "HTTP://test" + LOAD),
    http("PUT", LOAD),
]


@pytest.fixture(scope="module")
def locked():
    with house(ROLES) as found:
        yield found


def with_key(request: bytes, line: str) -> bytes:
    return request.replace(b"Host: test\r\n", b"Host: test\r\n" + line.encode(), 1)


def first_line(request: bytes) -> str:
    return request.split(b"\r\n")[0].decode()


@pytest.mark.parametrize("request_", INFER_ROUTES + ADMIN_ROUTES, ids=first_line)
def test_every_route_needs_a_key(locked, request_):
    with locked.caller() as caller:
        answer = caller.ask(request_)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="penstock"')
        assert "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'" in answer.error
        assert caller.closed()


@pytest.mark.parametrize("line", ["X-API-Key: nobody\r\n", "Authorization: Bearer nobody\r\n"])
def test_an_unknown_key_is_refused(locked, line):
    with locked.caller() as caller:
        answer = caller.ask(infer(headers=line))
        assert (answer.status, answer.error) == (401, "this API key is not known here")
        assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("line", ["Authorization: Basic dXNlcg==\r\n", "Authorization: user\r\n"])
def test_other_schemes_are_no_key(locked, line):
    with locked.caller() as caller:
        assert caller.ask(infer(headers=line)).status == 401


@pytest.mark.parametrize("line", [USER, BOSS, "authorization: bearer user\r\n", "x-api-key:   boss  \r\n"])
def test_either_header_and_either_role_may_infer(locked, line):
    with locked.caller() as caller:
        assert data(caller.ask(infer(headers=line))) == [1.0, 2.0]


@pytest.mark.parametrize("request_", INFER_ROUTES[1:-1], ids=first_line)
def test_a_key_opens_every_reading_route(locked, request_):
    with locked.caller() as caller:
        assert caller.ask(with_key(request_, USER)).status == 200


@pytest.mark.parametrize("request_", ADMIN_ROUTES, ids=first_line)
def test_the_repository_needs_an_admin_key(locked, request_):
    with locked.caller() as caller:
        answer = caller.ask(with_key(request_, USER))
        assert (answer.status, "'admin' is needed" in answer.error) == (403, True)
        assert "www-authenticate" not in answer.headers
    assert locked.models.calls == []


def test_an_admin_key_loads_in_either_url_form(locked):
    for request in (ADMIN_ROUTES[1], ADMIN_ROUTES[3], ADMIN_ROUTES[4]):
        with locked.caller() as caller:
            assert caller.ask(with_key(request, BOSS)).status == 200
    assert locked.models.calls == [("load", "echo", {})] * 3
    locked.models.calls.clear()


@pytest.mark.parametrize("url", ["/v2/health/live", "/v2/health/ready", "http://test/v2/health/live"])
def test_health_is_open(locked, url):
    with locked.caller() as caller:
        assert caller.ask(get(url)).status == 200


@pytest.mark.parametrize(
    "url", ["/v2/health/../models", "/v2/health/..%2Fmodels", "/v2/health/%2e%2e/models"]
)
def test_the_open_path_leads_nowhere_else(locked, url):
    with locked.caller() as caller:
        assert caller.ask(get(url)).status == 404


def test_a_remembered_head_is_not_remembered_without_its_key(locked):
    allowed, none, wrong = infer(headers=USER), infer(), infer(headers="X-API-Key: usor\r\n")
    with locked.caller() as caller:
        for _ in range(3):
            assert data(caller.ask(allowed)) == [1.0, 2.0]
    assert any(USER.strip().encode() in head for head in locked.door.heads)
    for request, status in ((allowed, 200), (wrong, 401), (none, 401), (allowed, 200)):
        with locked.caller() as caller:
            assert caller.ask(request).status == status


def test_a_head_that_was_refused_is_never_remembered(locked):
    locked.door.heads.clear()
    for _ in range(2):
        with locked.caller() as caller:
            assert caller.ask(infer()).status == 401
    assert len(locked.door.heads) == 0


def test_a_request_without_a_key_gains_nothing_by_waiting_behind_one_with():
    """It used to be run, and its head remembered, when it was pipelined behind a slow one."""
    with house(ROLES) as own, own.caller() as caller:
        caller.send(infer("slow", headers=USER))
        assert own.handler.entered.wait(5)
        caller.send(infer(x=[[7.0]]))
        caller.send(infer(headers=USER))
        time.sleep(0.05)
        own.call(own.handler.release.set)
        assert data(caller.answer()) == [1.0, 2.0]
        assert caller.answer().status == 401
        assert caller.closed()
        assert [request.model for request in own.handler.seen] == ["slow"]
        with own.caller() as other:
            assert other.ask(infer(x=[[7.0]])).status == 401


def test_nor_by_waiting_behind_an_admin_request():
    with house(ROLES) as own, own.caller() as caller:
        own.models.gate = own.call(asyncio.Event)
        caller.send(http("POST", LOAD, headers=BOSS))
        caller.send(infer())
        until(lambda: own.connections() == 1)
        time.sleep(0.05)
        own.call(own.models.gate.set)
        assert [caller.answer().status, caller.answer().status] == [200, 401]
        assert caller.closed()
        assert own.handler.seen == []


def test_keys_are_hex_hashes_of_any_case():
    keys = Keys({digest("boss").upper(): "admin"})
    keys.require("boss", "admin")
    keys.require("boss", "infer")
    with pytest.raises(Unauthenticated, match="not known"):
        keys.require("Boss", "infer")


def test_a_key_tells_its_tenant():
    team = KeyTerms(role="infer", tenant="team-a")
    keys = Keys({digest("theirs"): team, digest("boss"): KeyTerms(role="admin"), digest("user"): "infer"})
    assert [keys.require(key, "infer") for key in ("theirs", "boss", "user")] == ["team-a", "", ""]
    keys.require("boss", "admin")
    for key in ("theirs", "user"):
        with pytest.raises(Forbidden):
            keys.require(key, "admin")
    assert Keys({}).require("theirs", "infer") == ""


def test_no_keys_at_all_let_everybody_in():
    assert not Keys({})
    Keys({}).require(None, "admin")


def test_a_role_is_not_more_than_itself():
    with pytest.raises(Forbidden, match="role 'infer'"):
        Keys({digest("user"): "infer"}).require("user", "admin")


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        ("Bearer a", None, "a"),
        ("bearer  a ", None, "a"),
        ("Bearer a", "b", "b"),
        ("Basic a", None, None),
        ("Bearer", None, None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_where_a_key_may_stand(authorization, x_api_key, key):
    assert key == key_of(authorization, x_api_key)
