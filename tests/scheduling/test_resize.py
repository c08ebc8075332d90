"""Instances come and go beside those that work, and nobody notices."""

import asyncio

import pytest

from penstock.core.errors import InstanceLost
from tests.scheduling.test_crew import SLOW, Mortal, play, until


def test_an_instance_more_takes_what_waits_at_once():
    async def story(it):
        it.ask(SLOW)
        await until(lambda: it.sessions[0].batches)
        waiting = it.ask(2)
        it.scheduler.grow(Mortal())
        assert it.scheduler.instances == 2
        assert (await waiting).outputs["y"][0, 0] == 4
        it.sessions[0].kill()

    play(story, cap=1)


def test_one_that_runs_answers_before_its_session_is_given_back():
    async def story(it):
        answers = [asyncio.ensure_future(it.ask(number)) for number in (1, 2)]
        going = asyncio.ensure_future(it.scheduler.shrink())
        assert [(await each).outputs["y"][0, 0] for each in answers] == [2, 4]
        assert await going in it.sessions
        assert it.scheduler.instances == 1
        assert (await it.ask(3)).outputs["y"][0, 0] == 6

    play(story, count=2, cap=1)


def test_idle_ones_go_before_those_that_run_and_the_last_one_stays():
    async def story(it):
        hanging = it.ask(SLOW)
        await until(lambda: any(one.batches for one in it.sessions))
        busy = next(one for one in it.sessions if one.batches)
        gone = [await it.scheduler.shrink(), await it.scheduler.shrink()]
        assert busy not in gone
        with pytest.raises(ValueError, match="last instance"):
            await it.scheduler.shrink()
        hanging.cancel()
        busy.kill()

    play(story, count=3, cap=1)


def test_one_that_is_down_goes_first_and_is_not_started_again():
    async def story(it):
        dead = it.sessions[0]
        dead.refuse_start = 1000
        dead.die()
        await until(lambda: dead.refuse_start < 1000)
        assert await it.scheduler.shrink() is dead
        tried = dead.refuse_start
        await asyncio.sleep(0.05)  # five times as long as the wait before a start
        assert dead.refuse_start >= tried - 1
        assert (await it.ask(1)).outputs["y"][0, 0] == 2
        assert it.scheduler.instances == 2

    play(story, count=3, cap=1)


class Hung(Mortal):
    """Runs until it is killed, whatever it is asked."""

    def run(self, inputs, outputs=(), /):
        self.batches.append(inputs["x"][:, 0].tolist())
        self.killed.wait(20)
        raise InstanceLost("signal 9")


def test_a_request_of_one_that_dies_as_it_leaves_runs_on_another():
    async def story(it):
        hung = Hung()
        it.scheduler.grow(hung)
        answer = asyncio.ensure_future(it.ask(1))
        await until(lambda: hung.batches)
        it.ask(SLOW)
        await until(lambda: it.sessions[0].batches)
        going = asyncio.ensure_future(it.scheduler.shrink())
        await asyncio.sleep(0)
        it.scheduler.grow(Mortal())
        hung.kill()
        assert await going is hung
        assert (await answer).outputs["y"][0, 0] == 2
        assert it.scheduler.instances == 2

    play(story, cap=1)


def test_a_drain_ends_though_one_is_leaving():
    async def story(it):
        answer = asyncio.ensure_future(it.ask(5))
        await asyncio.sleep(0)
        going = asyncio.ensure_future(it.scheduler.shrink())
        await it.scheduler.drain()
        assert (await answer).outputs["y"][0, 0] == 10
        await going

    play(story, count=2)


def test_rows_are_counted_as_they_come():
    async def story(it):
        await it.answers(1, 2, 3)
        assert it.scheduler.arrived == 3

    play(story)
