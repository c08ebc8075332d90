"""Counting by what Prometheus has scraped: raw points of every replica, and weeks of history."""

import json
import re
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cluster.scaler.fetch import fetch
from penstock.cluster.scaler.flow import Look
from penstock.cluster.scaler.point import CALLERS_OWN, NAMES, REQUESTS, Point, Sample, point
from penstock.cluster.scaler.trigger import Trigger
from penstock.core.errors import Unavailable
from penstock.scaling.series import COARSE, FINE, Series

if TYPE_CHECKING:
    import httpx

_ANSWER_S = 5.0
_HISTORY_S = 30.0
_WINDOW_S, _LONGEST_S = 60, 600
_USUAL_EVERY = 15.0
_DAYS, _FINE_DAYS = 14, 2
_POINTS = 10_000
"""Prometheus refuses 11,001 and more in one answer."""


class Prometheus:
    """A source of looks; ``token`` is for servers that want one."""

    def __init__(self, trigger: Trigger, client: "httpx.AsyncClient", token: str = "") -> None:
        self.every_s = min(5.0, trigger.terms.tick_s)
        self._model = trigger.model
        self._url = trigger.server_address.rstrip("/") + "/api/v1/"
        self._matchers = trigger.selector.strip().strip("{}")
        self._demand = trigger.demand
        self._may_be_none = not trigger.terms.least
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._looked = 0.0

    async def look(self) -> Look:
        """Raises Unavailable where Prometheus does not answer, or knows no replica."""
        now = time.time()
        window = (
            min(max(_WINDOW_S, now - self._looked + _WINDOW_S / 2), _LONGEST_S) if self._looked else _WINDOW_S
        )
        found = await self._ask("query", _ANSWER_S, query=self._points(int(window)), time=f"{now:.3f}")
        points, silent = grouped(found, self._model)
        if not points and not self._may_be_none:
            raise Unavailable(f"Prometheus has no points of these replicas: {self._selected('up')}")
        demand = await self._rate(now) if self._demand else None
        self._looked = now
        return Look(now=now, every_s=_every(points), points=points, silent=silent, demand=demand)

    async def _rate(self, now: float) -> float:
        found = await self._ask("query", _ANSWER_S, query=self._demand, time=f"{now:.3f}")
        if len(found) > 1:
            raise Unavailable(f"demand gives {len(found)} series, and must give one; wrap it in sum(…)")
        return sum(float(each["value"][1]) for each in found)

    def _points(self, window: int) -> str:
        names = "|".join([*NAMES, "up"])
        own = f"model=~{_quoted(re.escape(self._model) + '|')}"
        return (
            f"{{__name__=~{_quoted(names)},{own}{',' if self._matchers else ''}{self._matchers}}}[{window}s]"
        )

    def _selected(self, name: str, *own: str) -> str:
        return f"{name}{{{','.join(filter(None, (*own, self._matchers)))}}}"

    # -- history -------------------------------------------------------------------------------

    async def history(self, series: Series) -> None:
        """Weeks of 5 minutes and two days of 10 s, as far as Prometheus goes back. Raises Unavailable."""
        end = int(time.time()) // FINE * FINE
        begin = end // COARSE * COARSE - _FINE_DAYS * 86400
        fine: list[tuple[int, int, float]] = []
        for start, count in await self._counts(begin - (_DAYS - _FINE_DAYS) * 86400, begin, COARSE):
            fine += [(at, FINE, count * FINE / COARSE) for at in range(start, start + COARSE, FINE)]
        while begin < end:
            until = min(end, begin + _POINTS * FINE)
            fine += [(start, FINE, count) for start, count in await self._counts(begin, until, FINE)]
            begin = until
        series.restore(fine)

    async def _counts(self, begin: int, end: int, width: int) -> list[tuple[int, float]]:
        """Requests of each bucket, by its start."""
        if self._demand:
            query = f"({self._demand}) * {width}"
        else:
            reasons = f"reason!~{_quoted('|'.join(sorted(CALLERS_OWN)))}"
            counted = self._selected(REQUESTS, f"model={_quoted(self._model)}", reasons)
            query = f"sum(rate({counted}[{max(60, width)}s])) * {width}"
        found = await self._ask(
            "query_range", _HISTORY_S, query=query, start=str(begin + width), end=str(end), step=str(width)
        )
        try:
            return [(int(at) - width, float(value)) for each in found[:1] for at, value in each["values"]]
        except (KeyError, TypeError, ValueError):
            raise Unavailable("Prometheus' answer is no list of series with their values") from None

    async def _ask(self, path: str, seconds: float, **form: str) -> list[Any]:
        body = await fetch(
            self._client,
            self._url + path,
            seconds,
            form=form | {"timeout": f"{seconds:g}s"},
            headers=self._headers,
        )
        try:
            answer = orjson.loads(body)
            if answer["status"] != "success" or not isinstance(answer["data"]["result"], list):
                raise ValueError
            return list(answer["data"]["result"])
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"{self._url} answered, but not as Prometheus does: {body[:100]!r}") from None


def _quoted(text: str) -> str:
    """A string of PromQL, which are Go's."""
    return json.dumps(text, ensure_ascii=False)


def grouped(found: Iterable[Mapping[str, Any]], model: str) -> tuple[dict[str, list[Point]], frozenset[str]]:
    """Points by replica, and those that could not be scraped. Raises Unavailable."""
    scrapes: dict[str, dict[float, list[Sample]]] = {}
    up: dict[str, bool] = {}
    try:
        for series in found:
            labels = dict(series["metric"])
            name, replica = labels.pop("__name__"), f"{labels.get('instance', '')} {labels.get('pod', '')}"
            for at, value in series["values"]:
                if name == "up":
                    up[replica] = float(value) > 0
                else:
                    scrapes.setdefault(replica, {}).setdefault(float(at), []).append(
                        (name, labels, float(value))
                    )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unavailable("Prometheus' answer is no list of series with their values") from None
    points = {
        replica: [point(at, model, scrape) for at, scrape in sorted(by_time.items())]
        for replica, by_time in scrapes.items()
    }
    return points, frozenset(replica for replica, answers in up.items() if not answers)


def _every(points: Mapping[str, list[Point]]) -> float:
    gaps = [late.at - early.at for each in points.values() for early, late in pairwise(each)]
    return median(gaps) if gaps else _USUAL_EVERY
