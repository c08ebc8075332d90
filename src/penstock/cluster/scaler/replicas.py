"""Counting at the replicas themselves: every address behind a name is asked for its metrics."""

import asyncio
import re
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from penstock.cluster.scaler.exposition import samples
from penstock.cluster.scaler.fetch import fetch
from penstock.cluster.scaler.flow import Look
from penstock.cluster.scaler.point import Point, point
from penstock.cluster.scaler.trigger import Trigger
from penstock.core.errors import BadSetting, Unavailable
from penstock.scaling.series import Series

if TYPE_CHECKING:
    import httpx

MOST = 1000
"""Addresses that are asked."""
_AT_ONCE = 64
_DNS_S = 5.0
_ANSWER_S = 3.0
_WHERE = re.compile(r"(?:(https?)://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")


class Where(Struct, frozen=True):
    """A name with a port, whose addresses are the replicas."""

    scheme: str
    host: str
    port: int


def where(text: str) -> list[Where]:
    """Raises BadSetting."""
    found = []
    for each in text.split(","):
        match = _WHERE.fullmatch(each.strip())
        if match is None:
            raise BadSetting(
                f"metadata: replicas must be host:port, or several by commas, "
                f"e.g. penstock-replicas.default:8000, got {each.strip()!r}"
            )
        found.append(Where(match[1] or "http", match[2].strip("[]"), int(match[3])))
    return found


class Replicas:
    """A source of looks; ``key`` is an API key of the replicas."""

    def __init__(self, trigger: Trigger, client: "httpx.AsyncClient", key: str = "") -> None:
        self.every_s = trigger.every_s
        self._model = trigger.model
        self._where = where(trigger.replicas)
        self._client = client
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def history(self, series: Series) -> None:
        """Replicas remember no more than themselves."""

    async def look(self) -> Look:
        """Raises Unavailable where nobody answers."""
        addresses = [each for one in self._where for each in await _addresses(one)][:MOST]
        answers = await asyncio.gather(*(self._ask(*each) for each in addresses), return_exceptions=True)
        points: dict[str, list[Point]] = {}
        failed: dict[str, str] = {}
        for (_, address), answer in zip(addresses, answers, strict=True):
            if isinstance(answer, Point):
                points[address] = [answer]
            elif isinstance(answer, Unavailable):
                failed[address] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
        if not points:
            raise Unavailable(f"none of {len(addresses)} replicas answers; {next(iter(failed.values()))}")
        return Look(now=time.time(), every_s=self.every_s, points=points, silent=frozenset(failed))

    async def _ask(self, named: Where, address: str) -> Point:
        url = f"{named.scheme}://{address}/metrics"
        async with self._at_once:
            body = await fetch(
                self._client, url, _ANSWER_S, headers=self._headers,
                name=named.host if named.scheme == "https" else "",
            )  # fmt: skip
        now = time.time()
        try:
            return point(now, self._model, samples(body.decode()))
        except ValueError:
            raise Unavailable(f"{url} answered, but not with metrics; is it a Penstock server?") from None


async def _addresses(named: Where) -> Iterable[tuple[Where, str]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DNS_S):
            found = await loop.getaddrinfo(named.host, named.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unavailable(f"{named.host} was not found in {_DNS_S:g} s by the name service") from None
    except (OSError, UnicodeError):
        raise Unavailable(f"{named.host} has no address: no replica is there, or the name is wrong") from None
    hosts = sorted({str(info[4][0]) for info in found})
    return ((named, f"[{host}]:{named.port}" if ":" in host else f"{host}:{named.port}") for host in hosts)
