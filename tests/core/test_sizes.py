"""Amounts of memory: every unit that people write, and a sentence for what is none."""

import pytest

from penstock.core.errors import BadSetting
from penstock.core.sizes import show, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0), (4096, 4096), ("", 0), (" ", 0), ("4096", 4096), ("1 KB", 1000), ("1KiB", 1024),
        ("500 MB", 500_000_000), ("500m", 500_000_000), ("8 GiB", 8 << 30), ("8Gi", 8 << 30),
        ("1.5 gib", 3 << 29), ("2 TB", 2 * 10**12), ("7 B", 7),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_write_them(text, expected):
    assert expected == size(text, "memory.limit")


@pytest.mark.parametrize("text", ["much", "8 Gx", "-1", "1e9", "8,5 GB", "GiB", "8 GiB x", "٣ GB", -1])
def test_what_is_no_amount_is_refused_with_an_example(text):
    with pytest.raises(BadSetting, match=r"memory.limit: .*'8 GiB'"):
        size(text, "memory.limit")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (500_000_000, "477 MiB"), (8 << 30, "8 GiB"),
        (3 << 50, "3072 TiB"),
    ],
)  # fmt: skip
def test_amounts_are_shown_with_three_digits(amount, expected):
    assert expected == show(amount)
