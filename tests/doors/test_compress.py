"""gzip and deflate both ways: bounded, honest about what is wrong, and only where it pays."""

import gzip
import tracemalloc
import zlib

import numpy as np
import orjson
import pytest

from penstock.core.errors import InvalidRequest, PenstockError, TooLarge, Unsupported
from penstock.doors import compress
from tests.doors.house import body, data, get, house, http, infer

PLAIN = b"some text, " * 50


def raw_deflate(plain: bytes, level: int = 6) -> bytes:
    machine = zlib.compressobj(level, zlib.DEFLATED, -15)
    return machine.compress(plain) + machine.flush()


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("plain", [b"", b"a", PLAIN, bytes(100_000)])
def test_every_encoding_is_undone(plain, level):
    assert compress.inflate(b"gzip", gzip.compress(plain, level), 100_000) == plain
    assert compress.inflate(b" X-GZIP ", gzip.compress(plain, level), 100_000) == plain
    assert compress.inflate(b"deflate", zlib.compress(plain, level), 100_000) == plain
    assert compress.inflate(b"Deflate", raw_deflate(plain, level), 100_000) == plain
    assert compress.inflate(b"identity", plain, 0) == plain
    assert compress.inflate(b"", plain, 0) == plain


def test_the_limit_is_just_the_limit():
    packed = gzip.compress(bytes(1000))
    assert compress.inflate(b"gzip", packed, 1000) == bytes(1000)
    with pytest.raises(TooLarge, match="inflates to over 999 bytes, the limit here"):
        compress.inflate(b"gzip", packed, 999)


@pytest.mark.parametrize(
    ("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"deflate", raw_deflate)]
)
def test_a_bomb_costs_no_more_than_the_limit(encoding, pack):
    bomb = pack(bytes(100 << 20))
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(TooLarge):
        compress.inflate(encoding, bomb, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "packed", "error", "says"),
    [
        (b"br", b"a", Unsupported, "no Content-Encoding 'br'; have gzip, deflate, identity"),
        (b"gzip, gzip", b"a", Unsupported, "no Content-Encoding 'gzip, gzip'"),
        (b"gzip", b"plain text", InvalidRequest, "the body is not valid gzip"),
        (b"deflate", b"\xff\xff", InvalidRequest, "the body is not valid deflate"),
        (b"gzip", gzip.compress(PLAIN)[:-1], InvalidRequest, "the gzip body ends too early"),
        (b"gzip", b"", InvalidRequest, "the gzip body ends too early"),
        (b"gzip", gzip.compress(PLAIN) + b"abc", InvalidRequest, "3 bytes are left after the gzip body"),
        (b"gzip", gzip.compress(b"a") * 2, InvalidRequest, "bytes are left after the gzip body"),
    ],
)
def test_what_cannot_be_undone_is_said(encoding, packed, error, says):
    with pytest.raises(error, match=says):
        compress.inflate(encoding, packed, 10_000)


def test_damaged_bodies_give_only_a_sentence():
    packed = bytearray(gzip.compress(PLAIN))
    for at in range(len(packed)):
        damaged = bytes([*packed[:at], packed[at] ^ 0x55, *packed[at + 1 :]])
        try:
            compress.inflate(b"gzip", damaged, 10_000)
        except PenstockError:
            pass


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"deflate, gzip;q=1.0", b"deflate"),
        (b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"gzip"),
        (b"gzip ; q=0.001", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip; q=0.0", None),
        (b"gzip;q=0.000", None),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"identity", None),
        (b"br, zstd", None),
        (b"*", None),
        (b"", None),
        (b",;,=", None),
    ],
)
def test_what_a_client_takes(accept, chosen):
    assert compress.accepted(accept) == chosen


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_what_is_packed_is_undone(encoding):
    parts = [b"ab", memoryview(np.arange(5, dtype=np.int32)).cast("B"), b""]
    assert compress.inflate(encoding, compress.deflate(encoding, parts), 100) == b"".join(parts)


# -- over the wire --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door():
    with house(max_body_bytes=1 << 20, compress_min_bytes=200) as found:
        yield found


@pytest.fixture
def caller(door):
    with door.caller() as found:
        yield found


def packed(encoding: str, content: bytes, headers: str = "") -> bytes:
    return http("POST", "/v2/models/echo/infer", content, f"Content-Encoding: {encoding}\r\n{headers}")


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate), ("identity", bytes)],
)
def test_packed_requests_are_answered(caller, encoding, pack):
    assert data(caller.ask(packed(encoding, pack(body())))) == [1.0, 2.0]
    binary = {
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]
    }
    header = orjson.dumps(binary)
    length = f"Inference-Header-Content-Length: {len(header)}\r\n"
    assert data(caller.ask(packed(encoding, pack(header + bytes(4)), length))) == [0.0]
    raw = "Inference-Header-Content-Length: 0\r\n"
    assert caller.ask(packed(encoding, pack(bytes(8)), raw)).status == 200


@pytest.mark.parametrize(
    ("encoding", "content", "status"),
    [
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(body())[:-3], 400),
        ("gzip", gzip.compress(b"{"), 400),
        ("gzip", gzip.compress(bytes(2 << 20)), 413),
        ("deflate", zlib.compress(bytes(2 << 20)), 413),
        ("zstd", b"", 501),
    ],
)
def test_a_bad_packed_body_is_refused_and_the_connection_goes_on(caller, encoding, content, status):
    answer = caller.ask(packed(encoding, content))
    assert answer.status == status
    assert answer.error
    assert "connection" not in answer.headers
    assert data(caller.ask(infer())) == [1.0, 2.0]


def test_packed_and_plain_requests_keep_their_order(caller):
    caller.send(
        b"".join(packed("gzip", gzip.compress(body([[float(i)]]))) + infer(x=[[-1.0]]) for i in range(10))
    )
    assert [data(caller.answer())[0] for _ in range(20)] == [x for i in range(10) for x in (float(i), -1.0)]


@pytest.mark.parametrize(("accept", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_large_answers_are_packed_where_the_client_takes_it(caller, accept, undo):
    x = [[1.0] * 500]
    plain = caller.ask(infer(x=x))
    answer = caller.ask(infer(x=x, headers=f"Accept-Encoding: {accept}\r\n"))
    assert (answer.status, answer.headers["content-encoding"]) == (200, accept)
    assert undo(answer.body) == plain.body
    assert len(answer.body) < len(plain.body)


def test_a_packed_binary_answer_says_the_length_of_its_plain_header(caller):
    ask = {"parameters": {"binary_data_output": True}}
    answer = caller.ask(infer(x=[[1.0] * 500], headers="Accept-Encoding: gzip\r\n", **ask))
    plain = gzip.decompress(answer.body)
    length = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(plain[:length])["outputs"][0]["parameters"] == {"binary_data_size": 2000}
    assert len(plain) == length + 2000


@pytest.mark.parametrize("accept", ["identity", "gzip;q=0", "br", "gzip;q=0.0, identity;q=1"])
def test_a_client_that_takes_none_gets_plain_answers(caller, accept):
    answer = caller.ask(infer(x=[[1.0] * 500], headers=f"Accept-Encoding: {accept}\r\n"))
    assert "content-encoding" not in answer.headers
    assert len(data(answer)) == 500


def test_small_answers_and_errors_are_never_packed(caller):
    for request in (infer(headers="Accept-Encoding: gzip\r\n"), get("/v2", "Accept-Encoding: gzip\r\n")):
        assert "content-encoding" not in caller.ask(request).headers
    answer = caller.ask(infer("failing", headers="Accept-Encoding: gzip\r\n"))
    assert (answer.status, "content-encoding" in answer.headers) == (500, False)


def test_a_packed_answer_on_a_connection_that_closes(door):
    with door.caller() as caller:
        answer = caller.ask(infer(x=[[1.0] * 500], headers="Accept-Encoding: gzip\r\nConnection: close\r\n"))
        assert (answer.headers["content-encoding"], answer.headers["connection"]) == ("gzip", "close")
        assert len(orjson.loads(gzip.decompress(answer.body))["outputs"][0]["data"]) == 500
        assert caller.closed()
