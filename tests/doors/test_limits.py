"""What one client may cost: bytes, connections and seconds, and that a refusal can be read."""

import threading

import pytest

from tests.doors.house import Caller, body, data, get, house, http, infer, until

INFER = "/v2/models/echo/infer"


@pytest.fixture(scope="module")
def small():
    """A door that takes 10 kB of body and 2 kB of head."""
    with house(max_body_bytes=10_000, max_header_bytes=2000) as found:
        yield found


def padded(size: int) -> bytes:
    return body().ljust(size)


# -- bytes ----------------------------------------------------------------------------------------


def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_not(small):
    with small.caller() as caller:
        assert data(caller.ask(http("POST", INFER, padded(10_000)))) == [1.0, 2.0]
        answer = caller.ask(http("POST", INFER, padded(10_001)))
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert answer.error == "the body is over 10000 bytes, the limit here"
        assert caller.closed()


def chunks(size: int, piece: int, ending: bytes = b"0\r\n\r\n") -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    content = padded(size)
    pieces = (content[at : at + piece] for at in range(0, size, piece))
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + ending


@pytest.mark.parametrize("piece", [1, 100, 10_001])
def test_chunks_are_counted_too(small, piece):
    with small.caller() as caller:
        assert data(caller.ask(chunks(10_000, piece))) == [1.0, 2.0]
        assert caller.ask(chunks(10_001, piece)).status == 413
        assert caller.closed()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 50000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2faf080\r\n",
    ],
)
def test_a_client_that_still_sends_can_read_why_it_is_refused(small, head):
    """A reset would destroy the answer on its way; a client that sends all before it reads needs it."""
    with small.caller() as caller:
        caller.send(f"POST {INFER} HTTP/1.1\r\nHost: test\r\n".encode() + head)
        for _ in range(100):
            caller.send(bytes(100_000))
        assert caller.answer().status == 413
        assert caller.closed()
    until(lambda: small.connections() == 0)


def test_a_client_that_does_not_go_after_a_refusal_is_cut_off(small):
    with small.caller() as caller:
        caller.send(f"POST {INFER} HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n".encode())
        assert caller.answer().status == 413
        small.look(later=3.0)
        until(lambda: small.connections() == 0)


def test_more_tiny_chunks_than_are_kept_apart_are_still_one_body():
    with house() as own, own.caller() as caller:
        assert data(caller.ask(chunks(150_000, 1))) == [1.0, 2.0]


def long_heads(size: int) -> dict[str, bytes]:
    line = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: test\r\n"
    return {
        "one line": line + b"X: " + b"a" * size + b"\r\n\r\n",
        "many lines": line + b"".join(b"X%d: a\r\n" % i for i in range(size // 6)) + b"\r\n",
        "the URL": b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: test\r\n\r\n",
        "with a body": line + b"X: " + b"a" * size + b"\r\nContent-Length: 9\r\n\r\n123456789",
    }


@pytest.mark.parametrize("kind", long_heads(1))
@pytest.mark.parametrize("piece", [100, 100_000])
def test_a_head_over_the_limit_is_refused_in_one_piece_or_many(small, kind, piece):
    head = long_heads(3000)[kind]
    with small.caller() as caller:
        for at in range(0, len(head), piece):
            caller.send(head[at : at + piece])
            small.turn()
        answer = caller.answer()
        assert (answer.status, answer.error) == (431, "the request head is over 2000 bytes")
        assert caller.closed()


@pytest.mark.parametrize("kind", ["one line", "the URL"])
def test_a_head_that_never_ends_is_refused(small, kind):
    with small.caller() as caller:
        caller.send(long_heads(3000)[kind][:2500])
        assert caller.answer().status == 431
        assert caller.closed()


def test_a_small_head_before_a_large_body_is_no_large_head(small):
    with small.caller() as caller:
        for _ in range(2):
            assert data(caller.ask(http("POST", INFER, padded(9000), "X-Fresh: 1\r\n"))) == [1.0, 2.0]
        caller.send(b"".join(http("POST", INFER, padded(3000), f"X-Number: {i}\r\n") for i in range(5)))
        assert [caller.answer().status for _ in range(5)] == [200] * 5


# -- connections ----------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so_and_there_is_room_again():
    with house(max_connections=2) as own:
        first, second = own.caller(), own.caller()
        assert [first.ask(get("/v2")).status, second.ask(get("/v2")).status] == [200, 200]
        with own.caller() as third:
            answer = third.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.error == "there are 2 connections, the limit here"
            assert third.closed()
        until(lambda: own.connections() == 2)
        first.socket.close()
        until(lambda: own.connections() == 1)
        with own.caller() as fourth:
            assert data(fourth.ask(infer())) == [1.0, 2.0]
        second.socket.close()


def test_who_is_refused_may_send_its_request_all_the_same():
    with house(max_connections=1) as own, own.caller() as first:
        assert first.ask(get("/v2")).status == 200
        with own.caller() as second:
            assert second.ask(infer()).status == 503
            assert own.handler.seen == []


# -- seconds, by the door's own clock --------------------------------------------------------------


@pytest.fixture(scope="module")
def strict():
    limits = {"header_timeout_s": 10, "body_timeout_s": 20, "idle_timeout_s": 30, "write_timeout_s": 10}
    with house(**limits) as found:
        yield found


def test_a_slow_head_is_refused(strict):
    request = infer()
    with strict.caller() as caller:
        caller.send(request[:20])
        strict.turn()
        strict.look(later=9.5)
        caller.send(request[20:30])  # a byte now and then buys no time
        strict.turn()
        strict.look(later=10.5)
        answer = caller.answer()
        assert (answer.status, answer.error) == (408, "the request head took over 10 s")
        assert caller.closed()


def test_a_slow_body_is_refused(strict):
    request = infer()
    with strict.caller() as caller:
        caller.send(request[:-10])
        strict.turn()
        strict.look(later=19.5)
        caller.send(request[-10:-5])
        strict.turn()
        strict.look(later=20.5)
        answer = caller.answer()
        assert (answer.status, answer.error) == (408, "the body took over 20 s")
        assert caller.closed()


def test_a_large_body_has_time_by_its_bytes(strict):
    with strict.caller() as caller:
        request = http("POST", INFER, padded(100_000))
        caller.send(request[:-10])
        until(lambda: strict.call(lambda: any(c._reader._size > 99_000 for c in strict.door._connections)))
        strict.look(later=21.0)
        assert data(caller.ask(request[-10:])) == [1.0, 2.0]


def test_an_idle_connection_is_closed_without_a_word(strict):
    with strict.caller() as fresh, strict.caller() as used:
        assert data(used.ask(infer())) == [1.0, 2.0]
        strict.look(later=29.0)
        assert data(used.ask(infer())) == [1.0, 2.0]
        strict.look(later=31.0)
        assert fresh.closed()
        assert used.closed()


def test_the_door_looks_by_itself():
    with house(idle_timeout_s=0.1) as own, own.caller() as caller:
        assert caller.closed()


def test_a_request_that_runs_long_is_not_idle():
    with house() as own, own.caller() as caller:
        caller.send(infer("slow"))
        assert own.handler.entered.wait(5)
        own.look(later=1000.0)
        own.call(own.handler.release.set)
        assert data(caller.answer()) == [1.0, 2.0]


def test_what_waits_unread_because_of_us_is_not_slow():
    """We stop reading behind a pipelined request; the client cannot send faster than we read."""
    with house() as own, own.caller() as caller:
        third = infer(x=[[3.0]])
        caller.send(infer("slow", x=[[1.0]]) + infer(x=[[2.0]]) + third[:-5])
        assert own.handler.entered.wait(5)
        own.turn()
        own.look(later=1000.0)
        own.call(own.handler.release.set)
        assert [data(caller.answer()), data(caller.answer())] == [[1.0], [2.0]]
        assert data(caller.ask(third[-5:])) == [3.0]


BIG = infer("big", parameters={"binary_data_output": True})


def blocked(own) -> bool:
    return bool(own.call(lambda: any(c._blocked_since for c in own.door._connections)))


def test_a_client_that_does_not_read_is_cut_off(strict):
    with strict.caller(receive_buffer=4096) as caller:
        caller.send(BIG + infer(x=[[1.0]]) + infer(x=[[2.0]]))
        until(lambda: blocked(strict))
        assert [request.model for request in strict.handler.seen[-1:]] == ["big"]
        strict.look(later=9.5)
        assert strict.connections() == 1
        strict.look(later=10.5)
        until(lambda: strict.connections() == 0)
        assert len(caller.everything()) < 16 << 20


def test_a_client_that_reads_slowly_but_steadily_is_not(strict):
    with strict.caller(receive_buffer=4096) as caller:
        caller.send(BIG + infer(x=[[1.0]]))
        until(lambda: blocked(strict))
        size = 0
        while size < 8 << 20:
            size += len(caller.socket.recv(1 << 20))
        strict.look(later=11.0)
        assert strict.connections() == 1
        while size < 16 << 20:
            caller.buffer = caller.socket.recv(1 << 20)
            size += len(caller.buffer)
        rest = caller.buffer
        while b'"data":[1.0]' not in rest:
            rest += caller.socket.recv(1 << 16)


def test_many_clients_at_once_each_get_their_own_answer():
    with house() as own:
        wrong = []

        def work(number: int) -> None:
            with Caller(own.port) as caller:
                for i in range(50):
                    value = float(number * 1000 + i)
                    if data(caller.ask(infer("ticket", x=[[value]]))) != [value]:
                        wrong.append(value)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
