"""Every error has a code on every wire, and comes over each as one sentence."""

import grpc
import pytest

from penstock.core import errors
from penstock.doors.errors import GRPC, HTTP, error_body, grpc_code, hint, http_status
from tests.doors.house import House, data, get, house, infer


def tree(kind=errors.PenstockError):
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return [kind, *(deeper for each in below for deeper in tree(each))]


TREE = tree()
EXPECTED = {
    "PenstockError": (500, "INTERNAL"),
    "InvalidRequest": (400, "INVALID_ARGUMENT"),
    "TooLarge": (413, "RESOURCE_EXHAUSTED"),
    "NotFound": (404, "NOT_FOUND"),
    "UnknownModel": (404, "NOT_FOUND"),
    "UnknownVersion": (404, "NOT_FOUND"),
    "UnknownPath": (404, "NOT_FOUND"),
    "MethodNotAllowed": (405, "UNIMPLEMENTED"),
    "Unsupported": (501, "UNIMPLEMENTED"),
    "Unauthenticated": (401, "UNAUTHENTICATED"),
    "Forbidden": (403, "PERMISSION_DENIED"),
    "BudgetSpent": (429, "RESOURCE_EXHAUSTED"),
    "Unavailable": (503, "UNAVAILABLE"),
    "ModelNotReady": (503, "UNAVAILABLE"),
    "Quarantined": (503, "UNAVAILABLE"),
    "Overloaded": (503, "RESOURCE_EXHAUSTED"),
    "ShuttingDown": (503, "UNAVAILABLE"),
    "DeadlineExceeded": (504, "DEADLINE_EXCEEDED"),
    "Failed": (500, "INTERNAL"),
    "EngineFailed": (500, "INTERNAL"),
    "InstanceLost": (500, "INTERNAL"),
    "PolicyFailed": (500, "INTERNAL"),
    "LoadFailed": (400, "INVALID_ARGUMENT"),
    "BadSetting": (400, "INVALID_ARGUMENT"),
}
"""As docs/protocols.md has them."""


def test_the_table_is_the_whole_tree():
    assert [kind.__name__ for kind in TREE] == list(EXPECTED)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_has_its_codes(kind):
    error = kind("this is wrong; that is right")
    assert (http_status(error), grpc_code(error)) == EXPECTED[kind.__name__]
    assert hasattr(grpc.StatusCode, grpc_code(error))


def test_a_leaf_that_somebody_adds_takes_its_ancestors():
    class Odd(errors.EngineFailed): ...

    assert (http_status(Odd("x")), grpc_code(Odd("x"))) == (500, "INTERNAL")
    assert set(HTTP) | set(GRPC) <= set(TREE)


@pytest.fixture(scope="module")
def door():
    with house() as found:
        yield found


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_comes_over_the_wire_as_a_v2_error_object(door: House, kind):
    """By both ways: what the handler raises, and what an admin route raises."""
    error = kind('this "is" wrong; that is ≠ right')
    status = EXPECTED[kind.__name__][0]
    door.models.raises = door.handler.raises = error
    try:
        with door.caller() as caller:
            for request in (infer("raising"), get("/v2/models/echo")):
                answer = caller.ask(request)
                assert (answer.status, answer.json) == (status, {"error": str(error)})
                assert answer.headers["content-type"] == "application/json"
            assert data(caller.ask(infer())) == [1.0, 2.0]
    finally:
        door.models.raises = None


def test_hints_say_what_to_do_next():
    assert hint(errors.Overloaded("full", retry_after=0.2)) == b"retry-after: 1\r\n"
    assert hint(errors.Overloaded("full", retry_after=7.4)) == b"retry-after: 7\r\n"
    assert hint(errors.BudgetSpent("spent", retry_after=7.2)) == b"retry-after: 8\r\n"
    assert hint(errors.Unauthenticated("who?")) == b'www-authenticate: Bearer realm="penstock"\r\n'
    assert hint(errors.Forbidden("no")) == b""


def test_the_error_object_is_json_whatever_the_sentence():
    assert error_body('a "b"\n') == b'{"error":"a \\"b\\"\\n"}'
