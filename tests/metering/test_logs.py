"""Logs: formats, masking, the access log, and never waiting for the reader."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from penstock.core.errors import EngineFailed
from penstock.metering import logs
from penstock.metering.outlet import Outlet, writer

log = logging.getLogger("penstock.test")


@pytest.fixture(autouse=True)
def undo():
    root = logging.getLogger()
    before = root.level, logs.ACCESS.level
    yield
    for outlet in [h for h in root.handlers if isinstance(h, Outlet)]:
        root.removeHandler(outlet)
        outlet.close()
    root.setLevel(before[0])
    logs.ACCESS.setLevel(before[1])


def written(stream, **options):
    """Set up, run what the caller logs, and return the lines once they are out."""
    logs.setup(stream=stream, **options)

    def lines():
        (outlet,) = [h for h in logging.getLogger().handlers if isinstance(h, Outlet)]
        outlet.close()
        return stream.getvalue().splitlines()

    return lines


def test_json_lines_carry_time_level_logger_message_and_fields():
    lines = written(io.StringIO(), format="json")
    log.warning("loaded %s", "digits", extra={"model": "digits", "version": "1", "seconds": 0.25})
    (line,) = map(json.loads, lines())
    ts = line.pop("ts")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ts)
    assert line == {
        "level": "WARNING",
        "logger": "penstock.test",
        "message": "loaded digits",
        "model": "digits",
        "version": "1",
        "seconds": 0.25,
    }


def test_json_stays_json_for_odd_values():
    lines = written(io.StringIO(), format="json")
    extra = {"seconds": float("nan"), "path": io, "ts": "mine", "text": "a\nb\udc80\x1b"}
    log.info("odd", extra=extra)
    (line,) = (json.loads(text, parse_constant=pytest.fail) for text in lines())
    assert line["seconds"] == "nan"
    assert line["ts"] != "mine"
    assert line["text"] == "a\nb\udc80\x1b"


def test_an_exception_stands_in_its_own_field():
    lines = written(io.StringIO(), format="json")
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("failed")
    (line,) = map(json.loads, lines())
    assert line["message"] == "failed"
    assert line["exception"].endswith("ValueError: boom")


def test_text_is_one_line_with_fields():
    lines = written(io.StringIO())
    log.info("loaded", extra={"model": "digits", "version": ""})
    (line,) = lines()
    assert re.fullmatch(r"\S+Z INFO    penstock\.test: loaded model=digits", line)


def test_a_caller_cannot_forge_lines_or_colours_in_text():
    lines = written(io.StringIO())
    log.info("from %s", "x\n2026-01-01T00:00:00.000Z ERROR", extra={"request_id": "\x1b[31m\r"})
    (line,) = lines()
    assert "\x1b" not in line
    assert r"x\x0a2026" in line
    assert r"request_id=\x1b[31m\x0d" in line


def test_colour_only_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    plain, coloured = written(io.StringIO()), None
    log.error("x")
    assert "\x1b" not in plain()[0]
    coloured = written(Terminal())
    log.error("x")
    assert "\x1b[31mERROR" in coloured()[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_masked(form):
    lines = written(io.StringIO(), format=form)
    extra = {"api_key": "hush-1", "authorization": "hush-2", "x-api-key": "hush-3", "tokens": 12}
    log.info("headers Authorization: Bearer hush-4, X-API-Key: hush-5 end", extra=extra)
    log.info("headers %s", {"x-api-key": "hush-6", "authorization": "bearer hush-7"})
    text = "\n".join(lines())
    assert "hush" not in text
    assert "12" in text
    assert "end" in text


def test_the_level_is_respected():
    lines = written(io.StringIO(), level="WARNING")
    log.info("no")
    log.warning("yes")
    assert len(lines()) == 1


def test_calling_setup_twice_leaves_one_handler_and_one_thread():
    first, second = io.StringIO(), io.StringIO()
    logs.setup(stream=first)
    log.info("one")
    lines = written(second)
    log.info("two")
    assert len(lines()) == 1
    assert first.getvalue().count("\n") == 1
    assert [t.name for t in threading.enumerate()].count("penstock-log") == 0


def test_without_the_access_log_only_failures_of_ours_are_logged():
    lines = written(io.StringIO(), format="json")
    logs.access("digits", "1", "r-1", 200, 0.001)
    logs.access("digits", "1", "r-2", 400, 0.001)
    logs.access("digits", "1", "r-3", 500, 0.0012345678, EngineFailed("no memory"))
    (line,) = map(json.loads, lines())
    del line["ts"]
    assert line == {
        "level": "ERROR",
        "logger": "penstock.access",
        "message": "500 digits: no memory",
        "model": "digits",
        "version": "1",
        "request_id": "r-3",
        "status": 500,
        "seconds": 0.001235,
    }


def test_the_access_log_has_one_line_a_request():
    lines = written(io.StringIO(), format="json", access=True)
    logs.access("digits", "1", "r-1", 200, 0.001)
    logs.access("digits", "1", "r-2", 503, 0.001)
    assert [json.loads(line)["request_id"] for line in lines()] == ["r-1", "r-2"]


def test_lines_are_dropped_and_counted_while_the_reader_is_stuck():
    started, go, out = threading.Event(), threading.Event(), []

    def stuck(text):
        started.set()
        assert go.wait(5)
        out.append(text)

    outlet = Outlet(stuck, capacity=3)
    outlet.emit(logging.makeLogRecord({"msg": "0"}))
    assert started.wait(5)
    for i in range(1, 11):
        outlet.emit(logging.makeLogRecord({"msg": str(i)}))
    assert outlet.lost == 7
    go.set()
    outlet.close()
    assert out[0] == "0\n"
    assert "7 log lines were dropped" in out[1]
    assert out[2:] == ["1\n", "2\n", "3\n"]


def test_a_reader_that_has_gone_costs_lines_only():
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        logs.setup(stream=stream)
        os.close(read)
        log.info("lost")
        (outlet,) = [h for h in logging.getLogger().handlers if isinstance(h, Outlet)]
        outlet.close()
        assert logs.dropped() == 1


def test_the_stream_is_kept_open_and_a_closed_one_is_not_written_to(tmp_path):
    stream = (tmp_path / "log").open("w")
    write = writer(stream)
    write("kept\n")
    stream.close()
    with (tmp_path / "other").open("w"), pytest.raises(ValueError, match="closed"):
        write("lost\n")
    assert (tmp_path / "log").read_text() == "kept\n"
    assert (tmp_path / "other").read_text() == ""


def test_long_lines_arrive_whole():
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as reader:
        got = []
        thread = threading.Thread(target=lambda: got.append(reader.readline()))
        thread.start()
        writer(stream)("é" * 200_000 + "\n")
        thread.join(5)
    assert got == [("é" * 200_000 + "\n").encode()]


PROGRAM = """
import logging, time
from penstock.metering import logs
logs.setup()
log = logging.getLogger("x")
start = time.monotonic()
for i in range(15_000):
    log.info("%s %d", "y" * 50, i)
print(time.monotonic() - start, logs.dropped(), flush=True)
"""


def test_a_blocked_pipe_neither_stops_the_server_nor_its_exit():
    read, write = os.pipe()
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=write, timeout=15, check=False
    )
    took = time.monotonic() - start
    os.close(write)
    os.close(read)
    seconds, dropped = done.stdout.split()
    assert done.returncode == 0
    assert int(dropped) > 1000
    assert float(seconds) < 5
    assert took < 10


def test_everything_is_written_before_a_normal_exit():
    program = PROGRAM.replace("15_000", "5_000")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=15, check=True)
    assert done.stderr.count(b"\n") == 5000
