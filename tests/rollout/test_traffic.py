"""How much models are asked, and who is the same caller."""

import pytest

from penstock.core.types import Request
from penstock.rollout.sticky import header_of, key_of
from penstock.rollout.traffic import EVERY, SPAN, Traffic


def test_a_rate_is_of_the_last_minute():
    traffic = Traffic()
    for second in range(0, 200, 2):
        assert traffic.due(float(second))
        traffic.note(float(second), {"m": 10 * second if second < 100 else 1000 + 50 * (second - 100)})
    assert traffic.rate("m") == pytest.approx(50.0)
    assert SPAN <= traffic.span <= SPAN + EVERY
    assert not traffic.due(198.5)


def test_what_was_never_asked_has_no_rate():
    traffic = Traffic()
    assert (traffic.rate("m"), traffic.span) == (0.0, 0.0)
    traffic.note(0.0, {})
    traffic.note(2.0, {"m": 4})
    assert (traffic.rate("m"), traffic.rate("other")) == (2.0, 0.0)


def test_counts_that_fall_are_no_traffic():
    traffic = Traffic()
    traffic.note(0.0, {"m": 100})
    traffic.note(2.0, {"m": 4})
    assert traffic.rate("m") == 0.0


REQUEST = Request(
    model="m", inputs={}, id="7", parameters={"user": 12}, tags={"tenant": "t", "header:x-user": "mark"}
)


@pytest.mark.parametrize(
    ("sticky", "key"),
    [
        ("id", "7"),
        ("tenant", "t"),
        ("header:X-User", "mark"),
        ("header:X-Other", ""),
        ("parameter:user", "12"),
        ("parameter:other", ""),
    ],
)
def test_callers_are_told_apart_as_the_terms_say(sticky, key):
    of = key_of(sticky)
    assert of is not None
    assert of(REQUEST) == key


def test_without_terms_nothing_tells_callers_apart():
    assert key_of("") is None
    assert (header_of("header:X-User"), header_of("tenant")) == ("x-user", "")
