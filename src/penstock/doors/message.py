"""An HTTP request as it came off the wire."""

from collections.abc import Mapping

from msgspec import Struct

from penstock.doors.targets import Target

Headers = dict[bytes, bytes]


class Head(Struct, frozen=True, eq=False):
    """A request's head as it was parsed, and what follows from it; header names in lower case."""

    method: bytes
    url: bytes
    headers: Headers
    keep_alive: bool
    length: int
    """Content-Length; -1 where there is none."""
    target: Target | None
    """What it infers, if it does."""
    plain: bool
    """Whether it infers and its body stands as it is, without a Content-Encoding."""
    accept: bytes | None
    """``gzip`` or ``deflate``, if the client takes one of them."""
    header_length: bytes | None
    tags: Mapping[str, str]


Message = tuple[Head, bytes]
"""One complete request: its head and its body."""
