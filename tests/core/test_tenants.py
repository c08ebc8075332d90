"""Names of tenants: what a header may hold ends as a harmless name, and settings hold none but such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.core.tenants import LONGEST, check, check_header, cleaned


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("team-a", "team-a"),
        ("  team a\t", "team a"),
        ("", ""),
        (" \r\n\0", ""),
        ("a\r\nb\x7f\x9b\u202e\u200bc", "abc"),
        ("Käse 起司", "Käse 起司"),
        ("x" * 100, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
        ("\udcff\ufffd", "\ufffd"),
    ],
)
def test_what_is_left_of_a_header(text, name):
    assert name == cleaned(text)


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_whatever_comes_ends_as_a_name_or_as_none(text):
    name = cleaned(text)
    assert len(name) <= LONGEST
    assert name.isprintable()
    assert name == name.strip() == cleaned(name)
    if name:
        assert check(name, "here") == name


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "x" * 65, "\x1b[31m"])
def test_settings_hold_no_other_names(name):
    with pytest.raises(BadSetting, match=r"^here: .* cannot name a tenant; a name has 1 to 64 printable"):
        check(name, "here")


@pytest.mark.parametrize("name", ["", "X-Tenant", "tenant", "x_team.id"])
def test_headers_that_both_doors_can_read(name):
    check_header(name, "here")


@pytest.mark.parametrize("name", ["X Tenant", "X-Tenant:", "tenant-bin", "ténant", "x\ny"])
def test_headers_that_are_none(name):
    with pytest.raises(BadSetting, match=r"here: .* cannot name a header"):
        check_header(name, "here")


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Cookie", "traceparent"])
def test_headers_that_would_put_secrets_into_bills(name):
    with pytest.raises(BadSetting, match=f"here: {name!r} cannot name a tenant, it means something else"):
        check_header(name, "here")
