"""A ticket is told once, by a call or to whoever awaits it, and never after its caller has gone."""

import asyncio

import pytest

from penstock.core.errors import EngineFailed
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing

REPLY = Reply("m", "1", {}, Timing(0.0, 0.0, 1))
OTHER = Reply("m", "2", {}, Timing(0.0, 0.0, 1))


def ticket():
    return Ticket(Request(model="m", inputs={}), 1, 0.0)


def test_then_is_called_at_once_and_once():
    told = []
    one = ticket()
    one.then = told.append
    one.answer(REPLY)
    one.answer(OTHER)
    one.fail(EngineFailed("late"))
    assert told == [one]
    assert (one.reply, one.error, one.over) == (REPLY, None, True)


def test_an_error_is_told_in_the_same_way():
    told = []
    one = ticket()
    one.then = told.append
    one.fail(EngineFailed("broken"))
    one.answer(REPLY)
    assert (str(told[0].error), one.reply) == ("broken", None)


def test_nobody_is_told_after_cancel():
    told = []
    one = ticket()
    one.then = told.append
    one.cancel()
    one.answer(REPLY)
    assert (told, one.reply) == ([], None)


@pytest.mark.parametrize("give", [lambda one: one.answer(REPLY), lambda one: one.fail(EngineFailed("x"))])
def test_trouble_in_then_stays_there(give, caplog):
    one = ticket()
    one.then = lambda _: 1 / 0
    give(one)
    assert "could not be delivered" in caplog.text


def test_it_can_be_awaited_before_and_after_its_answer():
    async def main():
        before, after, failed = ticket(), ticket(), ticket()
        waiting = asyncio.ensure_future(before)
        await asyncio.sleep(0)
        before.answer(REPLY)
        after.answer(OTHER)
        failed.fail(EngineFailed("broken"))
        with pytest.raises(EngineFailed, match="broken"):
            await failed
        return await waiting, await after

    assert asyncio.run(main()) == (REPLY, OTHER)


def test_who_stops_waiting_has_gone():
    async def main():
        one = ticket()
        waiting = asyncio.ensure_future(one)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        one.answer(REPLY)
        return one.over, one.reply

    assert asyncio.run(main()) == (True, None)


def test_a_ticket_cancelled_by_somebody_else_cancels_who_awaits_it():
    async def main():
        one = ticket()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one

    asyncio.run(main())
