"""Request heads that were read before: a client sends the same few again and again.

A head is a pure function of its bytes, so one that the parser has accepted once need not be parsed
again, nor its key be checked (keys do not change while we run).
Only whole requests with a length are remembered, and only what arrives whole is recognised;
everything else goes through the parser.
"""

from penstock.doors.message import Head, Message

_END = b"\r\n\r\n"
_REMEMBERED = 1024
_LONGEST = 2048


class Heads:
    """Bounded; when full it starts anew."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Head, int]] = {}

    def find(self, data: bytes) -> Message | None:
        """The head and the body, if ``data`` is exactly one request under a known head."""
        end = data.find(_END) + 4
        known = self._known.get(data[:end])
        if known is None or len(data) - end != known[1]:
            return None
        return known[0], data[end:]

    def remember(self, data: bytes, head: Head, length: int) -> None:
        """``data`` is what began with this request and may be more, or less, than just it."""
        end = data.find(_END) + 4
        if len(data) - end != length or not 4 < end <= _LONGEST or head.target is None:
            return
        if head.headers.get(b"content-length") != b"%d" % length:
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[data[:end]] = (head, length)
