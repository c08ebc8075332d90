"""Times as people write them."""

import pytest

from penstock.core.errors import InvalidRequest
from penstock.metering.window import moment, window

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", NOW - 30),
        ("30m", NOW - 1800),
        (" 24h ", NOW - 86_400),
        ("1.5h", NOW - 5400),
        ("7 d", NOW - 7 * 86_400),
        ("2w", NOW - 14 * 86_400),
        ("999999999d", 0.0),
        ("now", NOW),
        ("2026-11-01", 1_793_491_200.0),
        ("2026-11-01T08:00", 1_793_520_000.0),
        ("2026-11-01 08:00:00Z", 1_793_520_000.0),
        ("2026-11-01T08:00+01:00", 1_793_516_400.0),
        ("0001-01-01T00:00+23:00", 0.0),
        ("1793491200", 1_793_491_200.0),
        ("1793491200.5", 1_793_491_200.5),
    ],
)
def test_a_time_is_read(text, expected):
    assert moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "24", "h", "-3h", "1e3h", "nan", "inf", "yesterday", "20261101", "1793491200000", "2026-13-01",
     "2026-W44-1", "٣h"],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_would_be_one(text):
    with pytest.raises(InvalidRequest, match=r"give how long ago \(30m, 24h, 7d\), a date"):
        moment(text, NOW)


def test_a_window_ends_now_unless_it_says_when():
    assert window("24h", "", NOW) == (NOW - 86_400, NOW)
    assert window("2d", "1d", NOW) == (NOW - 172_800, NOW - 86_400)


@pytest.mark.parametrize(("since", "until"), [("1h", "2h"), ("now", ""), ("2200-01-01", "")])
def test_a_window_without_time_in_it_is_refused(since, until):
    with pytest.raises(InvalidRequest, match="have the earlier one first"):
        window(since, until, NOW)
