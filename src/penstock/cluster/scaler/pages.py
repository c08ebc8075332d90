"""Pages of metrics, fetched once for all triggers that ask the same replica."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from penstock.cluster.scaler.fetch import fetch
from penstock.core.errors import PenstockError

if TYPE_CHECKING:
    import httpx

Page: TypeAlias = tuple[float, bytes]
"""When it was got (Unix seconds), and what it says."""

ANSWER_S = 3.0
_AT_ONCE = 64
_KEPT_S = 60.0


class Pages:
    """Who asks for a page that is on its way, or young enough, gets that one."""

    def __init__(self, client: "httpx.AsyncClient", headers: Mapping[str, str]) -> None:
        # Compressing costs a replica more than a page costs the network between pods.
        self._headers = {"accept-encoding": "identity", **headers}
        self._client = client
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._known: dict[str, tuple[float, asyncio.Task[Page]]] = {}
        """By URL: when it was asked for (monotonic), and the answer or the way to it."""

    async def get(self, url: str, name: str, young_s: float) -> Page:
        """Raises Unavailable; ``name`` is whose certificate it must be, if not the URL's host."""
        now = time.monotonic()
        known = self._known.get(url)
        if known is None or now - known[0] > young_s:
            self._known = {each: one for each, one in self._known.items() if now - one[0] < _KEPT_S}
            known = self._known[url] = (now, asyncio.create_task(self._fetch(url, name)))
        # One that stops waiting ends nobody else's fetch.
        return await asyncio.shield(known[1])

    async def _fetch(self, url: str, name: str) -> Page:
        async with self._at_once:
            body = await fetch(self._client, url, ANSWER_S, headers=self._headers, name=name)
        return time.time(), body

    async def close(self) -> None:
        for _, task in self._known.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._known.values()), return_exceptions=True)


def said(error: BaseException) -> str:
    """Why a page is missing; other errors are raised."""
    if isinstance(error, PenstockError):
        return str(error)
    raise error
