"""The state of rollouts: what is saved is there after a restart, and after anything that befalls its file."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.terms import NO_FILE, Metering
from penstock.metering import shelf
from penstock.metering.books.store import Books
from penstock.rollout import store
from penstock.rollout.store import State, open_state, usual
from penstock.rollout.tables import Saved, StateBusy, StateFailed
from penstock.rollout.words import Bad, Change, Pin
from tests.room import no_room

RUNS = Saved("r1", "digits", b'{"stage":1}', b"\x00\xff evidence", None)
START = Change(1.0, "digits", "r1", "admin", "start", "a better one")
BAD = Bad("digits", "2", 5.0, "p99 is 1.8 times the old one's", "abc")
PIN = Pin("digits", "1", "latest 2", ("1", "2"))


@pytest.fixture(params=["file", "memory"])
def kept(request, tmp_path):
    opened = State.open(tmp_path / "state" / "models.rollouts.db" if request.param == "file" else None)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models.rollouts.db"


def asides(path: Path) -> list[str]:
    return [each.name for each in path.parent.glob("*.corrupt-*")]


# -- what is kept -------------------------------------------------------------------------------------


def test_what_is_saved_is_read_as_it_was(kept):
    kept.save(RUNS, [START], BAD, PIN)
    assert kept.running() == [RUNS]
    assert kept.ended() == []
    assert kept.changes() == kept.changes("digits") == [START]
    assert kept.bad() == kept.bad("digits") == [BAD]
    assert kept.pins() == [PIN]
    assert kept.changes("other") == kept.bad("other") == []


def test_a_restart_finds_what_was_saved(path):
    state = State.open(path)
    state.save(RUNS, [START], BAD, PIN)
    state.close()
    state = State.open(path)
    assert (state.running(), state.changes(), state.bad(), state.pins()) == ([RUNS], [START], [BAD], [PIN])
    state.close()


def test_a_later_save_takes_the_place_of_the_one_before(kept):
    kept.save(RUNS)
    other = replace(RUNS, id="r2", model="words")
    kept.save(other)
    later = replace(RUNS, course=b'{"stage":2}', evidence=b"")
    kept.save(later)
    assert kept.running() == [later, other]
    kept.save(replace(later, ended=9.0))
    assert kept.running() == [other]
    assert kept.ended() == [replace(later, ended=9.0)]


def test_what_has_ended_and_what_was_done_come_newest_first(kept):
    for at in (2.0, 1.0, 3.0, 3.0):
        count = len(kept.ended())
        kept.save(replace(RUNS, id=f"r{count}", ended=at), [replace(START, what=f"{count}")])
    assert [each.id for each in kept.ended()] == ["r3", "r2", "r0", "r1"]
    assert [each.id for each in kept.ended(limit=2)] == ["r3", "r2"]
    assert [each.what for each in kept.changes(limit=3)] == ["3", "2", "1"]


def test_a_version_is_bad_once_with_the_last_reason_until_it_is_forgiven(kept):
    kept.save(RUNS, bad=BAD)
    kept.save(RUNS, bad=replace(BAD, version="3"))
    kept.save(RUNS, bad=replace(BAD, why="it crashed", fingerprint="def"))
    assert [(each.version, each.why) for each in kept.bad()] == [("2", "it crashed"), ("3", BAD.why)]
    kept.forgive("digits", "2")
    kept.forgive("digits", "never there")
    assert [each.version for each in kept.bad()] == ["3"]


def test_a_model_has_one_pin_the_last(kept):
    kept.save(RUNS, pin=PIN)
    kept.save(RUNS, pin=Pin("a", "7"))
    kept.save(RUNS, pin=replace(PIN, version="2"))
    assert kept.pins() == [Pin("a", "7"), replace(PIN, version="2")]


def test_the_oldest_go_where_there_are_many(kept, monkeypatch):
    monkeypatch.setattr(store, "MOST_ENDED", 5)
    monkeypatch.setattr(store, "MOST_CHANGES", 7)
    monkeypatch.setattr(store, "MOST_BAD", 3)
    kept.save(RUNS)
    for at in range(20):
        ended = replace(RUNS, id=f"e{at}", ended=float(at))
        kept.save(ended, [replace(START, at=at + part / 2) for part in (0, 1)], replace(BAD, version=str(at)))
    assert [each.id for each in kept.ended()] == ["e19", "e18", "e17", "e16", "e15"]
    assert [each.at for each in kept.changes()] == [19.5, 19, 18.5, 18, 17.5, 17, 16.5]
    assert [each.version for each in kept.bad()] == ["19", "18", "17"]
    assert kept.running() == [RUNS]


def test_any_text_can_be_a_name(kept):
    odd = "m\udcff\x00'; --"
    kept.save(
        replace(RUNS, model=odd),
        [replace(START, model=odd, why=odd)],
        replace(BAD, model=odd),
        replace(PIN, model=odd, over=(odd,)),
    )
    assert len(kept.changes(odd)) == len(kept.bad(odd)) == len(kept.running()) == len(kept.pins()) == 1
    kept.forgive(odd, BAD.version)
    assert kept.bad() == []


def test_a_save_that_fails_leaves_all_as_it_was(kept):
    kept.save(RUNS, [START])
    with pytest.raises(StateFailed, match=r"the rollouts in .*: NOT NULL"):
        kept.save(replace(RUNS, evidence=b"more"), [START, replace(START, at=float("nan"))], BAD, PIN)
    assert (kept.running(), kept.changes(), kept.bad(), kept.pins()) == ([RUNS], [START], [], [])


def test_after_its_end_the_state_says_that_it_is_closed(kept):
    kept.close()
    kept.close()
    with pytest.raises(StateFailed, match="the rollouts are closed"):
        kept.running()


# -- what befalls the file ----------------------------------------------------------------------------


def test_a_second_server_is_told_that_the_file_is_taken(path):
    state = State.open(path)
    with pytest.raises(StateBusy, match=r"another server keeps its rollouts in .*; give each its own with"):
        State.open(path)
    state.close()
    State.open(path).close()


def test_what_is_saved_is_flushed_to_the_disk(path):
    state = State.open(path)
    assert state._do(lambda file: file.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert state._do(lambda file: file.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    state.close()


def test_garbage_is_moved_aside_and_another_file_begun(path, caplog):
    path.write_bytes(b"not a database" * 1000)
    with caplog.at_level(logging.ERROR):
        state = State.open(path)
    state.save(RUNS)
    assert state.running() == [RUNS]
    state.close()
    (aside,) = asides(path)
    assert path.with_name(aside).read_bytes() == b"not a database" * 1000
    assert "the rollouts in" in caplog.text
    assert aside in caplog.text


def test_damage_while_it_is_open_is_met_the_same_way(path, monkeypatch):
    monkeypatch.setattr("penstock.core.database.file.CHECKED", 0)
    state = State.open(path)
    state.save(replace(RUNS, evidence=bytes(100_000)))
    state.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    state = State.open(path)
    assert asides(path) == []
    state.save(RUNS, [START])
    assert state.running() == [RUNS]
    state.close()
    assert len(asides(path)) == 1


def test_the_database_of_another_program_is_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
        other.execute("PRAGMA user_version = 9")
    other.close()
    before = path.read_bytes()
    with pytest.raises(BadSetting, match="is a database of another program; name another file with `file`"):
        State.open(path)
    assert path.read_bytes() == before


def test_the_books_are_no_rollouts(path):
    Books.open(path, "here").close()
    with pytest.raises(BadSetting, match="is a database of another program"):
        State.open(path)


def test_a_newer_file_is_refused_and_left_alone(path):
    State.open(path).close()
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA user_version = 99")
    with pytest.raises(
        BadSetting, match=r"newer Penstock \(version 99 of the rollouts.*upgrade Penstock, or"
    ):
        State.open(path)
    assert file.execute("PRAGMA user_version").fetchone() == (99,)
    file.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(BadSetting, match=r"models\.rollouts\.db cannot hold the rollouts: .*; name another"):
        State.open(tmp_path / "state" / "models.rollouts.db")


def test_what_a_full_disk_has_no_room_for_can_be_saved_later(path):
    state = State.open(path)
    state.save(RUNS, [START])
    more = (replace(RUNS, evidence=os.urandom(1 << 20)), [START] * 100, BAD, PIN)
    with (
        no_room(path.with_name(f"{path.name}-wal").stat().st_size),
        pytest.raises(StateFailed, match=r"the rollouts in .*models\.rollouts\.db: "),
    ):
        state.save(*more)
    assert (state.running(), state.changes(), state.bad(), state.pins()) == ([RUNS], [START], [], [])
    state.save(*more)
    assert state.running() == [more[0]]
    state.close()
    assert asides(path) == []


WRITER = """
import sys
from pathlib import Path
from penstock.rollout.store import State
from penstock.rollout.tables import Saved
from penstock.rollout.words import Bad, Change, Pin

state = State.open(Path(sys.argv[1]))
at = int(sys.argv[2])
while True:
    at += 1
    ended = float(at) if at % 7 == 0 else None
    saved = Saved(f"r{at // 7}", "m", b"%d" % at, b"%d" % at * 2000, ended)
    changes = [Change(float(at), "m", saved.id, "guard", f"{part}") for part in range(3)]
    state.save(saved, changes, Bad("m", "1", float(at), ""), Pin("m", f"{at}"))
    print(at, flush=True)
"""


def killed_after(path: Path, lines: int, begun: int) -> int:
    """The last save of which the writer said that it was done."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(begun)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as writer:
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().splitlines()
    return int(said[-1])


def test_after_a_kill_each_save_is_there_whole_or_not_at_all(path):
    at = 0
    for lines in (1, 40, 111):
        done = killed_after(path, lines, at)
        state = State.open(path)
        at = int(state.pins()[0].version)
        assert done <= at <= done + 1
        newest = max(state.running() + state.ended(200), key=lambda each: int(each.course))
        assert (newest.course, newest.evidence) == (b"%d" % at, b"%d" % at * 2000)
        assert newest.id == f"r{at // 7}"
        assert [each.at for each in state.changes(limit=10_000)] == [
            float(each) for each in range(at, 0, -1) for _ in range(3)
        ]
        assert [each.at for each in state.bad()] == [at]
        state.close()
    assert asides(path) == []


# -- where it is ----------------------------------------------------------------------------------------


def test_the_file_is_beside_the_books(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    books = shelf.usual("some/models")
    assert usual(Metering(), "some/models") == books.with_name(f"{books.stem}.rollouts.db")
    named = Metering(file=str(tmp_path / "own" / "books.sqlite"))
    assert usual(named, "some/models") == tmp_path / "own" / "books.rollouts.db"
    state = open_state(Metering(), "some/models")
    assert state.path == usual(Metering(), "some/models")
    state.close()


def test_without_books_on_disk_the_rollouts_are_in_memory_too(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    state = open_state(Metering(file=NO_FILE), "models")
    state.save(RUNS)
    assert state.path is None
    assert list(tmp_path.iterdir()) == []
    state.close()


def test_a_file_that_another_server_has_is_done_without(tmp_path, caplog):
    terms = Metering(file=str(tmp_path / "books.db"))
    first, second = open_state(terms, "models"), open_state(terms, "models")
    assert (first.path is None, second.path is None) == (False, True)
    assert "kept in memory and end with it" in caplog.text
    first.close()
    second.close()


def test_the_usual_place_is_done_without_where_it_is_no_good_and_a_named_one_is_not(
    monkeypatch, tmp_path, caplog
):
    (tmp_path / "state").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state = open_state(Metering(), "models")
    assert state.path is None
    assert "cannot hold the rollouts" in caplog.text
    state.close()
    with pytest.raises(BadSetting, match="cannot hold the rollouts"):
        open_state(Metering(file=str(tmp_path / "state" / "books.db")), "models")
