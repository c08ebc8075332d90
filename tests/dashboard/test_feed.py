"""Ticks against what is known to have happened, on a clock that stands still."""

import asyncio
import json
import time

import msgspec
import pytest
from msgspec.structs import replace

from penstock.core.spec import ModelSpec, Rollout, Target
from penstock.core.types import Request
from penstock.dashboard.processes import Taken
from penstock.metering.budget import Standing
from penstock.metering.energy.probe import Joules
from penstock.rollout.words import Guard, Stage, Status
from penstock.scaling.words import History as Hours
from penstock.scaling.words import Standing as Scaled
from penstock.scaling.words import Told
from tests.dashboard import rollouts, scaling, schema, stage
from tests.dashboard.scene import Scene, crowd, entry, play, serve, state, used

WHOLE = Status(
    id="r1", model="m", stable="1", candidate="2", kind="canary", phase="running", stage=1,
    stages=(Stage(1.0, 5.0, 6.0), Stage(5.0, 6.0)), weight=5.0, began=5.0, ended=7.0,
    by="ann", says="it waits",
    guards=(
        Guard(name="p99", verdict="not yet", why="few", effect=1.1, low=0.9, high=1.3, alarm=1.1, target=1.5,
              seen=7, events=2, against=0.1, for_=0.2, needs=100, needs_s=10.0),
    ),
    answered_stable=90, answered_candidate=10, saved=1, mirrored=3, rate=2.0, sticky="id", baseline=True,
    terms=Rollout(plan="canary", guards={"p99": 1.2}),
)  # fmt: skip
"""Nothing of it is a default."""


def plain(tick):
    return msgspec.json.decode(msgspec.json.encode(tick))


def test_a_model_that_nobody_asks_says_what_it_is_and_no_more():
    async def story(scene):
        return await scene.after()

    facts = {"platform": "echo", "device": "cpu", "isolation": "thread", "run_ms": 0.25, "memory_bytes": 7}
    tick = plain(play(story, state(**facts)))
    assert tick["models"] == [
        {
            "name": "m",
            "version": "1",
            "state": "READY",
            "live": True,
            "instances": 1,
            "threads": 1,
            "busy": 0.0,
        }
        | facts
    ]
    assert {key: tick[key] for key in ("at", "seconds", "ready", "cost", "energy")} == {
        "at": 1_700_000_001.0, "seconds": 1.0, "ready": True, "cost": {}, "energy": {},
    }  # fmt: skip
    assert not {"rate", "errors", "tenants"} & set(tick)


def test_requests_become_rates_quantiles_and_batches():
    async def story(scene):
        book = scene.ledger.book("m", "1")
        book.waiting = lambda: 7
        for number in range(100):
            serve(book, 0.010 if number < 90 else 0.100, rows=4, ran=0.005)
        return await scene.after(2.0)

    tick = play(story, state(instances=2, spec=ModelSpec(name="m", target=Target(p99_ms=50))))
    (model,) = tick.models
    assert (tick.rate, model.rate, model.requests) == (50.0, 50.0, 100)
    assert model.p50_ms == pytest.approx(10, rel=0.1)
    assert model.p95_ms == pytest.approx(100, rel=0.1)
    assert model.p99_ms == pytest.approx(100, rel=0.1)
    assert (model.target_p99_ms, model.queue, model.batch) == (50, 7, 4.0)
    assert model.batches == ((4, 100),)
    assert model.busy == pytest.approx(0.5 / 2 / 2)


def test_a_run_that_took_longer_than_the_tick_is_not_more_than_all_of_it():
    async def story(scene):
        serve(scene.ledger.book("m", "1"), 30.0, ran=30.0)
        return await scene.after()

    assert play(story, state()).models[0].busy == 1.0
    assert play(story, state(instances=0)).models[0].busy is None


def test_errors_count_by_reason_and_those_of_no_version_are_the_live_ones():
    async def story(scene):
        ledger = scene.ledger
        old, new = ledger.book("m", "1"), ledger.book("m", "2")
        old.failed("engine", 0.1)
        new.failed("engine", 0.1)
        new.failed("deadline", 0.1)
        ledger.refused("m", "2", "invalid")
        ledger.refused("m", "", "invalid")
        ledger.refused("m", "", "unavailable")
        ledger.refused("made up", "", "unknown")
        return await scene.after(), await scene.after()

    tick, later = play(story, state(version="1", live=False), state(version="2"))
    one, two = tick.models
    assert one.errors == {"engine": 1}
    assert two.errors == {"engine": 1, "deadline": 1, "invalid": 2, "unavailable": 1}
    assert (tick.errors, one.error_rate, two.error_rate) == (7.0, 1.0, 3.0)
    assert (later.errors, later.models[1].error_rate, later.models[1].errors) == (0.0, 0.0, two.errors)


def test_answers_to_steps_count_with_their_model_but_not_twice_in_all():
    async def story(scene):
        step, pipeline = scene.ledger.book("step", "1"), scene.ledger.book("whole", "1")
        from penstock.core.account import Account
        from penstock.core.ticket import Ticket

        for _ in range(4):
            ticket = Ticket(Request(model="step", inputs={}, account=Account()), 1, 0.0)
            ticket.reply = object()
            serve(step, 0.01)
            step.charge([ticket], 0.0, 0.001, 0.0)
            serve(pipeline, 0.02)
        return await scene.after()

    tick = play(story, state("step"), state("whole", instances=0))
    assert [model.rate for model in tick.models] == [4.0, 4.0]
    assert tick.rate == 4.0


def test_the_machine_is_what_its_processes_took_since_the_last_tick():
    async def story(scene):
        scene.taken = Taken(scene.feed._cores * 0.5, 1 << 30)
        first = await scene.after(2.0)
        scene.models.memory_limit = 1 << 33
        second = await scene.after(1.0)
        return first.machine, second.machine

    first, second = play(story, state())
    assert (first.cpu, first.memory_bytes, first.memory_limit) == (0.25, 1 << 30, 0)
    assert (second.cpu, second.memory_limit) == (0.0, 1 << 33)
    assert first.cores >= 1
    assert first.processor


def test_money_and_energy_are_full_and_marginal_for_1000_queries_of_the_last_hour():
    async def story(scene):
        scene.totals.add(
            entry(
                used("a", tenant="ann", queries=30, cpu=1.0, money=0.1, joules=10.0),
                used("b", tenant="bob", queries=10, cpu=3.0, money=0.3, joules=30.0),
                seconds=5.0,
                cpu_money=1.0,
                cpu_joules=Joules(50.0, 100.0, 200.0),
                grams=0.01,
                methods=frozenset({"rapl"}),
            )
        )
        return await scene.after()

    tick = plain(play(story, state("a"), state("b"), source=lambda: "settings"))
    assert tick["cost"] == {
        "currency": "EUR", "per_hour": 720.0, "per_1000": 25.0, "marginal_per_1000": 10.0,
        "source": "settings",
    }  # fmt: skip
    assert tick["energy"] == {
        "watts": 20.0, "low": 10.0, "high": 40.0, "per_1000": 2500.0, "method": "rapl",
        "grams_per_1000": 0.25, "intensity": 360.0,
    }  # fmt: skip
    assert tick["machine"]["busy"] == 0.4
    a, b = tick["models"]
    assert (a["cost_per_1000"], b["cost_per_1000"]) == (pytest.approx(0.25 / 30 * 1000, rel=1e-5), 75.0)
    assert (a["joules_per_1000"], b["joules_per_1000"]) == (pytest.approx(25 / 30 * 1000, rel=1e-5), 7500.0)
    assert a["method"] == "rapl"


def test_what_is_not_known_is_absent_and_never_nothing():
    async def story(scene):
        scene.totals.add(entry(used("m", queries=10, cpu=1.0)))
        return await scene.after()

    tick = plain(play(story, state()))
    assert (tick["cost"], tick["energy"]) == ({}, {})
    assert not {"cost_per_1000", "joules_per_1000", "method"} & set(tick["models"][0])


def test_an_entry_that_is_too_short_to_tell_keeps_the_watts_of_the_one_before():
    async def story(scene):
        scene.totals.add(entry(used(cpu=5.0), cpu_joules=Joules(1, 50, 100)))
        first = await scene.after()
        scene.totals.add(entry(start=5.0, seconds=0.01, cpu_joules=Joules(0, 0, 0)))
        second = await scene.after()
        return [(tick.energy.watts, tick.machine.busy) for tick in (first, second)]

    assert play(story, state()) == [(10.0, 0.5)] * 2


def test_tenants_are_the_busiest_and_tell_their_budgets():
    async def story(scene):
        scene.totals.add(
            entry(*[used(tenant=f"t{n:02}", queries=n + 1) for n in range(30)], used(queries=99))
        )
        return await scene.after()

    standings = [Standing("t29", "queries", 420.0, 1000.0, 0.8), Standing("idle", "money", 0.0, 2.0, 0.8)]
    tick = play(story, state(), standings=lambda: standings)
    assert [tenant.name for tenant in tick.tenants] == [f"t{n:02}" for n in range(29, 9, -1)]
    assert plain(tick)["tenants"][0] == {
        "name": "t29", "queries": 30,
        "budget": [{"what": "queries", "used": 0.42, "limit": 1000.0, "warn": 0.8}],
    }  # fmt: skip


def test_a_tenant_who_has_done_nothing_yet_is_there_with_its_budget():
    async def story(scene):
        return await scene.after()

    tick = play(story, standings=lambda: [Standing("idle", "money", 0.0, 2.0, 0.8)])
    assert plain(tick)["tenants"] == [
        {"name": "idle", "queries": 0, "budget": [{"what": "money", "used": 0.0, "limit": 2.0, "warn": 0.8}]}
    ]


def test_who_names_no_tenant_is_there_where_there_is_a_budget_for_that():
    async def story(scene):
        scene.totals.add(entry(used(tenant="shop", queries=2), used(queries=9)))
        return await scene.after()

    tick = play(story, state(), standings=lambda: [Standing("", "queries", 9.0, 10.0, 0.95)])
    assert plain(tick)["tenants"] == [
        {"name": "", "queries": 9, "budget": [{"what": "queries", "used": 0.9, "limit": 10.0, "warn": 0.95}]},
        {"name": "shop", "queries": 2},
    ]


def test_rollouts_are_asked_for_each_tick_and_kept_in_their_order():
    standing = [WHOLE]

    async def story(scene):
        first = await scene.after()
        standing.insert(0, replace(WHOLE, id="r2", weight=25.0))
        return first, await scene.after()

    first, second = play(story, state(), rollouts=lambda: standing)
    assert first.rollouts == (WHOLE,)
    assert [(each.id, each.weight) for each in second.rollouts] == [("r2", 25.0), ("r1", 5.0)]


def test_a_server_without_rollouts_does_not_speak_of_them():
    async def story(scene):
        return await scene.after()

    assert "rollouts" not in plain(play(story, state()))


class Strictly(Scaled, frozen=True, forbid_unknown_fields=True):
    """No key that the server does not send."""


GROWING = Scaled(
    model="m", version="1", ready=2, wanted=4, by="forecast", rate=10.123, forecast=31.0, carries=9.5
)


def test_instances_that_move_are_told_in_brief_each_tick():
    standing = [
        GROWING,
        Scaled(model="new", version="1", ready=1, wanted=1),
        Scaled(model="none", version="", by="idle"),
    ]

    async def story(scene):
        first = await scene.after()
        standing.clear()
        return plain(first), plain(await scene.after())

    first, second = play(story, state(), scaling=lambda: standing)
    grown = {"ready": 2, "wanted": 4, "by": "forecast", "rate": 10.12, "forecast": 31.0, "capacity": 19.0}
    assert first["scaling"] == [
        {"model": "m", "version": "1", **grown},
        {"model": "new", "version": "1", "ready": 1, "wanted": 1},  # nothing is decided yet
        {"model": "none", "by": "idle"},
    ]
    assert "scaling" not in second


def test_every_key_of_a_tick_is_in_the_contract():
    async def story(scene):
        names = ("m", "cold", "failed", "whole")
        books = [scene.ledger.book(name, "1") for name in names]
        for book in books:
            serve(book, 0.01, 0.02, rows=2)
            book.failed("engine", 0.1)
            scene.ledger.refused(book.model, "", "invalid")
        scene.totals.add(
            entry(
                used("m", tenant="ann", queries=3, cpu=1.0, money=0.1, joules=1.0),
                used("m", queries=2),
                cpu_money=1.0,
                cpu_joules=Joules(1, 2, 3),
                grams=1.0,
                methods=frozenset({"rapl", "nvml"}),
            )
        )
        scene.taken = Taken(0.1, 1 << 20)
        return await scene.after()

    states = [
        state(platform="p", device="cuda:0", isolation="process", restarts=2, batched=True, batch_cap=8,
              memory_bytes=5, run_ms=0.1, reason="because", spec=ModelSpec(target=Target(p99_ms=3))),
        state("cold", state="COLD"), state("failed", state="UNAVAILABLE", live=False, reason="no file"),
        state("whole", instances=0),
    ]  # fmt: skip
    standings = [Standing("ann", "joules", 2.0, 1.0, 0.8)]
    more = {"rollouts": lambda: [WHOLE], "scaling": lambda: [GROWING]}
    tick = play(story, *states, standings=lambda: standings, **more)
    told = msgspec.json.decode(msgspec.json.encode(tick), type=schema.Tick)
    assert [model.name for model in told.models] == ["m", "cold", "failed", "whole"]
    fields = set(schema.Model.__struct_fields__)
    assert fields - set(plain(tick)["models"][0]) == {"queue"}
    assert set(schema.Tick.__struct_fields__) == set(plain(tick))
    (shown,) = plain(tick)["rollouts"]
    assert set(schema.Rollout.__struct_fields__) == set(shown)
    assert set(schema.Guard.__struct_fields__) == set(shown["guards"][0])
    assert set(schema.Step.__struct_fields__) == set(shown["stages"][0])
    assert set(schema.Scale.__struct_fields__) == set(plain(tick)["scaling"][0])
    for part in ("cost", "energy"):
        wanted = set(type(getattr(told, part)).__struct_fields__)
        assert wanted - set(plain(tick)[part]) <= {"source"}


def test_the_stage_on_which_the_page_is_tested_speaks_the_same():
    now = 1_700_000_000.0
    for at in (now, now + 17.5):
        told = stage.tick(at, [stage.model(number, at) for number in range(100)])
        msgspec.convert(json.loads(json.dumps(told)), schema.Tick)
        msgspec.convert(json.loads(json.dumps(stage.history(at))), schema.History)
        shown = json.loads(json.dumps(rollouts.several(at, 20)))
        msgspec.convert(shown, tuple[schema.Rollout, ...])
        msgspec.convert(shown, tuple[Status, ...])
        msgspec.convert(scaling.shown(at), tuple[schema.Scale, ...])


def test_the_stage_answers_for_instances_as_the_server_does():
    for model in ("resnet50", "fraud-xgb"):
        answer = scaling.standing(model, 1_700_000_000.0)
        decisions = msgspec.convert(answer.pop("decisions"), list[Told])
        assert bool(decisions) == (model == "resnet50")
        msgspec.convert(answer, Strictly)
        told = scaling.history(model, 1_700_000_000.0)
        assert list(told) == list(Hours.__struct_fields__)
        assert len({len(column) for column in told.values()}) == 1
        msgspec.convert(told, Hours)


def test_a_feed_forgets_when_it_ends_and_has_to_begin_again():
    async def story(scene):
        book = scene.ledger.book("m", "1")
        serve(book, 0.01)
        await scene.after()
        scene.feed.end()
        with pytest.raises(RuntimeError, match="begin"):
            await scene.after()
        serve(book, 0.01)
        await scene.feed.begin()
        return await scene.after()

    model = play(story, state()).models[0]
    assert (model.rate, model.p50_ms, model.requests) == (0.0, None, 2)


@pytest.mark.alone
def test_a_tick_of_100_models_costs_a_few_ms():
    """Of processor time, the best of ten: folding a second of their requests included; printed with -s.

    It is 3.5 ms where nothing else runs; twice as much is a fault whatever runs.
    """

    async def act():
        states, draw = crowd(100)
        scene = Scene(*states)
        books = [scene.ledger.book(each.name, "1") for each in states]
        await scene.feed.begin()
        spent = []
        for _ in range(10):
            for book in books:
                for _ in range(10):
                    serve(book, draw.random() / 100, draw.random() / 100, rows=2)
            began = time.process_time()
            tick = await scene.after()
            raw = msgspec.json.encode(tick)
            spent.append(time.process_time() - began)
        assert [model.rate for model in tick.models] == [20.0] * 100
        return min(spent), len(raw)

    seconds, size = asyncio.run(act())
    print(f"100 models: {seconds * 1e3:.2f} ms a tick, {size} bytes")
    assert seconds < 0.01


def test_requests_get_their_turn_while_a_tick_is_worked_out():
    async def act():
        states, _ = crowd(64)
        scene = Scene(*states)
        for each in states:
            serve(scene.ledger.book(each.name, "1"), 0.01)
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        await scene.feed.begin()
        task = asyncio.create_task(others())
        before = turns
        await scene.after()
        task.cancel()
        return turns - before

    assert asyncio.run(act()) > 8
