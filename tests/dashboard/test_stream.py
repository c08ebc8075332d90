"""Events to whoever looks: one computation for all, nothing for nobody, and nobody holds the server up."""

import json
import time

import msgspec
import pytest

from penstock.core.errors import ShuttingDown
from penstock.dashboard import stream
from penstock.doors.auth import digest
from tests.dashboard import schema
from tests.dashboard.looking import looking, viewer
from tests.doors.house import get, infer, until


def test_hello_comes_first_and_then_ticks_in_the_contracts_words():
    with looking(may="infer") as page, viewer(page) as events:
        name, hello = next(events)
        assert (name, hello) == (
            "hello",
            {"name": "penstock", "version": "0", "site": "here", "started": 1.0, "now": 2.0, "may": "infer"},
        )
        msgspec.convert(hello, schema.Hello)
        for _ in range(3):
            name, tick = next(events)
            assert name == "tick"
            assert [model.name for model in msgspec.convert(tick, schema.Tick).models] == ["broken", "echo"]


def test_the_answer_is_a_stream_that_nobody_keeps():
    with looking() as page, page.own.caller() as caller:
        head = page.get("/").status_code  # the door answers others meanwhile
        caller.send(get("/penstock/live"))
        until(lambda: page.viewers() == 1)
        until(lambda: page.feed.ticked > 2)
        page.own.run(page.hub.close())
        answer = caller.answer()
        assert (head, answer.status) == (200, 200)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (answer.headers["cache-control"], answer.headers["connection"]) == ("no-store", "close")
        assert answer.body.startswith(b"event: hello\ndata: {")
        assert answer.body.endswith(b"}\n\n")
        assert caller.closed()


def test_viewers_share_one_computation_and_nobody_costs_nothing():
    with looking(every=0.05) as page:
        assert page.feed.ticked == 0
        with viewer(page) as one, viewer(page) as two, viewer(page) as three:
            for events in (one, two, three):
                told = (name for name, _ in events if name != "past")
                assert [next(told) for _ in range(4)] == ["hello", "tick", "tick", "tick"]
            assert page.feed.ticked <= 8
            assert page.feed.began == 1
        until(lambda: page.viewers() == 0)
        until(lambda: page.feed.ended == 1)
        seen = page.feed.ticked
        time.sleep(0.2)
        assert page.feed.ticked == seen


def test_whoever_comes_later_sees_the_newest_at_once():
    with looking(every=30.0) as page, viewer(page) as one:
        assert [next(one)[0] for _ in range(2)] == ["hello", "tick"]
        with viewer(page) as two:
            began = time.monotonic()
            assert [next(two)[0] for _ in range(2)] == ["hello", "tick"]
            assert time.monotonic() - began < 5


def test_more_than_the_most_are_refused_with_a_sentence():
    with looking(most=2) as page, viewer(page) as one, viewer(page) as two:
        next(one), next(two)
        answer = page.get("/penstock/live")
        assert (answer.status_code, answer.json()) == (
            503,
            {"error": "2 pages look already, the limit here; close one of them"},
        )


def test_those_who_come_and_go_leave_nothing_behind():
    with looking() as page:
        for turn in range(200):
            with page.own.caller() as caller:
                caller.send(get("/penstock/live"))
                if turn % 2:
                    caller._more()
        until(lambda: page.viewers() == 0)
        until(lambda: page.own.connections() == 0)
        assert page.own.run(_tasks()) <= 3  # the door's watch, the hub's ticks, and this one
        with viewer(page) as events:
            assert next(events)[0] == "hello"


async def _tasks():
    import asyncio

    return len(asyncio.all_tasks())


def test_a_viewer_who_reads_slowly_skips_frames_and_takes_no_memory():
    with looking(every=0.005) as page:
        page.feed.padding = "x" * 400_000
        with page.own.caller(receive_buffer=4096) as caller:
            caller.send(get("/penstock/live"))
            until(lambda: page.feed.ticked >= 60, 20)
            waiting = [
                connection._transport.get_write_buffer_size()
                for connection in page.own.call(lambda: list(page.own.door._connections))
            ]
            assert max(waiting) < 1_000_000
            seen = page.feed.ticked
            page.feed.padding = ""
            caller.socket.settimeout(10)
            while b'"at":' not in caller.buffer[-3000:] or len(caller.buffer) < 400_000:
                caller._more()
            assert caller.buffer.count(b"event: tick") < seen


def test_a_viewer_who_never_reads_is_cut_off():
    with looking(every=0.005, limits={"write_timeout_s": 0.3}) as page:
        page.feed.padding = "x" * 400_000
        with page.own.caller(receive_buffer=4096) as caller:
            caller.send(get("/penstock/live"))
            until(lambda: page.viewers() == 1)
            until(lambda: page.viewers() == 0, 20)
            until(lambda: page.own.connections() == 0)


def test_the_end_waits_for_no_viewer_be_he_awake_or_asleep():
    with looking(every=0.005) as page:
        page.feed.padding = "x" * 400_000
        with page.own.caller() as awake, page.own.caller(receive_buffer=4096) as asleep:
            asleep.send(get("/penstock/live"))
            until(lambda: any(c._blocked_since for c in page.own.call(lambda: [*page.own.door._connections])))
            page.feed.padding = ""
            awake.send(get("/penstock/live"))
            awake._more()
            began = time.monotonic()
            page.own.run(page.hub.close())
            page.own.run(page.own.door.drain(0.0, 10.0))
            assert time.monotonic() - began < 5
            assert awake.answer().body.endswith(b"\n\n")
            assert page.viewers() == 0


def test_nobody_is_let_in_after_the_end():
    with looking() as page:
        page.own.run(page.hub.close())
        answer = page.get("/penstock/live")
        assert (answer.status_code, answer.json()) == (503, {"error": "the server is stopping"})
        with pytest.raises(ShuttingDown):
            page.hub.check()


def test_a_comment_says_that_a_silent_connection_lives(monkeypatch):
    monkeypatch.setattr(stream, "BEAT", 0.02)
    with looking(first=30.0) as page, page.own.caller() as caller:
        caller.send(get("/penstock/live"))
        while caller.buffer.count(b": nothing new\n\n") < 3:
            caller._more()
        assert b"event: tick" not in caller.buffer


def test_figures_that_fail_are_logged_once_and_come_again(caplog):
    with looking() as page, viewer(page) as events:
        assert [next(events)[0] for _ in range(2)] == ["hello", "tick"]
        page.feed.raises = KeyError("a bug")
        before = page.feed.ticked
        until(lambda: page.feed.ticked > before + 5)
        page.feed.raises = None
        assert [next(events)[0] for _ in range(3)] == ["tick"] * 3
    assert caplog.text.count("KeyError: 'a bug'") == 1


def test_figures_that_cannot_begin_are_logged_once_and_begin_later(caplog):
    with looking() as page:
        page.feed.fails = 3
        with viewer(page) as events:
            assert [next(events)[0] for _ in range(2)] == ["hello", "tick"]
        assert page.feed.began == 4
    assert caplog.text.count("OSError: no such process") == 1


def test_whoever_comes_soon_after_is_told_of_the_minutes_before(monkeypatch):
    monkeypatch.setattr(stream, "STEP", 0.1)
    with looking(linger=30.0) as page:
        with viewer(page) as events:
            assert [next(events)[0] for _ in range(3)] == ["hello", "tick", "tick"]
        until(lambda: page.viewers() == 0)
        seen = page.feed.ticked
        until(lambda: page.feed.ticked > seen + 2)
        with viewer(page) as events:
            (_, _), (name, past), (last, _) = [next(events) for _ in range(3)]
        assert (name, last) == ("past", "tick")
        told = msgspec.convert(past, schema.Past)
        assert told.whole.rate == (0.0,) * len(told.at)
        assert page.feed.began == 1


def test_when_nobody_comes_for_a_while_the_past_is_forgotten():
    with looking(linger=0.05) as page:
        with viewer(page) as events:
            assert [next(events)[0] for _ in range(2)] == ["hello", "tick"]
        until(lambda: page.feed.ended == 1)
        with viewer(page) as events:
            assert [next(events)[0] for _ in range(2)] == ["hello", "tick"]


def test_live_needs_a_key_and_inference_goes_on_beside_it():
    with looking({digest("user"): "infer"}) as page:
        assert page.get("/penstock/live").status_code == 401
        with viewer(page, authorization="Bearer user") as events, page.own.caller() as caller:
            assert next(events)[0] == "hello"
            keyed = infer().replace(b"\r\n\r\n", b"\r\nX-API-Key: user\r\n\r\n", 1)
            assert caller.ask(keyed).status == 200


def test_a_question_for_the_head_alone_ends():
    with looking() as page, page.own.caller() as caller:
        answer = caller.ask(b"HEAD /penstock/live HTTP/1.1\r\nHost: test\r\n\r\n", head_only=True)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert page.viewers() == 0


def test_an_event_is_two_lines_and_an_empty_one():
    raw = stream.frame("tick", {"a": "line\nbreak"})
    assert raw == b'event: tick\ndata: {"a":"line\\nbreak"}\n\n'
    assert json.loads(raw.split(b"data: ")[1]) == {"a": "line\nbreak"}
