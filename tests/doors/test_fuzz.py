"""Thousands of broken requests over real connections: each ends with answers or a close, and harms nobody."""

import random
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.doors.house import Caller, House, data, house, infer, until

SEEDS = [
    file.read_bytes() for file in sorted((Path(__file__).parent.parent / "golden").glob("*.request.http"))
]
SPICES = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b": ",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"Content-Length: 10\r\n",
    b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Accept-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Inference-Header-Content-Length: 0\r\n",
    b"Inference-Header-Content-Length: 99\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HEAD ",
    b"CONNECT ",
    b"/v2/models/echo/infer",
    b"http://",
    b"%00%ff%2F",
    b'{"inputs":[',
    b"]}",
    b"1e999",
    b"-1",
    b"null",
    b"\xff\xfe",
    b"[" * 200,
    b"a" * 3000,
]
SECONDS = 2.0
"""In which every case must have ended."""


def mutated(chance: random.Random) -> bytes:
    """One request or two, with a few bytes changed, cut, doubled or put in."""
    made = bytearray(b"".join(chance.choices(SEEDS, k=chance.choice((1, 1, 2)))))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(6):
            case 0:
                made[at:at] = chance.choice(SPICES)
            case 1:
                del made[at : at + chance.randint(1, 30)]
            case 2:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                made[at:at] = made[max(0, at - 40) : at]
            case 4:
                made[at:at] = chance.randbytes(chance.randint(1, 20))
            case 5:
                made[at : at + 10] = chance.choice(SPICES)
    return bytes(made)


def cases(kind: str, number: int) -> list[bytes]:
    chance = random.Random(f"{kind} {number}")
    if kind == "noise":
        return [chance.randbytes(chance.randint(1, 300)) for _ in range(100)]
    return [mutated(chance) for _ in range(100)]


def end(connection: socket.socket, until_: float) -> bytes:
    """All that the server says until it closes; fails where it does not close in time."""
    said = b""
    try:
        while True:
            connection.settimeout(max(0.001, until_ - time.monotonic()))
            more = connection.recv(1 << 16)
            if not more:
                return said
            said += more
    except ConnectionResetError:
        return said


def ended(caller: Caller) -> bool:
    """Whether the server has closed; checks that what it said until then are answers."""
    caller.socket.settimeout(0.05)
    try:
        said = caller.everything()
    except TimeoutError:
        return False
    assert said == b"" or said.startswith(b"HTTP/1.1 "), said
    return True


def busy(door: House) -> bool:
    return bool(door.call(lambda: any(connection.busy for connection in door.door._connections)))


@pytest.fixture(scope="module")
def door():
    limits = {"max_body_bytes": 100_000, "max_header_bytes": 2000}
    with house(**limits) as found:
        yield found


@pytest.fixture
def clients():
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", ["mutated", "noise"])
@pytest.mark.parametrize("number", range(15))
def test_whatever_comes_ends_with_an_answer_or_a_close(door, clients, kind, number):
    """A hundred at once; then the client's side ends, which must free what still waits for more."""
    before = door.connections()
    batch = cases(kind, number)
    callers = [clients.enter_context(door.caller()) for _ in batch]
    for caller, case in zip(callers, batch, strict=True):
        half = len(case) // 2 if number % 2 else len(case)
        caller.send(case[:half])
        try:
            caller.send(case[half:])
        except OSError:  # it was refused by its first half
            pass
    door.turn()
    until_ = time.monotonic() + SECONDS
    for caller, case in zip(callers, batch, strict=True):
        try:
            caller.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            said = end(caller.socket, until_)
        except TimeoutError:
            pytest.fail(f"it hangs: {case!r}")
        assert said == b"" or said.startswith(b"HTTP/1.1 "), (case, said)
    clients.close()
    until(lambda: door.connections() == before)
    with door.caller() as caller:
        assert data(caller.ask(infer(x=[[float(number)]]))) == [float(number)]


@pytest.mark.parametrize("number", range(10))
def test_a_broken_request_is_answered_before_the_client_ends(door, clients, number):
    """The same kinds of cases, but the client only waits: what is whole or broken must be answered.

    What is neither waits for the rest of its bytes, and is refused when its time is over.
    """
    batch = cases("waiting", number)
    callers = [clients.enter_context(door.caller()) for _ in batch]
    for caller, case in zip(callers, batch, strict=True):
        caller.send(case)
    until_ = time.monotonic() + SECONDS
    while callers and time.monotonic() < until_:
        until(lambda: not busy(door))
        door.look(later=300.0)  # heads and bodies are late now, and idle connections are closed
        callers = [caller for caller in callers if not ended(caller)]
    assert callers == []
    with door.caller() as caller:
        assert data(caller.ask(infer())) == [1.0, 2.0]


def test_nothing_that_was_sent_made_the_server_log_a_bug(door, caplog):
    with caplog.at_level("WARNING"):
        for number in range(3):
            for case in cases("logged", number):
                with door.caller() as caller:
                    caller.send(case)
                    caller.socket.shutdown(socket.SHUT_WR)
                    end(caller.socket, time.monotonic() + SECONDS)
    odd = [record.getMessage() for record in caplog.records if record.exc_info]
    assert odd == []


def test_two_splits_of_mutated_requests_are_answered_alike(door):
    """What a broken request is answered does not depend on how the network cuts it."""
    chance = random.Random(7)
    for _ in range(500):
        case = mutated(chance)
        answers = []
        for pieces in (1, 3):
            with door.caller() as caller:
                cuts = sorted(chance.randrange(len(case) + 1) for _ in range(pieces - 1))
                for start, stop in zip([0, *cuts], [*cuts, len(case)], strict=True):
                    try:
                        caller.send(case[start:stop])
                    except OSError:
                        break
                    door.turn()
                until(lambda: not busy(door))
                try:
                    caller.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                answers.append(statuses(end(caller.socket, time.monotonic() + SECONDS)))
        assert answers[0] == answers[1], case


def statuses(said: bytes) -> list[bytes]:
    """Where a head is both broken and too large, what is seen first depends on how it comes."""
    found = [line[9:12] for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return [status.replace(b"431", b"400") for status in found]
