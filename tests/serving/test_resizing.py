"""The number of instances of a version moves while it serves."""

import asyncio
from math import inf

import pytest

from penstock.core.errors import LoadFailed
from penstock.serving import resizing
from penstock.serving.opened import Opened
from penstock.serving.resizing import Resizing
from tests.scheduling.test_crew import Mortal


class Crewed:
    """A scheduler's part in it."""

    def __init__(self, sessions):
        self.sessions = list(sessions)
        self.hold = asyncio.Event()
        self.hold.set()

    @property
    def instances(self):
        return len(self.sessions)

    def grow(self, session):
        self.sessions.append(session)

    async def shrink(self):
        session = self.sessions.pop()
        await self.hold.wait()
        return session


class Slow:
    """Opens sessions when told to."""

    def __init__(self):
        self.asked = 0
        self.called_off = 0
        self.gate = asyncio.Event()
        self.error = None

    async def __call__(self, at):
        self.asked += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        if self.error:
            raise self.error
        return Closing()


class Closing(Mortal):
    closed = False

    def close(self):
        self.closed = True


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def scene(most=4, count=1, *, shared=False):
    opening = None if shared else Slow()
    opened = Opened([Closing() for _ in range(count)], None, most, opening)
    if shared:
        opened.sessions[:] = [opened.sessions[0]] * count
    crew = Crewed(opened.sessions)
    return Resizing("m 1", crew, opened), crew, opening, opened


def run(story):
    asyncio.run(asyncio.wait_for(story(), 10))


def test_more_begin_at_once_and_take_batches_when_they_are_there():
    async def story():
        it, crew, opening, _ = scene()
        took = []
        it.took = took.append
        it.want(3)
        await settle()
        assert (it.ready, it.starting, opening.asked) == (1, 2, 2)
        it.want(3)  # they are on their way
        await settle()
        assert opening.asked == 2
        opening.gate.set()
        await settle()
        assert (it.ready, it.starting, len(crew.sessions), len(took)) == (3, 0, 3, 2)

    run(story)


def test_what_is_still_loading_is_called_off_before_any_that_works_is_let_go():
    async def story():
        it, crew, opening, _ = scene(count=2)
        it.want(4)
        await settle()
        it.want(2)
        await settle()
        assert (it.ready, it.starting, opening.called_off, len(crew.sessions)) == (2, 0, 2, 2)

    run(story)


def test_what_is_let_go_is_closed_when_it_has_answered():
    async def story():
        it, crew, _, opened = scene(count=3)
        crew.hold.clear()
        going = list(opened.sessions[1:])
        it.want(1)
        await settle()
        assert it.ready == 1
        assert not any(each.closed for each in going)
        crew.hold.set()
        await it.settled()
        assert all(each.closed for each in going)
        assert len(opened.sessions) == 1

    run(story)


def test_instances_that_share_a_session_cost_nothing_and_close_nothing():
    async def story():
        it, _, _, opened = scene(shared=True)
        it.took = pytest.fail
        it.want(3)
        await settle()
        assert (it.ready, it.shared) == (3, True)
        it.want(1)
        await it.settled()
        assert (it.ready, opened.sessions[0].closed) == (1, False)

    run(story)


@pytest.mark.parametrize(("wanted", "ready"), [(0, 1), (99, 4)])
def test_there_is_always_one_and_never_more_than_may_be(wanted, ready):
    async def story():
        it, _, opening, _ = scene()
        opening.gate.set()
        it.want(wanted)
        await settle()
        assert it.ready == ready

    run(story)


def test_a_start_that_fails_is_tried_again_later_and_later(monkeypatch, caplog):
    async def story():
        now = [100.0]
        monkeypatch.setattr(resizing, "monotonic", lambda: now[0])
        it, _, opening, _ = scene()
        opening.gate.set()
        opening.error = LoadFailed("no memory")
        it.want(2)
        await settle()
        assert (it.ready, it.starting, it.trouble) == (1, 0, "no memory")
        it.want(2)
        await settle()
        assert opening.asked == 1
        for wait, asked in ((0.6, 2), (0.4, 2), (0.2, 3)):  # after 0.5 s, and after that 0.5 s again
            now[0] += wait
            it.want(2)
            await settle()
            assert opening.asked == asked
        opening.error = None
        now[0] += inf
        it.want(2)
        await settle()
        assert (it.ready, it.trouble) == (2, "")
        assert "an instance more would not start: no memory" in caplog.text

    run(story)


def test_nothing_comes_after_a_halt():
    async def story():
        it, _, opening, _ = scene()
        it.want(2)
        await settle()
        it.halt()
        await it.settled()
        it.want(4)
        assert (opening.called_off, it.starting, it.ready) == (1, 0, 1)

    run(story)


def test_only_some_load_at_once_and_the_others_follow(monkeypatch):
    monkeypatch.setattr(resizing, "AT_ONCE", 2)

    async def story():
        it, _, opening, _ = scene(most=9)
        it.want(6)
        await settle()
        assert opening.asked == 2
        opening.gate.set()
        for _ in range(5):
            await settle()
        assert it.ready == 6

    run(story)


def test_a_start_that_was_called_off_is_waited_for_until_it_has_given_back():
    async def story():
        gone = asyncio.Event()
        it = scene()[0]

        async def slow(at):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                gone.set()

        it._opened = Opened(it._opened.sessions, None, 4, slow)
        it.want(2)
        await settle()
        it.want(1)
        it.halt()
        await it.settled()
        assert gone.is_set()

    run(story)
