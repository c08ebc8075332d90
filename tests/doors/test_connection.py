"""One HTTP/1.1 connection: whatever way a request comes, its answer is the same, and in its place."""

import asyncio
import time

import pytest

from penstock.doors.heads import END
from tests.doors.house import Caller, body, data, get, house, http, infer, until

LIVE = get("/v2/health/live")


@pytest.fixture(scope="module")
def door():
    with house() as found:
        yield found


@pytest.fixture
def caller(door):
    with door.caller() as found:
        yield found


def chunked(url: str, *pieces: bytes, trailers: str = "", headers: str = "") -> bytes:
    head = f"POST {url} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + framed + b"0\r\n" + trailers.encode() + b"\r\n"


# -- the ways a request may come ------------------------------------------------------------------


def test_a_connection_answers_one_request_after_another(caller):
    for value in (1.0, 2.0, 3.0):
        assert data(caller.ask(infer(x=[[value]]))) == [value]
        assert caller.ask(LIVE).json == {"live": True}


@pytest.mark.parametrize("model", ["echo", "ticket", "early"])
def test_pipelined_requests_are_answered_in_their_order(caller, model):
    caller.send(b"".join(infer(model, x=[[float(i)]]) + LIVE for i in range(50)))
    for i in range(50):
        assert data(caller.answer()) == [float(i)]
        assert caller.answer().json == {"live": True}


def test_a_bad_request_in_the_middle_gets_its_answer_in_its_place(caller):
    bad = http("POST", "/v2/models/echo/infer", b"{")
    caller.send(infer(x=[[1.0]]) + bad + infer(x=[[2.0]]) + get("/nowhere") + infer(x=[[3.0]]))
    answers = [caller.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 400, 200, 404, 200]
    assert [data(answers[i]) for i in (0, 2, 4)] == [[1.0], [2.0], [3.0]]


def test_garbage_in_the_middle_is_answered_in_its_place_and_is_the_end(caller):
    caller.send(infer(x=[[1.0]]) + infer(x=[[2.0]]) + b"\0garbage\r\n\r\n" + infer(x=[[3.0]]))
    assert [data(caller.answer()), data(caller.answer())] == [[1.0], [2.0]]
    answer = caller.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.error.startswith("this is not HTTP/1.1")
    assert caller.closed()


def test_garbage_behind_a_request_that_still_runs_waits_for_it():
    with house() as own, own.caller() as caller:
        caller.send(infer("slow", x=[[1.0]]) + b"\0garbage" + infer(x=[[2.0]]))
        assert own.handler.entered.wait(5)
        caller.send(infer(x=[[3.0]]))
        own.call(own.handler.release.set)
        assert data(caller.answer()) == [1.0]
        assert caller.answer().status == 400
        assert caller.closed()
        assert [request.model for request in own.handler.seen] == ["slow"]


WAYS = {
    "with a length": infer(x=[[1.0, 2.0]], id="7"),
    "chunked": chunked("/v2/models/echo/infer", body([[1.0, 2.0]], id="7")),
    "in many chunks": chunked("/v2/models/echo/infer", *(b"%c" % c for c in body([[1.0, 2.0]], id="7"))),
    "expecting": infer(x=[[1.0, 2.0]], id="7", headers="Expect: something-else\r\n"),
    "with an upgrade": infer(x=[[1.0, 2.0]], id="7", headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "after blank lines": b"\r\n\r\n" + infer(x=[[1.0, 2.0]], id="7"),
}


@pytest.mark.parametrize("way", WAYS)
def test_split_at_every_byte_it_is_the_same_request(door, way):
    request = WAYS[way]
    with door.caller() as caller:
        whole = caller.ask(request)
        assert data(whole) == [1.0, 2.0]
        for at in range(1, len(request)):
            caller.send(request[:at])
            door.turn()
            assert caller.ask(request[at:]).raw == whole.raw


def test_one_byte_at_a_time(door, caller):
    whole = caller.ask(WAYS["with a length"])
    for at in range(len(WAYS["with a length"])):
        caller.send(WAYS["with a length"][at : at + 1])
    assert caller.answer().raw == whole.raw
    for at in range(len(WAYS["in many chunks"])):
        caller.send(WAYS["in many chunks"][at : at + 1])
    assert caller.answer().raw == whole.raw


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_two_requests_that_come_in_odd_pieces(door, caller, cut):
    """The end of one and the beginning of the next, under a head that is already known."""
    one, two = infer(x=[[1.0]]), infer(x=[[2.0]])
    assert data(caller.ask(one)) == [1.0]
    both = one + two
    at = len(one) + (cut if cut > 0 else -1)
    caller.send(both[:at])
    door.turn()
    caller.send(both[at:])
    assert [data(caller.answer()), data(caller.answer())] == [[1.0], [2.0]]


def test_a_known_head_with_another_body_is_another_request(door, caller):
    first = infer(x=[[1.0]])
    head = first[: first.index(END) + 4]
    assert data(caller.ask(first)) == [1.0]
    assert head in door.door.heads
    assert data(caller.ask(infer(x=[[9.0]]))) == [9.0]
    assert infer(x=[[9.0]]).startswith(head)


def test_a_known_head_whose_body_comes_later_or_with_more(door, caller):
    first = infer(x=[[1.0]])
    at = first.index(END) + 4
    assert data(caller.ask(first)) == [1.0]
    caller.send(first[:at])
    door.turn()
    assert data(caller.ask(first[at:])) == [1.0]
    caller.send(first + first[:at])
    assert data(caller.answer()) == [1.0]
    assert data(caller.ask(first[at:])) == [1.0]


def test_known_heads_are_kept_in_bounds(door, caller):
    for i in range(1100):
        assert caller.ask(infer(headers=f"X-Number: {i}\r\n")).status == 200
    assert len(door.door.heads) <= 1024
    long = infer(headers=f"X-Long: {'a' * 3000}\r\n")
    assert caller.ask(long).status == 200
    assert long[: long.index(END) + 4] not in door.door.heads


def test_only_whole_plain_inference_is_remembered(door, caller):
    door.door.heads.clear()
    caller.ask(LIVE)
    caller.ask(http("POST", "/v2/repository/index"))
    caller.ask(chunked("/v2/models/echo/infer", body()))
    caller.ask(infer(headers="Content-Encoding: identity\r\n"))
    caller.send(infer() + infer())
    assert [caller.answer().status, caller.answer().status] == [200, 200]
    assert len(door.door.heads) == 0
    assert caller.ask(infer()).status == 200
    assert len(door.door.heads) == 1


def test_trailers_are_read_over(caller):
    """They came to stand among the headers, where they could contradict those that were judged."""
    odd = "Content-Encoding: gzip\r\nInference-Header-Content-Length: 0\r\nAccept-Encoding: gzip\r\n"
    assert data(caller.ask(chunked("/v2/models/echo/infer", body(), trailers=odd))) == [1.0, 2.0]
    assert data(caller.ask(infer())) == [1.0, 2.0]


def test_chunk_extensions_are_read_over(caller):
    request = chunked("/v2/models/echo/infer", body()).replace(b"0\r\n\r\n", b"0;name=value\r\n\r\n")
    assert data(caller.ask(request)) == [1.0, 2.0]


def test_a_client_that_waits_for_leave_gets_it(caller):
    request = infer(headers="Expect: 100-continue\r\n")
    at = request.index(END) + 4
    answer = caller.ask(request[:at])
    assert (answer.status, answer.raw) == (100, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert data(caller.ask(request[at:])) == [1.0, 2.0]


def test_leave_is_not_given_for_a_body_that_is_too_large():
    with house(max_body_bytes=1000) as own, own.caller() as caller:
        request = infer(x=[[1.0] * 500], headers="Expect: 100-continue\r\n")
        assert caller.ask(request[: request.index(END) + 4]).status == 413
        assert caller.closed()


# -- versions and the end of a connection ---------------------------------------------------------


def test_http_1_0_is_answered_and_closed(caller):
    answer = caller.ask(http("POST", "/v2/models/echo/infer", body(), version="1.0"))
    assert (data(answer), answer.headers["connection"]) == ([1.0, 2.0], "close")
    assert caller.closed()


def test_http_1_0_gets_no_leave_which_it_could_not_read(caller):
    request = http("POST", "/v2/models/echo/infer", body(), "Expect: 100-continue\r\n", version="1.0")
    at = request.index(END) + 4
    caller.send(request[:at])
    time.sleep(0.02)
    assert data(caller.ask(request[at:])) == [1.0, 2.0]


def test_http_1_0_may_keep_its_connection(caller):
    request = http("POST", "/v2/models/echo/infer", body(), "Connection: keep-alive\r\n", version="1.0")
    assert data(caller.ask(request)) == [1.0, 2.0]
    assert data(caller.ask(request)) == [1.0, 2.0]


@pytest.mark.parametrize(
    "request_", [infer(headers="Connection: close\r\n"), get("/v2", "Connection: close\r\n")]
)
def test_a_client_that_wants_to_close_is_closed(door, request_):
    for _ in range(2):  # the second time, the head may be known
        with door.caller() as caller:
            answer = caller.ask(request_)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert caller.closed()


def test_what_follows_a_request_to_close_is_not_run(door):
    with door.caller() as caller:
        caller.send(infer(headers="Connection: close\r\n") + infer(x=[[6.0, 6.0]]))
        assert data(caller.answer()) == [1.0, 2.0]
        assert caller.closed()


@pytest.mark.parametrize(
    "headers",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: h2c\r\n",
    ],
)
def test_an_upgrade_is_not_offered_and_the_request_answered_as_it_stands(caller, headers):
    """As Java's and curl's clients offer HTTP/2; the body used to be lost."""
    assert data(caller.ask(infer(headers=headers))) == [1.0, 2.0]
    assert caller.ask(get("/v2", headers)).json["name"] == "penstock"
    assert data(caller.ask(chunked("/v2/models/echo/infer", body(), headers=headers))) == [1.0, 2.0]
    caller.send(get("/v2", headers) + infer(headers=headers) + infer(x=[[3.0]]))
    assert [caller.answer().status, caller.answer().status] == [200, 200]
    assert data(caller.answer()) == [3.0]


@pytest.mark.parametrize(
    "request_", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n"]
)
def test_other_protocols_are_answered_and_closed(caller, request_):
    answer = caller.ask(request_)
    assert answer.status in (400, 405)
    assert answer.error
    assert caller.closed()


# -- targets --------------------------------------------------------------------------------------


def test_head_is_get_without_a_body(caller):
    for url in ("/v2", "/v2/health/ready", "/v2/models/echo", "/nowhere", "/metrics"):
        asked = caller.ask(f"HEAD {url} HTTP/1.1\r\nHost: test\r\n\r\n".encode(), head_only=True)
        got = caller.ask(get(url))
        assert (asked.status, asked.headers) == (got.status, got.headers)


@pytest.mark.parametrize(
    ("url", "model", "version"),
    [
        ("/v2/models/echo/infer", "echo", ""),
        ("/v2/models/echo/versions/7/infer", "echo", "7"),
        ("/v2/models/echo/versions/v1.2-rc%2B1/infer", "echo", "v1.2-rc+1"),
        ("/v2/models/my%20model/versions/%E2%82%AC/infer", "my model", "€"),
        ("/v2/models/a%2Fb/infer", "a/b", ""),
        ("/v2/models/a%252Fb/infer", "a%2Fb", ""),
        ("/v2/models/%66oo/infer?x=1&y=/v2/models/bar/infer", "foo", ""),
        ("/v2/models/versions/infer", "versions", ""),
        ("/v2/models/infer/infer?", "infer", ""),
        ("http://test:8000/v2/models/echo/infer", "echo", ""),
        ("https://test/v2/models/echo/versions/2/infer?a", "echo", "2"),
        ("HTTP://test/v2/models/echo/infer", "echo", ""),
    ],
)
def test_the_url_names_the_model_and_the_version(door, caller, url, model, version):
    assert caller.ask(http("POST", url, body())).status == 200
    seen = door.handler.seen[-1]
    assert (seen.model, seen.version) == (model, version)


@pytest.mark.parametrize(
    "url",
    [
        "/v2/models//infer",
        "/v2/models/echo/versions//infer",
        "/v2/models/echo/infer/more",
        "/v2/models/a/b/infer",
        "/v2/models/echo%2Finfer",
        "//v2/models/echo/infer",
        "/V2/models/echo/infer",
        "http://v2/models/echo/infer",
        "http://test",
        "*",
    ],
)
def test_other_urls_are_not_inference(door, caller, url):
    before = len(door.handler.seen)
    answer = caller.ask(http("POST", url, body()))
    assert answer.status in (400, 404, 405)
    assert answer.error
    assert len(door.handler.seen) == before


@pytest.mark.parametrize(
    "url", ["http://test/v2/models/echo", "/v2/models/%65cho", "/v2/models/echo?verbose=1"]
)
def test_every_route_takes_every_form_of_url(caller, url):
    assert caller.ask(get(url)).json["name"] == "echo"


def test_the_callers_trace_goes_with_the_request(door, caller):
    head = "traceparent: 00-1-2-01\r\ntracestate: a=b\r\n"
    assert caller.ask(infer(headers=head)).status == 200
    assert door.handler.seen[-1].tags == {"traceparent": "00-1-2-01", "tracestate": "a=b"}
    raw = http("POST", "/v2/models/echo/infer", bytes(8), head + "Inference-Header-Content-Length: 0\r\n")
    assert caller.ask(raw).status == 200
    assert door.handler.seen[-1].tags["traceparent"] == "00-1-2-01"


# -- what is refused ------------------------------------------------------------------------------

HEAD = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: test\r\n"
SMUGGLED = {
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "two different lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 2\r\n\r\nabcd",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "length and chunks": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -4\r\n\r\nabcd",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "a hexadecimal length": HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
    "an empty length": HEAD + b"Content-Length:\r\n\r\nabcd",
    "a length in words": HEAD + b"Content-Length: four\r\n\r\nabcd",
    "an endless length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabcd",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "an odd encoding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a folded length": HEAD + b"X: a\r\n\tContent-Length: 4\r\n\r\nabcd",
    "bare LF": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "one bare LF": HEAD + b"X: a\nContent-Length: 0\r\n\r\n",
    "bare CR": HEAD + b"X: a\rContent-Length: 0\r\n\r\n",
    "NUL in a value": HEAD + b"X: a\0b\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "no name": HEAD + b": a\r\n\r\n",
    "a space in the URL": b"POST /v2/models/a b/infer HTTP/1.1\r\n\r\n",
    "a byte over 127 in the URL": b"GET /\xff HTTP/1.1\r\n\r\n",
    "a chunk size that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
    "an endless chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk that is too long": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "chunks by bare LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
    "HTTP/1.2": b"GET /v2 HTTP/1.2\r\n\r\n",
    "HTTP/3": b"GET /v2 HTTP/3.0\r\n\r\n",
    "no method": b"/v2 HTTP/1.1\r\n\r\n",
    "a made-up method": b"FETCH /v2 HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nothing but NULs": bytes(100),
}


@pytest.mark.parametrize("kind", SMUGGLED)
def test_ambiguous_or_broken_framing_is_refused_and_is_the_end(door, kind):
    """Two readings of where a request ends let one hide in another's body."""
    before = len(door.handler.seen)
    with door.caller() as caller:
        answer = caller.ask(SMUGGLED[kind] + infer(x=[[666.0]]))
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.error.startswith("this is not HTTP/1.1: ")
        assert caller.closed()
    assert len(door.handler.seen) == before
    with door.caller() as caller:
        assert data(caller.ask(infer())) == [1.0, 2.0]


def test_a_bad_body_does_not_touch_the_next_request(caller):
    bad = [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        body([[float("1e39")]]),
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[NaN]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 5000,
    ]
    for content in bad:
        answer = caller.ask(http("POST", "/v2/models/echo/infer", content))
        assert answer.status == 400
        assert answer.error
        assert "connection" not in answer.headers
        assert data(caller.ask(infer())) == [1.0, 2.0]


@pytest.mark.parametrize("length", ["-1", "1.5", "x", "", "99999", "1e3", "9" * 40])
def test_a_wrong_header_length_is_a_bad_request(caller, length):
    answer = caller.ask(infer(headers=f"Inference-Header-Content-Length: {length}\r\n"))
    assert answer.status == 400
    assert "Inference-Header-Content-Length is " in answer.error
    assert data(caller.ask(infer())) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("model", "status", "says"),
    [
        ("failing", 500, "the model raised ValueError: no"),
        ("odd", 500, "the server failed on this request; its log says how"),
        ("full", 503, "the queue is full; try again later"),
        ("nan", 400, "tensor 'y' is not finite and JSON has no NaN; use binary data"),
    ],
)
def test_what_the_handler_raises_is_answered_and_the_connection_goes_on(caller, caplog, model, status, says):
    answer = caller.ask(infer(model))
    assert (answer.status, answer.error) == (status, says)
    assert answer.headers.get("retry-after") == ("2" if model == "full" else None)
    assert data(caller.ask(infer())) == [1.0, 2.0]
    assert bool(caplog.records) == (status == 500)


# -- clients that go ------------------------------------------------------------------------------


def test_a_client_that_goes_takes_its_request_with_it():
    with house() as own:
        with own.caller() as caller:
            caller.send(infer("slow"))
            assert own.handler.entered.wait(5)
        assert own.handler.cancelled.wait(5)
        until(lambda: own.connections() == 0)


def test_a_client_that_ends_its_side_has_gone():
    with house() as own, own.caller() as caller:
        caller.send(infer("slow"))
        assert own.handler.entered.wait(5)
        caller.socket.shutdown(1)
        assert own.handler.cancelled.wait(5)
        assert caller.closed()


@pytest.mark.parametrize("cut", [5, 60, -1])
def test_a_request_that_breaks_off_leaves_nothing_behind(cut):
    with house() as own:
        for _ in range(3):
            with own.caller() as caller:
                caller.send(infer()[:cut])
        until(lambda: own.connections() == 0)
        assert own.handler.seen == []
        with own.caller() as caller:
            assert data(caller.ask(infer())) == [1.0, 2.0]


def test_a_client_that_is_reset_leaves_nothing_behind():
    with house() as own:
        caller = own.caller()
        caller.send(infer("slow"))
        assert own.handler.entered.wait(5)
        caller.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: RST instead of FIN
        caller.socket.close()
        assert own.handler.cancelled.wait(5)
        until(lambda: own.connections() == 0)


# -- draining -------------------------------------------------------------------------------------


def test_answers_say_goodbye_while_the_door_drains():
    with house() as own:
        callers = [own.caller() for _ in range(3)]
        for caller in callers:
            assert caller.ask(LIVE).headers.get("connection") is None
        callers[0].send(infer("slow"))
        assert own.handler.entered.wait(5)
        own.door.draining = True
        for caller, request in ((callers[1], infer()), (callers[2], LIVE)):
            answer = caller.ask(request)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert caller.closed()
        own.call(own.handler.release.set)
        answer = callers[0].answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert callers[0].closed()
        for caller in callers:
            caller.socket.close()


def test_an_admin_request_that_was_begun_before_draining_says_goodbye_too():
    """It used to promise to keep the connection, and kept the server from stopping."""
    with house() as own, own.caller() as caller:
        own.models.gate = own.call(asyncio.Event)
        caller.send(http("POST", "/v2/repository/models/echo/load"))
        time.sleep(0.05)
        own.door.draining = True
        own.call(own.models.gate.set)
        answer = caller.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert caller.closed()


def test_draining_answers_what_runs_and_closes_what_idles():
    with house() as own, own.caller() as idle, own.caller() as busy:
        assert idle.ask(LIVE).status == 200
        busy.send(infer("slow"))
        assert own.handler.entered.wait(5)
        draining = asyncio.run_coroutine_threadsafe(own.door.drain(0.05, 5.0), own.loop)
        assert idle.closed()
        assert not draining.done()
        own.call(own.handler.release.set)
        assert data(busy.answer()) == [1.0, 2.0]
        assert busy.closed()
        busy.socket.close()
        draining.result(5)
        with pytest.raises(ConnectionRefusedError):
            Caller(own.port)
