"""Sessions are opened where they belong, measured once, and leave nothing behind when that fails."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from penstock.core import machine
from penstock.core.errors import InstanceLost, LoadFailed
from penstock.core.spec import Batching, Instances, ModelSpec
from penstock.serving.opening import Before, Ground, open_sessions
from tests.workers import breaker

BREAKER = "tests.workers.breaker:BreakerEngine"


class CountingSession(breaker.Breaker):
    runs = []  # noqa: RUF012 - of all of them

    def run(self, inputs, outputs=(), /):
        self.runs.append(len(inputs["x"]))
        return super().run(inputs, outputs)


class CountingEngine:
    isolation = "thread"

    def open(self, spec, files, /):
        return CountingSession(spec)


def opened(spec, known=None):
    return asyncio.run(
        open_sessions(spec, Path("/nowhere/model.x"), "1", Ground(asyncio.Lock()), Before(known))
    )


def spec(engine=BREAKER, **settings):
    return ModelSpec(name="m", engine=engine, **settings)


def _children():
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {pid for each in found for pid in each.read_text().split()}


@pytest.fixture
def children():
    """Counts the processes that came since the test began."""
    before = _children()
    return lambda: len(_children() - before)


def test_what_was_measured_before_is_not_measured_again():
    own = spec(f"{__name__}:CountingEngine", batching=Batching(max_rows=8))
    first = opened(own)
    assert len(CountingSession.runs) > 10
    CountingSession.runs.clear()
    again = opened(own, first.warmth)
    assert (CountingSession.runs, again.warmth) == ([1, 8], first.warmth)
    assert len(again.sessions) == len(first.sessions)


def test_instances_in_threads_share_a_session():
    found = opened(spec(f"{__name__}:CountingEngine", isolation="thread", instances=Instances(count=3)))
    assert [one is found.sessions[0] for one in found.sessions] == [True] * 3


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: [0, 1])


def test_own_engines_get_a_process_for_each_core_and_are_closed_together(cores, children):
    found = opened(spec())
    assert len({one.sentinel for one in found.sessions}) == 2
    assert children() == 2
    found.close()
    assert children() == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be shared out")
def test_processes_that_fill_the_machine_keep_to_cores_of_their_own():
    mine = machine.cores()
    found = opened(spec(instances=Instances(count=len(mine), threads=1)))
    try:
        pids = [one._process.pid for one in found.sessions]
        assert [os.sched_getaffinity(pid) for pid in pids] == [{core} for core in mine]
        found.sessions[0].restart()
        assert os.sched_getaffinity(found.sessions[0]._process.pid) == {mine[0]}
    finally:
        found.close()


def test_there_are_fewer_processes_where_memory_is_short(cores, monkeypatch, caplog):
    monkeypatch.setattr(machine, "free_memory", lambda: 1)
    found = opened(spec())
    found.close()
    assert len(found.sessions) == 1
    assert "1 processes instead of 2" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"open": "refuse"}, "it is not for you"),
        ({"open": "raise"}, "the engine failed on model.x: odd weights"),
    ],
)
def test_what_does_not_open_leaves_nothing_behind(parameters, reason, children):
    with pytest.raises(LoadFailed, match=reason):
        opened(spec(parameters=parameters))
    assert children() == 0


class SlowStart(breaker.Breaker):
    """Hangs, or dies, when it is first run."""

    def run(self, inputs, outputs=(), /):
        if "die" in os.environ.get("SLOW_START", ""):
            os._exit(5)
        time.sleep(60)


class SlowEngine:
    def open(self, spec, files, /):
        return SlowStart(spec)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("hang", r"not warm after instances.start_s, 1 s"), ("die", "ended at the warm-up: exit status 5")],
)
def test_a_process_that_hangs_or_dies_at_the_warm_up_is_a_model_that_does_not_load(
    how, reason, monkeypatch, children
):
    monkeypatch.setenv("SLOW_START", how)
    own = spec(f"{__name__}:SlowEngine", isolation="process", instances=Instances(start_s=1.0))
    with pytest.raises(LoadFailed, match=reason):
        opened(own)
    assert children() == 0


def test_a_first_run_that_fails_after_a_cold_start_is_left_to_requests(monkeypatch):
    own = spec(f"{__name__}:CountingEngine")
    known = opened(own).warmth
    monkeypatch.setattr(CountingSession, "run", breaker.Breaker.close)
    assert opened(own, known).warmth == known


class LaterEngine:
    """The first opens; those beside it hang, as ``LATER`` says: when they load, or at their warm-up."""

    def open(self, spec, files, /):
        mark = Path(os.environ["LATER"])
        if not mark.exists():
            mark.write_text("")
            return breaker.Breaker(spec)
        if "load" in mark.name:
            time.sleep(60)
        return SlowStart(spec)


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def gone(children):
    """Those that were told to end have until now, at most."""
    end = time.monotonic() + 5
    while children() and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return children() == 0


@pytest.mark.parametrize("pause", [0.0, 0.002, 0.3])
def test_a_load_that_is_given_up_leaves_no_process(pause, children):
    async def story():
        own = spec(parameters={"open": "hang"})
        loading = asyncio.create_task(
            open_sessions(own, Path("/nowhere/model.x"), "1", Ground(asyncio.Lock()))
        )
        await asyncio.sleep(pause)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(loading, 3)
        assert await gone(children)

    asyncio.run(story())


def test_a_warm_up_that_is_given_up_leaves_no_process(monkeypatch, children):
    monkeypatch.setenv("SLOW_START", "hang")

    async def story():
        own = spec(f"{__name__}:SlowEngine", isolation="process")
        loading = asyncio.create_task(
            open_sessions(own, Path("/nowhere/model.x"), "1", Ground(asyncio.Lock()))
        )
        await until(children)
        await asyncio.sleep(0.3)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(loading, 3)
        assert await gone(children)

    asyncio.run(story())


def test_a_load_that_is_given_up_while_another_is_measured_leaves_no_process(children):
    async def story():
        measuring = asyncio.Lock()
        await measuring.acquire()
        loading = asyncio.create_task(open_sessions(spec(), Path("/nowhere/model.x"), "1", Ground(measuring)))
        await until(children)
        await asyncio.sleep(0.5)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(loading, 3)
        assert await gone(children)

    asyncio.run(story())


@pytest.mark.parametrize("when", ["load", "warm-up"])
def test_processes_that_are_given_up_beside_the_first_leave_none(
    when, monkeypatch, tmp_path, cores, children
):
    monkeypatch.setenv("LATER", str(tmp_path / when))

    async def story():
        own = spec(f"{__name__}:LaterEngine", isolation="process", instances=Instances(count=2))
        loading = asyncio.create_task(
            open_sessions(own, Path("/nowhere/model.x"), "1", Ground(asyncio.Lock()))
        )
        await until(lambda: children() == 2)
        await asyncio.sleep(0.5)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(loading, 3)
        assert await gone(children)

    asyncio.run(story())


def test_every_process_has_start_s_for_its_warm_up(monkeypatch, tmp_path, cores, children):
    monkeypatch.setenv("LATER", str(tmp_path / "warm-up"))
    own = spec(f"{__name__}:LaterEngine", isolation="process", instances=Instances(count=2, start_s=2.0))
    with pytest.raises(InstanceLost, match="signal 9"):
        opened(own)
    assert children() == 0


class ExitingEngine:
    isolation = "thread"

    def open(self, spec, files, /):
        if spec.parameters:
            raise SystemExit(3)
        return Exiting(spec)


class Clinging(breaker.Breaker):
    def close(self):
        raise SystemExit(5)


class ClingingEngine(ExitingEngine):
    def open(self, spec, files, /):
        return Clinging(spec)


class Exiting(breaker.Breaker):
    def run(self, inputs, outputs=(), /):
        raise SystemExit(4)


@pytest.mark.parametrize(("parameters", "code"), [({"at": "open"}, 3), ({}, 4)])
def test_a_model_that_exits_in_a_thread_does_not_load_and_the_loop_goes_on(parameters, code):
    with pytest.raises(LoadFailed, match=rf"its code called sys.exit\({code}\)"):
        opened(spec(f"{__name__}:ExitingEngine", parameters=parameters))


def test_a_model_that_fails_as_it_is_closed_is_closed_and_logged(caplog):
    opened(spec(f"{__name__}:ClingingEngine")).close()
    assert "a breaker model failed as it was closed: 5" in caplog.text
