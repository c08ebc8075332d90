"""Requests and answers as bytes in ``tests/golden``: what is on the wire changes only on purpose.

A pair is ``NAME.request.http``, as a client sends it, and ``NAME.response.http``, the whole answer.
"""

from pathlib import Path

import pytest

from penstock.core.errors import UnknownModel
from tests.doors.house import Caller, house

FOLDER = Path(__file__).parent.parent / "golden"
NAMES = sorted(file.name.removesuffix(".request.http") for file in FOLDER.glob("*.request.http"))


def asked(name: str) -> bytes:
    return (FOLDER / f"{name}.request.http").read_bytes()


def expected(name: str) -> bytes:
    return (FOLDER / f"{name}.response.http").read_bytes()


def closes(name: str) -> bool:
    return b"connection: close" in expected(name)


def read(caller: Caller, name: str) -> bytes:
    return caller.answer(head_only=asked(name).startswith(b"HEAD")).raw


@pytest.fixture(scope="module")
def door():
    with house() as found:
        found.handler.raises = UnknownModel("no model 'raising'; have echo")
        yield found


def test_every_request_has_its_answer():
    answers = sorted(file.name.removesuffix(".response.http") for file in FOLDER.glob("*.response.http"))
    assert len(NAMES) > 30
    assert answers == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_the_same_byte_for_byte(door, name):
    """By the parser and by the head that is known from then on."""
    for _ in range(2):
        with door.caller() as caller:
            caller.send(asked(name))
            assert read(caller, name) == expected(name)
            if closes(name):
                assert caller.closed()


def test_all_of_them_on_one_connection_in_one_go(door):
    with door.caller() as caller:
        kept = [name for name in NAMES if not closes(name)]
        caller.send(b"".join(map(asked, kept)))
        for name in kept:
            assert read(caller, name) == expected(name), name
