"""Request heads that were read before: a client sends the same few again and again.

A head is a pure function of its bytes, so one that the parser has accepted once need not be parsed
again, nor its key be checked (keys do not change while we run).
Only plain inference requests with a length are remembered, and only what arrives whole is
recognised; everything else goes through the parser.
"""

from penstock.doors.message import Head

END = b"\r\n\r\n"
_REMEMBERED = 1024
_LONGEST = 2048


class Heads(dict[bytes, Head]):
    """By the bytes up to and with the empty line; bounded: when full it starts anew."""

    def remember(self, data: bytes, head: Head, length: int) -> None:
        """``data`` is what began with this request and may be more, or less, than just it."""
        end = data.find(END) + 4
        if len(data) - end != length or not 4 < end <= _LONGEST or head.length != length:
            return
        if not head.plain:
            return
        if len(self) >= _REMEMBERED:
            self.clear()
        self[data[:end]] = head
