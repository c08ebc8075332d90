"""A feed with all that it reads from, on clocks that stand still."""

import asyncio
from random import Random

from penstock.core.account import Account, Payer
from penstock.core.spec import ModelSpec, Target
from penstock.core.types import ModelState
from penstock.dashboard.feed import Feed
from penstock.dashboard.processes import Taken
from penstock.metering.charges import Span, Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.ledger import Ledger
from penstock.metering.totals import Totals
from penstock.testing import ManualClock


def state(name="m", version="1", **facts):
    """A version that serves, unless ``facts`` say otherwise."""
    known = {"state": "READY", "live": True, "instances": 1, "threads": 1, "spec": ModelSpec(name=name)}
    return ModelState(name=name, version=version, **(known | facts))


class Several:
    """What the control plane tells, written down."""

    def __init__(self, *states):
        self.now = list(states)
        self.ready = True
        self.memory_limit = 0

    def states(self):
        return self.now


class Scene:
    """A ledger, models, the books' totals, and a feed of them."""

    def __init__(self, *states, **options):
        self.clock, self.wall = ManualClock(1000.0), ManualClock(1_700_000_000.0)
        self.ledger = Ledger(self.clock, self.wall)
        self.models = Several(*states)
        self.totals = Totals()
        self.taken = Taken(0.0, 0)
        self.feed = Feed(
            self.ledger, self.models, self.totals,
            taken=lambda: self.taken, clock=self.clock, wall=self.wall, **options,
        )  # fmt: skip

    async def after(self, seconds=1.0):
        """The tick that comes then."""
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        return await self.feed.tick()


def play(story, *states, **options):
    """Run ``story(scene)`` with a feed that has begun."""

    async def act():
        scene = Scene(*states, **options)
        await scene.feed.begin()
        return await story(scene)

    return asyncio.run(act())


def serve(book, *seconds, rows=1, ran=0.001):
    """One batch with a request for each of these times."""
    book.served(rows, ran, [0.0] * len(seconds), list(seconds))


def crowd(count, seed=1):
    """So many versions, and what each needs to be a line of the page."""
    states = [
        state(f"model-{at:03}", "1", platform="onnxruntime_onnx", device="cpu", isolation="thread",
              memory_bytes=1 << 20, run_ms=0.5, batched=True, batch_cap=32,
              spec=ModelSpec(name=f"model-{at:03}", target=Target(p99_ms=50)))
        for at in range(count)
    ]  # fmt: skip
    return states, Random(seed)


def entry(*used, start=0.0, seconds=5.0, **took):
    """An entry in the books: two cores, of which nobody knows what they cost, if not said otherwise."""
    known = {"cpu_capacity": 2 * seconds, "priced": seconds, "metered": seconds, "currency": "EUR"}
    known["cpu_busy"] = sum(each.account.cpu for each in used)
    return Span(start, Took(seconds=seconds, **(known | took)), used)


def used(model="m", version="1", tenant="", *, queries=0, cpu=0.0, money=None, joules=None):
    band = Joules(joules / 2, joules, joules * 2) if joules is not None else None
    return Used(Payer(model, version, tenant), Account(queries=queries, cpu=cpu), money, None, band, None)
