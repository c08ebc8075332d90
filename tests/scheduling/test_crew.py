"""Instances that die: nobody who can be retried fails, and a model that keeps crashing is given a rest."""

import asyncio
import os
import threading
from time import monotonic

import numpy as np
import pytest

from penstock.core.errors import DeadlineExceeded, EngineFailed, InstanceLost, Quarantined
from penstock.core.spec import Instances, ModelSpec
from penstock.core.types import Request
from penstock.scheduling import restart
from penstock.scheduling.scheduler import TRIES, Scheduler
from tests.scheduling.stage import FIXED, Counting, Greedy

POISON, SLOW, UNLUCKY, LAST, QUIT = 66.0, 55.0, 13.0, 99.0, 77.0


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


class Mortal:
    """Doubles; a row of ``POISON`` kills it, one of ``SLOW`` runs until it is killed.

    ``LAST`` is answered, by which time it is dead; ``QUIT`` raises what is not an ``Exception``.
    """

    signature = FIXED
    platform, device, threads, concurrency = "test", "cpu", 1, 0

    def __init__(self):
        self.batches = []
        self.starts = 0
        self.refuse_start = 0
        self.killed = threading.Event()
        self.warm_up = None
        self._life()

    def _life(self):
        self.dead = False
        self.sentinel, self._pipe = os.pipe()

    def die(self):
        self.dead = True
        os.close(self._pipe)

    def merge(self, parts, /):
        return {"x": np.concatenate([part["x"] for part in parts])}

    def run(self, inputs, outputs=(), /):
        x = inputs["x"]
        self.batches.append(x[:, 0].tolist())
        if self.dead:
            raise InstanceLost("it ended")
        if POISON in x[:, 0]:
            self.die()
            raise InstanceLost("signal 11")
        if SLOW in x[:, 0]:
            self.killed.wait(20)
            raise InstanceLost("signal 9")
        if QUIT in x[:, 0]:
            raise SystemExit("bye")
        if LAST in x[:, 0]:
            self.die()
            self.killed.wait(20)
        if UNLUCKY in x[:, 0]:
            raise ValueError("unlucky")
        return {"y": x * 2}

    def restart(self):
        os.close(self.sentinel)
        if not self.dead:
            os.close(self._pipe)
        self._life()
        if self.refuse_start:
            self.refuse_start -= 1
            raise InstanceLost("no start")
        self.starts += 1

    def kill(self):
        self.killed.set()

    def close(self):
        pass


class Play:
    def __init__(self, count=1, hang=10.0, cap=4):
        self.sessions = [Mortal() for _ in range(count)]
        self.recorder = Counting()
        spec = ModelSpec(name="m", instances=Instances(hang_s=hang))
        self.scheduler = Scheduler(
            self.sessions, Greedy(cap), spec, "1", batched=True, recorder=self.recorder
        )  # fmt: skip

    def ask(self, number, **fields):
        x = np.full((1, 2), number, np.float32)
        return self.scheduler(Request(model="m", inputs={"x": x}, **fields))

    async def answers(self, *numbers):
        tickets = [self.ask(number) for number in numbers]
        return await asyncio.gather(*tickets, return_exceptions=True)


def play(story, **kind):
    async def act():
        scene = Play(**kind)
        try:
            await asyncio.wait_for(story(scene), 20)
        finally:
            for session in scene.sessions:
                session.killed.set()
            scene.scheduler.close()

    asyncio.run(act())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(restart, "FIRST", 0.01)


def values(replies):
    return [float(reply.outputs["y"][0, 0]) for reply in replies]


def test_a_death_fails_nobody_but_the_one_who_kills_each_time():
    async def story(scene):
        one, poisoned, two = await scene.answers(1, POISON, 2)
        assert values([one, two]) == [2, 4]
        assert isinstance(poisoned, InstanceLost)
        assert f"ended {TRIES} times while it ran this request: signal 11" in str(poisoned)
        assert scene.scheduler.restarts == TRIES
        assert scene.recorder.failures == ["crash"]
        assert scene.scheduler.waiting == 0

    play(story)


def test_who_was_answered_before_a_death_is_charged():
    async def story(scene):
        session = scene.sessions[0]
        run = session.run

        def alone(inputs, outputs=(), /):
            if len(inputs["x"]) > 1:
                raise ValueError("one at a time")
            return run(inputs, outputs)

        session.run = alone
        one, poisoned, two = await scene.answers(1, POISON, 2)
        assert values([one, two]) == [2, 4]
        assert isinstance(poisoned, InstanceLost)
        charged = [rows for rows, _, _ in scene.recorder.charged]
        assert charged == [[1], [1]]

    play(story)


def test_suspects_run_alone():
    async def story(scene):
        await scene.answers(1, POISON, 2)
        assert sorted(map(tuple, scene.sessions[0].batches[1:])) == [(1,), (2,), (POISON,), (POISON,)]

    play(story)


def test_another_instance_takes_over_at_once():
    async def story(scene):
        scene.sessions[0].refuse_start = scene.sessions[1].refuse_start = 10**6
        scene.sessions[1].dead = True  # the crew takes the last first
        assert values(await scene.answers(*range(1, 9))) == [2, 4, 6, 8, 10, 12, 14, 16]

    play(story, count=2)


def test_an_instance_that_dies_idle_is_started_before_anybody_asks():
    async def story(scene):
        scene.sessions[0].die()
        await until(lambda: scene.sessions[0].starts == 1 and scene.scheduler.restarts == 1)
        await until(lambda: scene.scheduler._crew.free)
        assert values(await scene.answers(3)) == [6]
        assert scene.sessions[0].batches == [[3]]

    play(story)


def test_an_instance_that_dies_as_it_answers_is_started_before_anybody_asks():
    async def story(scene):
        assert values(await scene.answers(LAST)) == [2 * LAST]
        await until(lambda: scene.sessions[0].starts == 1 and scene.scheduler._crew.free)
        assert values(await scene.answers(3)) == [6]
        assert scene.sessions[0].batches == [[LAST], [3]]

    play(story)


def test_a_model_that_calls_exit_fails_its_request_and_no_thread_ends():
    async def story(scene):
        for numbers in ((QUIT,), (1, QUIT, 2)):
            replies = await asyncio.wait_for(scene.answers(*numbers), 5)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            assert [str(error) for error in errors] == ["the model failed on this request: bye"]
        assert values(await scene.answers(3)) == [6]

    play(story)


def test_whoever_is_given_up_while_no_instance_is_there_holds_no_place_and_no_drain(monkeypatch):
    monkeypatch.setattr(restart, "FIRST", 1000.0)

    async def story(scene):
        scene.sessions[0].refuse_start = 1
        scene.sessions[0].die()
        await until(lambda: not scene.scheduler._crew.free)
        tickets = [scene.ask(1, deadline=monotonic() + 0.01) for _ in range(3)]
        left = scene.ask(2)
        left.cancel()
        staying = scene.ask(3)
        scene.scheduler.expire(monotonic() + 0.01)
        assert [type(ticket.error) for ticket in tickets] == [DeadlineExceeded] * 3
        assert scene.scheduler.waiting == 1
        assert sorted(scene.recorder.failures) == ["cancelled", *["deadline"] * 3]
        draining = asyncio.create_task(scene.scheduler.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        scene.scheduler.expire(monotonic() + 1000)
        assert isinstance(staying.error, DeadlineExceeded)
        await asyncio.wait_for(draining, 5)

    play(story)


def test_whoever_is_given_up_may_ask_again_at_once(monkeypatch):
    monkeypatch.setattr(restart, "FIRST", 1000.0)

    async def story(scene):
        scene.sessions[0].refuse_start = 10**6
        scene.sessions[0].die()
        await until(lambda: not scene.scheduler._crew.free)
        again = []
        for _ in range(2):
            scene.ask(1, deadline=monotonic() + 0.001).then = lambda _: again.append(scene.ask(2))
        await asyncio.sleep(0.01)
        scene.scheduler.expire(monotonic())
        assert len(again) == 2

    play(story)


def test_a_death_among_requests_that_run_one_by_one_loses_none():
    async def story(scene):
        one, unlucky, two, poisoned = await scene.answers(1, UNLUCKY, 2, POISON)
        assert values([one, two]) == [2, 4]
        assert isinstance(unlucky, EngineFailed)
        assert isinstance(poisoned, InstanceLost)

    play(story)


def test_a_model_that_keeps_crashing_is_quarantined_and_comes_back():
    async def story(scene):
        session = scene.sessions[0]
        session.refuse_start = restart.QUARANTINE
        session.die()
        waiting = scene.ask(1)
        with pytest.raises(
            Quarantined, match=r"model 'm' is quarantined: its processes ended 3 times in a row"
        ):
            await waiting
        assert "quarantined" in scene.scheduler.trouble
        with pytest.raises(Quarantined):
            scene.ask(2)
        await until(lambda: not scene.scheduler.trouble)
        assert values(await scene.answers(3)) == [6]
        assert scene.recorder.failures == ["quarantined", "quarantined"]

    play(story)


def test_an_answer_forgives():
    async def story(scene):
        for _ in range(restart.QUARANTINE + 2):
            scene.sessions[0].die()
            await until(lambda: scene.scheduler._crew.free and not scene.sessions[0].dead)
            assert values(await scene.answers(3)) == [6]
        assert scene.scheduler.trouble == ""

    play(story)


def test_a_process_that_hangs_past_its_deadlines_is_ended_and_the_next_request_is_served():
    async def story(scene):
        hanging = scene.ask(SLOW, deadline=monotonic() + 0.05)
        await asyncio.sleep(0.1)
        scene.scheduler.expire(monotonic())
        with pytest.raises(DeadlineExceeded, match="still running past the deadline"):
            await hanging
        assert not scene.sessions[0].killed.is_set()  # it has not run for hang_s yet
        scene.scheduler.expire(monotonic() + 1.1)
        assert scene.sessions[0].killed.is_set()
        scene.sessions[0].killed = threading.Event()
        assert values(await scene.answers(3)) == [6]
        assert [SLOW] not in scene.sessions[0].batches[1:]

    play(story, hang=1.0)


def test_a_slow_batch_that_somebody_waits_for_is_left_alone():
    async def story(scene):
        scene.ask(SLOW, deadline=monotonic() + 1000)
        await until(lambda: scene.sessions[0].batches)
        scene.scheduler.expire(monotonic() + 50)
        assert not scene.sessions[0].killed.is_set()

    play(story, hang=1.0)


def test_draining_waits_for_those_whose_process_died():
    async def story(scene):
        tickets = [scene.ask(1), scene.ask(POISON)]
        await asyncio.wait_for(scene.scheduler.drain(), 10)
        assert all(ticket.over for ticket in tickets)
        assert values([await tickets[0]]) == [2]

    play(story)


@pytest.mark.parametrize(("ends", "seconds"), [(0, 0), (1, 0), (2, 0.01), (3, 0.04), (30, 60), (10**6, 60)])
def test_starts_come_later_and_later(ends, seconds):
    assert restart.delay(ends) == pytest.approx(seconds)


def test_what_becomes_of_processes_is_told_until_they_rest():
    async def story(scene):
        scene.sessions[0].refuse_start = restart.QUARANTINE + 1
        scene.sessions[0].die()
        await until(lambda: scene.recorder.mishaps[-1:] == [("restarted", "")])
        told = [what for what, _ in scene.recorder.mishaps]
        assert told == ["ended"] * restart.QUARANTINE + ["quarantined", "restarted"]
        assert "it ended while it was idle; it is started again at once" in scene.recorder.mishaps[0][1]

    play(story)
