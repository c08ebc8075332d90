"""The HTTP door behind TLS: the same answers, and the same care for who is refused."""

import asyncio
import ssl

import pytest

from tests.cli.certificate import make
from tests.doors.house import data, get, house, http, infer, until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    context, pem = make(tmp_path_factory.mktemp("tls"))
    return context, ssl.create_default_context(cafile=pem)


@pytest.fixture
def door(certificate):
    with house(tls=certificate[0], max_body_bytes=10_000) as found:
        yield found


def test_requests_are_answered_as_without(door, certificate):
    with door.caller(trust=certificate[1]) as caller:
        assert data(caller.ask(infer())) == [1.0, 2.0]
        caller.send(infer() + get("/v2/health/live") + infer("ticket"))
        assert [caller.answer().status for _ in range(3)] == [200] * 3
        assert caller.ask(infer(headers="Connection: close\r\n")).status == 200
        assert caller.closed()


def test_a_client_that_still_sends_can_read_why_it_is_refused(door, certificate):
    with door.caller(trust=certificate[1]) as caller:
        caller.send(http("POST", "/v2/models/echo/infer", b"")[:-5] + b" 50000000\r\n\r\n")
        for _ in range(50):
            caller.send(bytes(100_000))
        assert caller.answer().status == 413
    until(lambda: door.connections() == 0)


def test_a_client_that_does_not_go_after_a_refusal_is_cut_off(door, certificate):
    with door.caller(trust=certificate[1]) as caller:
        assert caller.ask(b"garbage\r\n\r\n").status == 400
        door.look(later=3.0)
        until(lambda: door.connections() == 0)


def test_a_client_without_tls_is_closed(door):
    with door.caller() as caller:
        caller.send(infer())
        assert not caller.everything().startswith(b"HTTP/")
    until(lambda: door.connections() == 0)


def test_draining_says_goodbye(door, certificate):
    with door.caller(trust=certificate[1]) as caller:
        assert caller.ask(infer()).status == 200
        draining = asyncio.run_coroutine_threadsafe(door.door.drain(1.0, 5.0), door.loop)
        until(lambda: door.door.draining)
        answer = caller.ask(infer())
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        caller.socket.close()
        draining.result(5)
