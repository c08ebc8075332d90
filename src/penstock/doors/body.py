"""Bodies that are a JSON object."""

from typing import Any

import msgspec
from starlette.requests import Request

from penstock.core.errors import InvalidRequest


async def json_object(request: Request) -> dict[str, Any]:
    """The body's object; none for an empty body. Raises InvalidRequest for anything else."""
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body must be a JSON object or empty: {error}") from None
