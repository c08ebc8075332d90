"""Counting at the replicas themselves: every address behind a name is asked for its metrics."""

import asyncio
import re
import socket
import time
from collections.abc import Iterable

from msgspec import Struct

from penstock.cluster.scaler.exposition import samples
from penstock.cluster.scaler.flow import Look
from penstock.cluster.scaler.pages import Pages, said
from penstock.cluster.scaler.point import Point, point
from penstock.cluster.scaler.trigger import Trigger
from penstock.core.errors import BadSetting, Unavailable
from penstock.scaling.series import Series

MOST = 1000
"""Addresses that are asked."""
_EACH_S = 0.02
"""Between two looks for each replica, so that all together take a sixth of a processor at most."""
_DNS_S = 5.0
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
    """A source of looks."""

    def __init__(self, trigger: Trigger, pages: Pages) -> None:
        self.every_s = trigger.every_s
        """Longer where replicas are many: a page costs the scaler some 3 ms."""
        self._least_s = trigger.every_s
        self._model = trigger.model
        self._where = where(trigger.replicas)
        self._pages = pages

    async def history(self, series: Series) -> None:
        """Replicas remember no more than themselves."""

    async def look(self) -> Look:
        """Raises Unavailable where nobody answers."""
        addresses = [each for one in self._where for each in await _addresses(one)][:MOST]
        self.every_s = max(self._least_s, len(addresses) * _EACH_S)
        answers = await asyncio.gather(*(self._ask(*each) for each in addresses), return_exceptions=True)
        points: dict[str, list[Point]] = {}
        failed: dict[str, str] = {}
        for (_, address), answer in zip(addresses, answers, strict=True):
            if isinstance(answer, Point):
                points[address] = [answer]
            else:
                failed[address] = said(answer)
        if not points:
            raise Unavailable(f"none of {len(addresses)} replicas answers; {next(iter(failed.values()))}")
        return Look(now=time.time(), every_s=self.every_s, points=points, silent=frozenset(failed))

    async def _ask(self, named: Where, address: str) -> Point:
        url = f"{named.scheme}://{address}/metrics"
        name = named.host if named.scheme == "https" else ""
        at, body = await self._pages.get(url, name, self.every_s / 2)
        try:
            return point(at, self._model, samples(body.decode()))
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
