"""The log of what befell versions: bounded, and each event is handed on once."""

from penstock.metering.events import KEPT, Event, Events
from penstock.metering.ledger import Ledger
from penstock.testing import ManualClock


def test_events_are_told_by_model_and_time():
    wall = ManualClock(100.0)
    events = Events(wall)
    events.note("m", "1", "loaded", "in 1 s")
    wall.advance(10)
    events.note("other", "1", "failed", "no file")
    events.note("m", "1", "live")
    assert events.of("m") == [Event(100.0, "m", "1", "loaded", "in 1 s"), Event(110.0, "m", "1", "live")]
    assert events.of("m", since=105) == [Event(110.0, "m", "1", "live")]
    assert events.of("none") == []


def test_what_was_taken_is_not_taken_again_but_still_told():
    events = Events(ManualClock())
    events.note("m", "1", "loaded")
    assert [event.what for event in events.take()] == ["loaded"]
    events.note("m", "1", "live")
    assert [event.what for event in events.take()] == ["live"]
    assert events.take() == []
    assert [event.what for event in events.of("m")] == ["loaded", "live"]


def test_the_oldest_give_way():
    events = Events(ManualClock())
    for version in range(KEPT + 5):
        events.note("m", str(version), "loaded")
    assert [len(events.of("m")), len(events.take())] == [KEPT, KEPT]
    assert events.of("m")[0].version == "5"


def test_a_book_tells_what_befell_its_version():
    ledger = Ledger(ManualClock(), ManualClock(7.0))
    ledger.book("m", "2").happened("ended", "signal 11")
    assert ledger.events.of("m") == [Event(7.0, "m", "2", "ended", "signal 11")]
