"""All triggers that are asked for: made when KEDA asks first, closed when it has stopped asking."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from penstock.cluster.scaler import trigger as triggers
from penstock.cluster.scaler.fetch import client
from penstock.cluster.scaler.pages import Pages
from penstock.cluster.scaler.prometheus import Prometheus
from penstock.cluster.scaler.replicas import Replicas
from penstock.cluster.scaler.trigger import Trigger
from penstock.cluster.scaler.watch import Source, Watch
from penstock.core.errors import Overloaded

if TYPE_CHECKING:
    import httpx

FORGET_S = 600.0
"""Without a question for so long, a ScaledObject has gone."""

Key: TypeAlias = tuple[str, str, str]
"""Namespace and name of the ScaledObject, and the model."""


class Access(Struct, frozen=True, kw_only=True):
    """What the scaler shows those that it asks."""

    key: str = ""
    """An API key of the replicas."""
    prometheus_token: str = ""
    ca: str = ""
    """PEM file to trust, for https."""


class Desk:
    """At most ``most`` triggers; each costs a task, a series (some 2 MB at most) and its scrapes."""

    def __init__(self, access: Access, most: int = 64, forget_s: float = FORGET_S) -> None:
        self._access = access
        self._most = most
        self._forget_s = forget_s
        self._client: httpx.AsyncClient | None = None
        self._pages: Pages | None = None
        self._watches: dict[Key, tuple[Mapping[str, str], Watch]] = {}

    async def watch(self, namespace: str, name: str, metadata: Mapping[str, str]) -> Watch:
        """Raises BadSetting for metadata that makes no trigger, Overloaded where there are too many."""
        key = (namespace, name, metadata.get("model", ""))
        found = self._watches.get(key)
        if found is not None and found[0] == metadata:
            return found[1]
        trigger = triggers.read(metadata)
        source = self._source(trigger)
        if found is None:
            await self._forget()
            if len(self._watches) >= self._most:
                raise Overloaded(
                    f"{self._most} triggers are watched already; start the scaler with more --most"
                )
        known = found[1].reckoning if found and _counts_alike(found[1].trigger, trigger) else None
        if found is not None:
            found[1].cancel()
        self._watches[key] = (dict(metadata), Watch(trigger, source, known))
        return self._watches[key][1]

    def _source(self, trigger: Trigger) -> Source:
        if self._client is None or self._pages is None:
            self._client = client(self._access.ca)
            key = self._access.key
            self._pages = Pages(self._client, {"authorization": f"Bearer {key}"} if key else {})
        if trigger.server_address:
            return Prometheus(trigger, self._client, self._access.prometheus_token)
        return Replicas(trigger, self._pages)

    async def _forget(self) -> None:
        now = time.monotonic()
        for key in [key for key, (_, watch) in self._watches.items() if now - watch.asked > self._forget_s]:
            await self._watches.pop(key)[1].close()

    async def close(self) -> None:
        await asyncio.gather(*(watch.close() for _, watch in self._watches.values()))
        self._watches.clear()
        if self._pages is not None:
            await self._pages.close()
        if self._client is not None:
            await self._client.aclose()


def _counts_alike(old: Trigger, new: Trigger) -> bool:
    """Whether what one has counted is of use to the other."""
    return (old.server_address, old.replicas, old.selector, old.demand) == (
        new.server_address, new.replicas, new.selector, new.demand,
    )  # fmt: skip
