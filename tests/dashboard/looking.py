"""The page's routes behind a real door, with a hub that ticks fast, and viewers of its events."""

import json
from contextlib import contextmanager

import httpx
from msgspec.structs import replace

from penstock.dashboard.feed import Feed
from penstock.dashboard.history import History, nothing
from penstock.dashboard.routes import routes
from penstock.dashboard.stream import Hub
from penstock.dashboard.words import Cost, Hello
from penstock.doors.admin import make_app
from penstock.metering.ledger import Ledger
from penstock.metering.totals import Totals
from tests.doors.house import house


class Counting(Feed):
    """Tells how often it was asked."""

    began = ticked = ended = 0
    padding = ""
    raises = None
    fails = 0
    """Times that it fails to begin."""

    async def begin(self):
        self.began += 1
        if self.began <= self.fails:
            raise OSError("no such process")
        await super().begin()

    async def tick(self):
        self.ticked += 1
        if self.raises is not None:
            raise self.raises
        tick = await super().tick()
        return replace(tick, cost=Cost(source=self.padding))

    def end(self):
        self.ended += 1
        super().end()


class Looking:
    """A house with a page: its feed, its hub, and its past."""

    def __init__(self, own, books=nothing, may="all", **options):
        self.own = own
        self.ledger = Ledger()
        self.feed = Counting(self.ledger, own.models, Totals())
        self.hub = Hub(self.feed, **({"every": 0.02, "first": 0.01, "linger": 0.0} | options))
        history = History(self.ledger.events, own.models, books)
        extra = routes(self.hub, history, self.greet, lambda headers: may)
        own.door._app = make_app(own.models, lambda accept: (b"", "text/plain"), extra)

    def greet(self, may):
        return Hello(name="penstock", version="0", site="here", started=1.0, now=2.0, may=may)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.own.port}"

    def viewers(self):
        return self.own.call(lambda: len(self.hub.viewers))

    def get(self, path, **headers):
        return httpx.get(self.url + path, headers=headers)


@contextmanager
def looking(keys=None, limits=None, **options):
    """A house whose page is looked at, until the block ends."""
    with house(keys, **(limits or {})) as own:
        page = Looking(own, **options)
        try:
            yield page
        finally:
            own.run(page.hub.close())


@contextmanager
def viewer(page, **headers):
    """The events as they come, as pairs of name and data."""
    with httpx.stream("GET", f"{page.url}/penstock/live", headers=headers, timeout=5) as answer:
        yield events(answer) if answer.status_code == 200 else answer


def events(answer):
    """Read by the standard's rules: fields by line, an empty one ends an event."""
    name, data = "", ""
    for line in answer.iter_lines():
        if not line and name:
            yield name, json.loads(data)
            name, data = "", ""
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data += line[6:]
