"""gzip and deflate of whole bodies, with a bound on what a small body may become."""

import zlib

from penstock.core.errors import InvalidRequest, TooLarge, Unsupported

_WBITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_RAW_DEFLATE = -15


def inflate(encoding: bytes, body: bytes, limit: int) -> bytes:
    """The plain body; blocks. Raises TooLarge past ``limit`` bytes, whatever the body claims."""
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    wbits = _WBITS.get(encoding)
    if wbits is None:
        raise Unsupported(f"no Content-Encoding {encoding.decode('latin-1')!r}; have gzip, deflate, identity")
    if wbits == 15 and body[:1] and (body[0] & 0x0F) != 8:
        wbits = _RAW_DEFLATE  # "deflate" without the zlib wrapper, as some clients send it
    machine = zlib.decompressobj(wbits)
    try:
        plain = machine.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not valid {encoding.decode()}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to over {limit} bytes, the limit here")
    if not machine.eof:
        raise InvalidRequest(f"the {encoding.decode()} body ends too early")
    if machine.unused_data:
        raise InvalidRequest(f"{len(machine.unused_data)} bytes are left after the {encoding.decode()} body")
    return plain


def accepted(accept: bytes) -> bytes | None:
    """``gzip`` or ``deflate`` if an Accept-Encoding value names one that it does not weigh 0."""
    for item in accept.lower().split(b","):
        name, _, weight = item.partition(b";")
        name = name.strip()
        if name in (b"gzip", b"deflate") and weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0."):
            return name
    return None


def deflate(encoding: bytes, parts: list[bytes | memoryview]) -> bytes:
    """The compressed body; blocks. Level 1: tensors rarely shrink more at a higher price."""
    machine = zlib.compressobj(1, zlib.DEFLATED, _WBITS[encoding])
    return b"".join([*map(machine.compress, parts), machine.flush()])
