"""UBJSON documents: whole or not."""

import pytest

from penstock.engines.ubjson import is_whole

WHOLE = {
    "object": b"{i\x01aU\x05i\x01bZ}",
    "string": b"{i\x01aSi\x03xyz}",
    "array": b"[i\x01T[]]",
    "counted": b"[#i\x02i\x01i\x02",
    "typed": b"[$d#L" + (2).to_bytes(8, "big") + b"\0" * 8,
    "typed of texts": b"[$S#i\x02i\x01ai\x01b",
    "counted object": b"{#i\x01i\x01aD" + b"\0" * 8,
    "typed object": b"{$l#i\x01i\x01a" + b"\0" * 4,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_whole_and_none_of_its_parts(name: str) -> None:
    raw = WHOLE[name]
    assert [len(raw)] == [n for n in range(len(raw) + 1) if is_whole(raw[:n])]
    assert not is_whole(raw + b"\0")


@pytest.mark.parametrize(
    "raw", [b"?", b"[$d\0", b"[#i\xff", b"{f\x01", b"[#L" + b"\x7f" * 8, b"[" * 100_000], ids=repr
)
def test_what_is_no_document_is_not_whole(raw: bytes) -> None:
    assert not is_whole(raw)
