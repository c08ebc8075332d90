"""The meter: entries are priced, budgets hear of them, and replies are quoted the last rates."""

import asyncio
from threading import Event
from time import time

import pytest

from penstock.core.account import Account
from penstock.core.terms import Budget, Metering
from penstock.core.types import Timing
from penstock.metering.budget import Budgets
from penstock.metering.energy.probe import Joules
from penstock.metering.equipment import Equipment
from penstock.metering.ledger import Ledger
from penstock.metering.meter import Meter
from penstock.metering.shelf import Shelf, open_shelf
from penstock.testing import ManualClock


class Stage:
    """A meter with a clock that stands still; entries are made by hand."""

    def __init__(self, budgets=None, wall=None, **equipment):
        self.clock = ManualClock(100.0)
        self.ledger = Ledger(self.clock, lambda: 1e9 + self.clock())
        self.budgets = Budgets(budgets or {}, "USD", self.clock)
        self.meter = Meter(self.ledger, self.budgets, 1e6, self.clock, wall or (lambda: 1e9 + self.clock()))
        self.equipment = Equipment(**{"cores": 2, "cpu_per_hour": 7.2, "currency": "USD"} | equipment)

    async def begin(self, shelf=None):
        await self.meter.start(self.equipment, shelf or open_shelf(Metering(file="none"), "models"))
        await asyncio.sleep(0)

    def use(self, tenant="", **used):
        self.ledger.book("m", "1").account(tenant).add(Account(**used))

    async def enter(self, seconds=5.0):
        self.clock.advance(seconds)
        await self.meter.enter()


class Counter:
    """A probe of 100 J a reading; the one whose number is given takes until ``go``."""

    part, method, idle_watts = "cpu", "rapl", None

    def __init__(self, held=0):
        self.total = 0.0
        self.held, self.go = held, Event()
        self.reading = Event()
        self.inside = self.most = 0

    def joules(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.total += 100.0
        now = Joules(self.total, self.total, self.total)
        if self.total == 100.0 * self.held:
            self.reading.set()
            assert self.go.wait(20)
        self.inside -= 1
        return now


def staged(test):
    def run():
        asyncio.run(test())

    return run


@staged
async def test_an_entry_makes_the_rates_that_replies_are_quoted():
    stage = Stage()
    await stage.begin()
    assert set(stage.meter.quote(Timing(0, 0.5, 1, cpu=0.5))) == {"penstock_cpu_s"}
    stage.use(queries=1, cpu=1.0)
    await stage.enter()
    quoted = stage.meter.quote(Timing(0, 0.5, 1, cpu=0.5))
    assert quoted["penstock_cost_marginal"] == pytest.approx(0.0005)
    # Five seconds of the machine, a cent, were for one core-second.
    assert quoted["penstock_cost"] == pytest.approx(0.005)
    assert quoted["penstock_currency"] == "USD"
    await stage.meter.stop()


@staged
async def test_the_bill_is_up_to_date_when_it_is_asked():
    stage = Stage()
    await stage.begin()
    stage.use("shop", queries=3, cpu=1.0)
    stage.use(queries=1, cpu=3.0)
    stage.clock.advance(5.0)
    found = await stage.meter.bill(("tenant",), 1e9, 2e9, {})
    assert [(line.keys["tenant"], line.account.queries) for line in found.lines] == [("", 1), ("shop", 3)]
    assert sum(line.full.money for line in found.lines) == pytest.approx(0.01)
    assert found.machine.money == pytest.approx(0.01)
    await stage.meter.stop()


@staged
async def test_whoever_waits_for_a_bill_or_a_history_takes_up_no_thread():
    stage, held = Stage(), Event()
    shelf = open_shelf(Metering(file="none"), "models")
    read, shelf.read = shelf.read, lambda *window: (held.wait(20), read(*window))[1]
    await stage.begin(shelf)
    bills = [asyncio.create_task(stage.meter.bill((), 1e9, 2e9, {})) for _ in range(50)]
    pasts = [asyncio.create_task(stage.meter.past("m", 1e9, 2e9, 60)) for _ in range(50)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(asyncio.to_thread(int), 5)
    held.set()
    await asyncio.gather(*bills, *pasts)
    await stage.meter.stop()


@staged
async def test_all_who_ask_for_a_bill_while_an_entry_is_made_share_the_next():
    probe = Counter(held=4)
    stage = Stage(probes=[probe])
    await stage.begin()
    await stage.enter()
    first = asyncio.create_task(stage.meter.bill((), 1e9, 2e9, {}))
    await asyncio.to_thread(probe.reading.wait, 20)
    stage.use(queries=7, cpu=1.0)
    stage.clock.advance(5.0)
    others = [asyncio.create_task(stage.meter.bill((), 1e9, 2e9, {})) for _ in range(50)]
    await asyncio.sleep(0)
    probe.go.set()
    bills = await asyncio.gather(first, *others)
    assert probe.total == 500.0
    assert {found.total.account.queries for found in bills[1:]} == {7}
    await stage.meter.stop()


@staged
async def test_budgets_hear_of_what_was_spent():
    stage = Stage({"shop": Budget(money_per_hour=0.003)})
    await stage.begin()
    stage.use("shop", queries=1, cpu=2.0)
    await stage.enter()
    assert stage.budgets.of("shop").admit(stage.clock()) is None
    stage.use("shop", queries=1, cpu=2.0)
    await stage.enter()
    assert stage.budgets.of("shop").admit(stage.clock()) > 0
    await stage.meter.stop()


@staged
async def test_the_last_entry_is_made_as_it_stops():
    stage = Stage()
    shelf = open_shelf(Metering(file="none"), "models")
    await stage.begin(shelf)
    stage.use(queries=9, cpu=1.0)
    stage.clock.advance(1.0)
    await stage.meter.stop()
    assert stage.meter.totals.took.seconds == pytest.approx(1.0)
    (used,) = stage.meter.totals.by_version.values()
    assert used.account.queries == 9


@staged
async def test_one_that_never_started_can_be_stopped():
    stage = Stage()
    assert isinstance(stage.meter.shelf, Shelf)
    await stage.meter.stop()


@staged
async def test_who_gives_up_waiting_for_a_bill_takes_no_energy_with_him():
    probe = Counter(held=4)
    stage = Stage(probes=[probe])
    await stage.begin()
    await stage.enter()
    asked = asyncio.create_task(stage.meter.bill((), 1e9, 2e9, {}))
    await asyncio.to_thread(probe.reading.wait, 20)
    asked.cancel()
    probe.go.set()
    await asyncio.wait([asked])
    await stage.enter()
    await stage.meter.stop()
    assert stage.meter.totals.took.cpu_joules.mid == probe.total - 100.0


@staged
async def test_what_is_being_read_as_it_stops_is_entered():
    probe = Counter(held=2)
    stage = Stage(probes=[probe])
    await stage.begin()
    await asyncio.to_thread(probe.reading.wait, 20)
    stopping = asyncio.create_task(stage.meter.stop())
    await asyncio.sleep(0.01)
    probe.go.set()
    await stopping
    assert probe.most == 1  # a probe belongs to one thread
    assert stage.meter.totals.took.cpu_joules.mid == probe.total - 100.0


@staged
async def test_energy_of_which_the_gpus_part_is_not_known_is_in_no_books_and_no_budget():
    stage = Stage({"shop": Budget(joules_per_hour=50.0)}, gpus=1, probes=[Counter()])
    await stage.begin()
    await stage.enter()
    stage.use("shop", queries=1, cpu=1.0, gpu=1.0)
    await stage.enter()
    assert stage.meter.totals.by_tenant["shop"].cpu_joules is None
    assert stage.meter.totals.took.metered == 0.0
    assert "penstock_energy_j" not in stage.meter.quote(Timing(0, 0.5, 1, cpu=0.5, gpu=0.5))
    assert stage.budgets.of("shop").admit(stage.clock()) is None
    await stage.meter.stop()


@staged
async def test_what_was_spent_in_another_currency_is_not_taken_from_a_budget():
    shelf = open_shelf(Metering(file="none"), "models")
    before = Stage(wall=time, currency="JPY")
    await before.begin(shelf)
    before.use("shop", queries=1, cpu=2.0)
    await before.enter()
    stage = Stage({"shop": Budget(money_per_hour=0.002, queries_per_hour=10)}, wall=time)
    await stage.begin(shelf)
    assert {each.what: each.used for each in stage.budgets.status()} == {"money": 0.0, "queries": 1.0}
    await stage.meter.stop()


@staged
async def test_a_budget_goes_on_after_a_restart():
    shelf = open_shelf(Metering(file="none"), "models")
    before = Stage(wall=time)
    await before.begin(shelf)
    before.use("shop", queries=1, cpu=2.0)
    await before.enter()
    stage = Stage({"shop": Budget(money_per_hour=0.002)}, wall=time)
    await stage.begin(shelf)
    (standing,) = stage.budgets.status()
    assert standing.used == pytest.approx(0.002)
    assert stage.meter.totals.hour_queries == {"shop": 1}
    assert stage.budgets.of("shop").admit(stage.clock()) > 0
    await stage.meter.stop()
