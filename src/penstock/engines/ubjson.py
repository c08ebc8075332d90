"""Whether a UBJSON document is whole (https://ubjson.org), told without reading its values."""

import struct

_SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1}
_SIZES |= dict.fromkeys((b"T", b"F", b"Z", b"N"), 0)
_WHOLE = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}


def is_whole(raw: bytes) -> bool:
    """False for what is cut off, has more behind its end, or is of another format."""
    try:
        return _Skip(raw).value() == len(raw)
    except (KeyError, ValueError, struct.error, RecursionError):
        return False


class _Skip:
    """A place in a document; each method moves it behind what it is named after, and returns it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def value(self, kind: bytes = b"") -> int:
        kind = kind or self._take(1)
        if kind in (b"S", b"H"):
            self._take(self._count())
        elif kind == b"[":
            self._container(named=False)
        elif kind == b"{":
            self._container(named=True)
        else:
            self._take(_SIZES[kind])
        return self._at

    def _container(self, *, named: bool) -> None:
        kind = self._take(1) if self._next(b"$") else b""
        if self._next(b"#"):
            count = self._count()
            if kind in _SIZES and not named:
                self._take(count * _SIZES[kind])
            else:
                self._entries(count, kind, named=named)
            return
        if kind:
            raise ValueError("a type without a count")
        end = b"}" if named else b"]"
        while not self._next(end):
            self._entries(1, b"", named=named)

    def _entries(self, count: int, kind: bytes, *, named: bool) -> None:
        if count > len(self._raw) - self._at:
            raise ValueError("more entries than bytes")
        for _ in range(count):
            if named:
                self._take(self._count())
            self.value(kind)

    def _count(self) -> int:
        kind = self._take(1)
        (count,) = struct.unpack(_WHOLE[kind], self._take(_SIZES[kind]))
        if count < 0:
            raise ValueError("a negative length")
        return int(count)

    def _next(self, marker: bytes) -> bool:
        found = self._raw[self._at : self._at + 1] == marker
        self._at += found
        return found

    def _take(self, size: int) -> bytes:
        if size > len(self._raw) - self._at:
            raise ValueError("cut off")
        self._at += size
        # Only markers and lengths are looked at; what is longer is skipped.
        return self._raw[self._at - size : self._at] if size <= 8 else b""
