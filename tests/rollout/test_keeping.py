"""Rollouts are written down in time, in order, and without anybody waiting for a disk."""

import asyncio
import logging
from threading import Event

import pytest

from penstock.rollout import keeping
from penstock.rollout.keeping import Keeper, Piece
from penstock.rollout.store import State
from penstock.rollout.tables import Saved, StateFailed
from penstock.rollout.words import Bad, Change, Pin


def piece(key: str, course: bytes, *what: str, **more: object) -> Piece:
    changes = tuple(Change(0.0, "m", key, "me", each) for each in what)
    return Piece(Saved(key, "m", course, b"", None), changes, **more)  # type: ignore[arg-type]


class Slow(State):
    """Writes when it is let, and fails as long as it is told to."""

    @classmethod
    def new(cls) -> "Slow":
        state = cls.open(None)
        state.gate, state.fails, state.writes = Event(), 0, 0
        return state

    def save(self, *given, **more):
        self.gate.wait(10)
        self.writes += 1
        if self.fails:
            self.fails -= 1
            raise StateFailed("the disk is full")
        super().save(*given, **more)


def run(work):
    asyncio.run(work)


def test_of_one_rollout_the_newest_is_written_and_every_line_of_its_log():
    state = Slow.new()

    async def work():
        keeper = Keeper(state)
        keeper.start()
        bad = Bad("m", "2", 0.0, "slow")
        keeper.put(piece("a", b"1", "start"))
        await asyncio.sleep(0.01)  # it is being written
        keeper.put(piece("a", b"2", "stage", bad=bad))
        keeper.put(piece("a", b"3", "rollback", pin=Pin("m", "1")))
        keeper.put(piece("b", b"9", "start"))
        state.gate.set()
        assert await keeper.written(10)
        assert {saved.id: saved.course for saved in state.running()} == {"a": b"3", "b": b"9"}
        assert [change.what for change in state.changes("m")][::-1] == ["start", "stage", "rollback", "start"]
        assert (state.bad(), [pin.version for pin in state.pins()], state.writes) == ([bad], ["1"], 3)
        await keeper.stop(10)

    run(work())


def test_what_cannot_be_written_is_tried_again_and_said_once(monkeypatch, caplog):
    monkeypatch.setattr(keeping, "AGAIN", 0.01)
    state = Slow.new()
    state.fails = 3
    state.gate.set()

    async def work():
        keeper = Keeper(state)
        keeper.start()
        keeper.put(piece("a", b"1", "start"))
        assert await keeper.written(10)
        assert [change.what for change in state.changes("m")] == ["start"]
        await keeper.stop(10)

    with caplog.at_level(logging.INFO, "penstock.rollout"):
        run(work())
    assert [record.message for record in caplog.records] == [
        "the disk is full; rollouts go on, and are kept in memory until they can be written",
        "rollouts can be written down again; nothing was lost",
    ]


def test_a_disk_that_hangs_holds_up_neither_questions_nor_the_end(caplog):
    state = Slow.new()

    async def work():
        keeper = Keeper(state)
        keeper.start()
        keeper.put(piece("a", b"1"))
        await asyncio.sleep(0.01)
        assert not await keeper.written(0.05)
        assert await keeper.ask(lambda state: state.pins(), 0.05) is None
        await keeper.stop(0.05)
        state.gate.set()

    run(work())
    assert "the rollouts' database has not answered for 0.05 s" in caplog.text
    assert "what befell them since is lost" in caplog.text


def test_a_pin_is_kept_without_a_rollout():
    async def work():
        state = State.open(None)
        keeper = Keeper(state)
        keeper.start()
        keeper.put(Piece(pin=Pin("m", "1", "latest", ("1", "2"))))
        assert await keeper.written(10)
        assert state.pins() == [Pin("m", "1", "latest", ("1", "2"))]
        await keeper.stop(10)

    run(work())


@pytest.mark.parametrize("text", [b"", b"{", b'{"id": 1}'])
def test_a_rollout_that_cannot_be_read_is_said_and_left_alone(text, caplog):
    assert keeping.course_of(Saved("a", "m", text, b"", None)) is None
    assert "rollout a of model m cannot be read" in caplog.text
