"""Whole messages through an ASGI app: what it is told, what is written, and what happens when it breaks."""

import asyncio
from contextlib import contextmanager

import pytest

from penstock.doors.auth import Keys
from penstock.doors.http import HttpDoor, Limits
from tests.doors.house import get, house, http, infer, until


@contextmanager
def serving(app):
    """A door whose other paths are ``app``'s."""
    with house() as own:
        own.door._app = app
        yield own


async def start(send, status=200, *headers):
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def part(send, content, more):
    await send({"type": "http.response.body", "body": content, "more_body": more})


def test_the_app_is_told_what_came():
    scopes, events = [], []

    async def app(scope, receive, send):
        scopes.append(scope)
        events.append(await receive())
        await start(send, 204)
        await part(send, b"", False)

    with serving(app) as own, own.caller() as caller:
        url = "http://test/a%20b/%E2%82%AC?x=1&y=%20"
        answer = caller.ask(http("PUT", url, b"content", "X-Name: Value\r\nX-NAME: last\r\n"), head_only=True)
        assert (answer.status, answer.headers) == (204, {})
    (scope,) = scopes
    assert (scope["method"], scope["path"], scope["query_string"]) == ("PUT", "/a b/€", b"x=1&y=%20")
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("http", "http", "1.1")
    assert dict(scope["headers"]) == {b"host": b"test", b"x-name": b"last", b"content-length": b"7"}
    assert events == [{"type": "http.request", "body": b"content", "more_body": False}]


def test_an_answer_with_a_length_is_written_as_it_comes():
    async def app(scope, receive, send):
        await start(send, 201, (b"Content-Length", b"6"), (b"X-Mine", b"a"))
        await part(send, b"abc", True)
        await part(send, b"def", False)

    with serving(app) as own, own.caller() as caller:
        raw = b"HTTP/1.1 201 Created\r\ncontent-length: 6\r\nx-mine: a\r\n\r\nabcdef"
        assert caller.ask(get("/")).raw == raw
        assert caller.ask(get("/")).raw == raw


def test_an_answer_without_a_length_is_chunked():
    async def app(scope, receive, send):
        await start(send)
        for content in (b"abc", b"", b"0123456789abcdef"):
            await part(send, content, True)
        if scope["path"] == "/last":
            await part(send, b"end", False)

    with serving(app) as own, own.caller() as caller:
        for url, expected in (("/", b"abc0123456789abcdef"), ("/last", b"abc0123456789abcdefend")):
            answer = caller.ask(get(url))
            assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", expected)
        head = b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n"
        assert caller.ask(head, head_only=True).headers == {"transfer-encoding": "chunked"}
        assert caller.ask(infer()).status == 200


def test_an_app_that_raises_before_it_answers_is_a_500(caplog):
    async def app(scope, receive, send):
        raise KeyError("a bug")

    with serving(app) as own, own.caller() as caller:
        answer = caller.ask(get("/"))
        assert (answer.status, answer.error) == (500, "the server failed on this request; its log says how")
        assert caller.ask(infer()).status == 200
    assert "KeyError: 'a bug'" in caplog.text


def test_an_app_that_says_nothing_is_a_500(caplog):
    async def app(scope, receive, send):
        pass

    with serving(app) as own, own.caller() as caller:
        assert caller.ask(get("/")).status == 500
        assert caller.ask(infer()).status == 200
    assert "without an answer" in caplog.text


def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(caplog):
    async def app(scope, receive, send):
        await start(send)
        await part(send, b"abc", True)
        raise KeyError("a bug")

    with serving(app) as own, own.caller() as caller:
        caller.send(get("/") + infer())
        with pytest.raises((EOFError, ConnectionResetError)):
            caller.answer()
    assert "/ failed while it was answered" in caplog.text


def test_an_app_that_raises_after_its_answer_changes_nothing(caplog):
    """It used to be answered a second time, which the client took for the answer to its next request."""

    async def app(scope, receive, send):
        await start(send, 200, (b"content-length", b"2"))
        await part(send, b"ok", False)
        await asyncio.sleep(0.01)
        raise KeyError("a bug")

    with serving(app) as own, own.caller() as caller:
        assert caller.ask(get("/")).body == b"ok"
        until(lambda: "a bug" in caplog.text)
        answer = caller.ask(infer())
        assert answer.json["model_name"] == "echo"


def test_the_app_of_a_caller_who_goes_is_cancelled():
    cancelled = []

    async def app(scope, receive, send):
        await receive()
        try:
            await receive()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with serving(app) as own:
        with own.caller() as caller:
            caller.send(get("/"))
            own.turn()
        until(lambda: cancelled == [True])
        until(lambda: own.connections() == 0)


def test_the_scheme_is_https_behind_tls():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["scheme"])
        await start(send, 204)

    door = HttpDoor(None, app, None, Keys({}), Limits())
    door._tls = object()

    class Silent:
        def keep_alive(self):
            return True

        def write(self, parts):
            pass

        def finish(self, keep):
            pass

    head = door.read_head(b"GET", b"/", {}, True)
    asyncio.run(door.other(Silent(), head, b""))
    assert seen == ["https"]


def test_a_broken_route_of_ours_answers_json_once(caplog):
    with house() as own, own.caller() as caller:
        own.models.raises = KeyError("a bug")
        answer = caller.ask(get("/v2/models/echo"))
        assert (answer.status, answer.error) == (500, "the server failed on this request; its log says how")
        own.models.raises = None
        assert caller.ask(get("/v2/models/echo")).status == 200
    assert "KeyError: 'a bug'" in caplog.text


def test_an_app_is_held_to_the_pace_of_its_reader():
    written = []

    async def app(scope, receive, send):
        await start(send)
        for number in range(200):
            await part(send, b"." * 100_000, True)
            written.append(number)

    with serving(app) as own, own.caller(receive_buffer=4096) as caller:
        caller.send(get("/"))
        until(lambda: written)
        seen = -1
        while seen != len(written):  # until it stands still
            seen = len(written)
            own.run(asyncio.sleep(0.1))
        assert seen < 150
        assert len(caller.answer().body) == 20_000_000
        assert caller.ask(infer()).status == 200


def test_a_reader_who_never_reads_an_endless_answer_is_cut_off():
    cancelled = []

    async def app(scope, receive, send):
        await start(send)
        try:
            while True:
                await part(send, b"." * 100_000, True)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with house(write_timeout_s=0.2) as own, own.caller(receive_buffer=4096) as caller:
        own.door._app = app
        caller.send(get("/"))
        until(lambda: cancelled == [True])
        until(lambda: own.connections() == 0)


def test_an_app_may_have_the_connection_closed_after_its_answer():
    async def app(scope, receive, send):
        await start(send, 200, (b"Connection", b"close"))
        await part(send, b"abc", False)

    with serving(app) as own, own.caller() as caller:
        answer = caller.ask(get("/"))
        assert (answer.headers["connection"], answer.body) == ("close", b"abc")
        assert caller.closed()


def test_an_answer_that_is_given_up_halfway_is_cut_and_nothing_follows():
    tasks = []

    async def app(scope, receive, send):
        tasks.append(asyncio.current_task())
        await start(send)
        await part(send, b"abc", True)
        await asyncio.sleep(60)

    with serving(app) as own, own.caller() as caller:
        caller.send(get("/"))
        until(lambda: tasks)
        own.call(tasks[0].cancel)
        with pytest.raises((EOFError, ConnectionResetError)):
            caller.answer()
        until(lambda: own.connections() == 0)
