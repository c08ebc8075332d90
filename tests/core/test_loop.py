"""The control loop's runner: rounds, failures, wake-ups and its end."""

import asyncio

import pytest

from penstock.core.loop import Runner


class Counting:
    """Counts its rounds; the first ``bad`` of them raise."""

    name = "counting"
    every = 3600.0

    def __init__(self, bad: int = 0) -> None:
        self.rounds = 0
        self.acted: list[int] = []
        self._bad = bad

    async def observe(self) -> int:
        self.rounds += 1
        await asyncio.sleep(0)
        if self.rounds <= self._bad:
            raise ValueError("seen badly")
        return self.rounds

    def decide(self, seen: int, memory: int, /) -> tuple[list[int], int]:
        return [seen + memory], memory + 1

    async def act(self, order: int, /) -> None:
        self.acted.append(order)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_round_carries_orders_out_and_keeps_the_memory():
    loop = Counting()
    runner = Runner(loop, 10)
    asyncio.run(runner.round())
    asyncio.run(runner.round())
    assert loop.acted == [11, 13]
    assert runner.memory == 12


def test_waking_starts_the_next_round_at_once():
    async def play() -> int:
        loop = Counting()
        runner = Runner(loop, 0)
        task = asyncio.create_task(runner.run())
        await turns(10)
        runner.wake()
        await turns(10)
        task.cancel()
        return loop.rounds

    assert asyncio.run(play()) == 2


def test_a_round_that_raises_is_logged_and_the_next_one_runs(caplog):
    async def play() -> list[int]:
        loop = Counting(bad=1)
        runner = Runner(loop, 0)
        task = asyncio.create_task(runner.run())
        await turns(10)
        runner.wake()
        await turns(10)
        task.cancel()
        return loop.acted

    assert asyncio.run(play()) == [2]
    assert "counting: a round failed" in caplog.text


@pytest.mark.parametrize("after", range(8))
def test_a_runner_that_is_woken_and_cancelled_ends(after):
    """On whatever turn of the loop the cancellation comes."""

    async def play() -> bool:
        runner = Runner(Counting(), 0)
        runner.wake()
        task = asyncio.create_task(runner.run())
        await turns(after)
        task.cancel()
        await turns(20)
        return task.cancelled()

    assert asyncio.run(play())
