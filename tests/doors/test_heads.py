"""Heads that were read before: only what is certain is remembered, and never without bounds."""

import pytest

from penstock.doors.heads import Heads
from penstock.doors.message import Head
from penstock.doors.targets import Target

DATA = b"POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: 4\r\n\r\nabcd"
KEY = DATA[:-4]


def head(**changes):
    made = {
        "method": b"POST",
        "url": b"/v2/models/m/infer",
        "headers": {b"content-length": b"4"},
        "keep_alive": True,
        "length": 4,
        "target": Target("m", ""),
        "plain": True,
        "accept": None,
        "header_length": None,
        "tags": {},
    }
    return Head(**made | changes)


def test_a_whole_inference_request_is_remembered_by_its_head():
    heads, one = Heads(), head()
    heads.remember(DATA, one, 4)
    assert dict(heads) == {KEY: one}


@pytest.mark.parametrize(
    ("data", "changes", "length"),
    [
        (DATA[:-1], {}, 4),
        (DATA + b"e", {}, 4),
        (DATA + DATA, {}, 4),
        (DATA[10:], {}, 3),
        (b"abcd", {}, 4),
        (b"", {}, 4),
        (DATA, {"length": -1}, 4),
        (DATA, {"length": 5}, 4),
        (DATA, {"plain": False}, 4),
        (b"a" * 3000 + DATA, {}, 4),
    ],
)
def test_nothing_else_is(data, changes, length):
    heads = Heads()
    heads.remember(data, head(**changes), length)
    assert dict(heads) == {}


def test_when_it_is_full_it_starts_anew():
    heads = Heads()
    for i in range(1025):
        heads.remember(b"%d" % i + DATA, head(), 4)
    assert list(heads) == [b"1024" + KEY]
