"""The process among others: ports, kills, and a log that nobody reads."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest

from benchmarks import fixtures
from tests.e2e import models
from tests.e2e.callers import Load
from tests.e2e.process import environment, refused, until
from tests.e2e.wire import http_request, receive, send


def test_after_kill_9_it_comes_up_on_the_same_port_at_once(serve, tmp_path):
    fixtures.write(tmp_path / "models", "adding", "1", models.adding(1))
    first = serve(tmp_path / "models")
    with Load(first, http=4, grpc=2) as load:
        until(lambda: min(load.answers) > 3, "answers")
        first.process.send_signal(signal.SIGKILL)
        assert first.ended() == -signal.SIGKILL
    second = serve(tmp_path / "models", ports=(first.http_port, first.grpc_port))
    assert (second.http_port, second.grpc_port) == (first.http_port, first.grpc_port)
    with Load(second, http=1, grpc=1) as load:
        until(lambda: min(load.answers) > 3, "answers")
    assert load.failures == []


def test_after_a_clean_stop_it_comes_up_on_the_same_port_at_once(serve, tmp_path):
    fixtures.write(tmp_path / "models", "adding", "1", models.adding(1))
    first = serve(tmp_path / "models")
    with send(first, http_request("adding")) as connection:
        assert receive(connection)[0] == 200
        assert first.stop() == 0
    second = serve(tmp_path / "models", ports=(first.http_port, first.grpc_port))
    with send(second, http_request("adding")) as connection:
        assert receive(connection)[0] == 200


@pytest.mark.parametrize("door", ["HTTP", "gRPC"])
def test_a_port_in_use_is_one_sentence_and_exit_code_2(repository, door):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = (taken, 0) if door == "HTTP" else (0, taken)
        code, words = refused(repository, ports=ports)
    assert code == 2
    assert f"{door} cannot listen on 127.0.0.1:{taken}" in words
    assert "Traceback" not in words
    assert words.count("cannot listen") == 1


def test_a_second_server_on_a_port_is_refused_and_the_first_goes_on(serve, tmp_path):
    fixtures.write(tmp_path / "models", "adding", "1", models.adding(1))
    first = serve(tmp_path / "models")
    with Load(first, http=2, grpc=1) as load:
        code, words = refused(tmp_path / "models", ports=(0, first.grpc_port))
        until(lambda: min(load.answers) > 3, "answers")
    assert code == 2
    assert "gRPC cannot listen" in words
    assert load.failures == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"server_http_prot": "1"}, "no variable PENSTOCK_SERVER_HTTP_PROT"),
        ({"server_http_port": "http"}, "expected a whole number, got 'http'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(repository, settings, words):
    code, said = refused(repository, **settings)
    assert code == 2
    assert words in said
    assert "Traceback" not in said


def test_a_repository_that_is_not_there_is_one_sentence_and_exit_code_2(tmp_path):
    code, said = refused(tmp_path / "nothing")
    assert code == 2
    assert "nothing does not exist" in said
    assert "Traceback" not in said


# -- nobody reads the log ------------------------------------------------------------------------


def free_port():
    """A port that was free a moment ago; the server cannot say which it got when nobody reads its log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def answering(port):
    """Until a server on that port is ready."""

    def ready():
        try:
            return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, "the server to answer")


def full_pipe():
    """Its two ends; whoever writes to it waits."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    return read, write


@pytest.mark.parametrize("how", ["blocked", "closed"])
def test_a_log_that_nobody_reads_holds_nothing_up(start, tmp_path, how):
    """A pipe that is full, or whose reader has gone."""
    fixtures.write(tmp_path / "models", "adding", "1", models.adding(1))
    read, write = full_pipe()
    if how == "closed":
        os.close(read)
    ports = (free_port(), free_port())
    server = start(tmp_path / "models", ports=ports, stderr=write, log_access=True, log_level="debug")
    os.close(write)
    server.http_port, server.grpc_port = ports
    answering(server.http_port)
    for _ in range(500):  # each is logged
        with send(server, http_request("adding")) as connection:
            assert receive(connection)[0] == 200
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 10
    if how == "blocked":
        os.close(read)


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "| true"])
def test_without_standard_streams_it_serves(repository, streams):
    """As a daemon may be started, with 0, 1 and 2 closed; and with a reader that goes at once."""
    port = free_port()
    words = f"-m penstock serve '{repository}' --http-port {port} --grpc-port -1"
    process = subprocess.Popen(
        ["bash", "-c", f"{sys.executable} {words} {streams}"],
        env=environment(), stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        answering(port)
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)  # the shell's own, when it is still there
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
