"""SIGTERM: nothing that was accepted is lost, and the process ends."""

import asyncio
import re
import signal
import subprocess
import sys
import time

import grpc
import orjson
import pytest
from tritonclient.grpc import service_pb2_grpc

from benchmarks import fixtures
from tests.cli import certificate
from tests.e2e import models, sleeper
from tests.e2e.process import environment, until
from tests.e2e.wire import CLOSED, LENGTH, grpc_request, http_request, receive_all, send

NEVER_READY = """
import time
from typing import Annotated
from penstock import FP32


class Model:
    def setup(self):
        print("setting up", flush=True)
        time.sleep(600)

    def predict(self, x: Annotated[FP32, -1]) -> Annotated[FP32, -1]:
        return x
"""
SLOW = sleeper.row(0.05)
STUCK = """
import sys, time
from penstock import server
from penstock.cli.main import main
from penstock.metering.shelf import Shelf

save, server._LAST_ENTRY = Shelf.save, 0.1


def hang(shelf):
    print("saving", flush=True)
    time.sleep(600)


Shelf.save = hang
sys.argv[1:] = ["serve", sys.argv[1], "--http-port", "0", "--grpc-port", "-1"]
main()
"""


class Tally:
    """What became of requests; a request that was sent whole and not answered is lost."""

    def __init__(self):
        self.answered = 0
        self.refused = 0
        self.lost = []


async def connect(port):
    """None when the server no longer takes connections."""
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None


async def exchange(streams, request):
    """The head and the body of one answer."""
    reader, writer = streams
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(int(LENGTH.search(head)[1]))


async def call_http(port, request, tally, *, keep):
    """Asks until the server takes no more connections; ``keep``: on one connection while it is kept."""
    while (streams := await connect(port)) is not None:
        try:
            while True:
                head, body = await exchange(streams, request)
                if not head.startswith(b"HTTP/1.1 200 "):
                    tally.lost.append(head + body)
                tally.answered += 1
                if CLOSED.search(head) or not keep:
                    break
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.lost.append(f"{'kept' if keep else 'new'} connection: {error!r}")
            return
        finally:
            streams[1].close()
    tally.refused += 1


async def call_grpc(address, message, tally):
    """Asks until it is told that the server is going, or has gone."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while True:
            try:
                await stub.ModelInfer(message, timeout=30)
                tally.answered += 1
            except grpc.aio.AioRpcError as error:
                refusal = r"shutting down|refused|failed to connect"
                if error.code() == grpc.StatusCode.UNAVAILABLE and re.search(
                    refusal, error.details(), re.IGNORECASE
                ):
                    tally.refused += 1
                else:
                    tally.lost.append(f"gRPC: {error.code()} {error.details()}")
                return


@pytest.fixture
def two_models(tmp_path):
    """One that answers at once and one that is slow, so that some are running and some are waiting."""
    folder = tmp_path / "models"
    fixtures.write(folder, "adding", "1", models.adding(1))
    sleeper.write(folder)
    return folder


@pytest.mark.parametrize("after", [0.3, 0.5, 0.7])
def test_sigterm_under_load_loses_nothing(serve, two_models, after):
    server = serve(two_models, watch_enabled=False)

    async def run():
        kept, new, rpc = Tally(), Tally(), Tally()
        port = server.http_port
        callers = [call_http(port, http_request("adding"), kept, keep=True) for _ in range(40)]
        callers += [call_http(port, http_request("slow", SLOW), kept, keep=True) for _ in range(40)]
        callers += [call_http(port, http_request("adding"), new, keep=False) for _ in range(20)]
        callers += [call_grpc(server.grpc, grpc_request("adding"), rpc) for _ in range(8)]
        callers += [call_grpc(server.grpc, grpc_request("slow", SLOW), rpc) for _ in range(8)]
        tasks = [asyncio.create_task(caller) for caller in callers]
        await asyncio.sleep(after)
        server.terminate()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        return kept, new, rpc

    tallies = asyncio.run(run())
    assert [tally.lost for tally in tallies] == [[], [], []]
    assert [tally.refused for tally in tallies] == [80, 20, 16]
    assert min(tally.answered for tally in tallies) > 16
    assert server.ended() == 0


def test_whoever_is_still_in_the_backlog_when_sigterm_comes_is_answered(serve, repository):
    """The server stands still while they connect and ask, and is told to stop before it goes on."""
    fixtures.write(repository, "adding", "1", models.adding(1))
    server = serve(repository)
    server.process.send_signal(signal.SIGSTOP)
    connections = [send(server, http_request("adding")) for _ in range(50)]
    server.terminate()
    server.process.send_signal(signal.SIGCONT)
    answers = [receive_all(connection) for connection in connections]
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 200 "] * 50
    assert server.ended() == 0
    for connection in connections:
        connection.close()


def test_a_handshake_that_never_comes_does_not_hold_the_server_up(serve, repository, tmp_path):
    """As above, behind TLS, and the clients say nothing."""
    _, pem = certificate.make(tmp_path)
    server = serve(repository, "--tls-cert", pem, "--tls-key", str(tmp_path / "key.pem"))
    server.process.send_signal(signal.SIGSTOP)
    connections = [send(server, b"") for _ in range(5)]
    server.terminate()
    server.process.send_signal(signal.SIGCONT)
    begun = time.monotonic()
    assert server.ended() == 0
    assert time.monotonic() - begun < 5
    for connection in connections:
        connection.close()


@pytest.fixture
def slow(tmp_path):
    sleeper.write(tmp_path / "models")
    return tmp_path / "models"


def test_what_is_running_and_what_waits_is_answered_after_sigterm(serve, slow):
    server = serve(slow, watch_enabled=False)
    connections = [send(server, http_request("slow", sleeper.row(0.5, n))) for n in range(8)]
    until(lambda: sleeper.batches(slow), "the first request to run")
    server.terminate()
    for n, connection in enumerate(connections):
        with connection:
            said = receive_all(connection)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert CLOSED.search(said.partition(b"\r\n\r\n")[0] + b"\r\n")
        assert orjson.loads(said.partition(b"\r\n\r\n")[2])["outputs"][0]["data"][2] == n
    assert server.ended() == 0


def test_a_request_that_is_half_sent_when_sigterm_comes_is_answered(serve, repository):
    fixtures.write(repository, "adding", "1", models.adding(1))
    server = serve(repository)
    request = http_request("adding")
    with send(server, request[:-20]) as connection:
        until(lambda: server.get("/v2/health/live").status_code == 200, "the half to have been read")
        server.terminate()
        until(lambda: server.log("^stopping"), "the server to stop")
        connection.sendall(request[-20:])
        said = receive_all(connection)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert server.ended() == 0


def test_pipelined_requests_are_all_answered_before_the_connection_closes(serve, slow):
    server = serve(slow, watch_enabled=False)
    with send(server, b"".join(http_request("slow", sleeper.row(0.5, n)) for n in range(3))) as connection:
        until(lambda: sleeper.batches(slow), "the first request to run")
        server.terminate()
        said = receive_all(connection)
    assert server.ended() == 0
    parts = said.split(b"HTTP/1.1 200 OK\r\n")[1:]
    bodies = [part.partition(b"\r\n\r\n")[2] for part in parts]
    assert [orjson.loads(body)["outputs"][0]["data"][2] for body in bodies] == [0, 1, 2]
    assert [bool(CLOSED.search(part)) for part in parts] == [False, False, True]


def test_after_sigterm_it_is_not_ready_and_takes_no_new_connections(serve, slow):
    server = serve(slow, watch_enabled=False, server_lame_duck_s=10)
    with send(server, http_request("slow", sleeper.row(1))) as running, send(server, b"") as other:
        until(lambda: server.get("/v2/health/ready").status_code == 200, "ready")
        server.terminate()
        until(lambda: server.log("^stopping"), "the server to stop")
        other.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: here\r\n\r\n")
        assert receive_all(other).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionRefusedError):
            send(server, b"")
        assert receive_all(running).startswith(b"HTTP/1.1 200 ")
    assert server.ended() == 0


def test_idle_connections_do_not_hold_the_server_up(serve, repository):
    server = serve(repository)
    connections = [send(server, b"") for _ in range(20)]
    server.terminate()
    begun = time.monotonic()
    assert server.ended() == 0
    assert time.monotonic() - begun < 5
    for connection in connections:
        connection.close()


def test_what_takes_longer_than_the_patience_is_cut_off(serve, slow):
    server = serve(slow, watch_enabled=False, server_drain_s=0.3, server_lame_duck_s=0.1)
    with send(server, http_request("slow", sleeper.row(3))) as connection:
        until(lambda: sleeper.batches(slow), "the first request to run")
        server.terminate()
        begun = time.monotonic()
        assert server.ended() == 0
        assert time.monotonic() - begun < 2.5
        assert receive_all(connection) == b""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(serve, slow, first):
    server = serve(slow, watch_enabled=False)
    with send(server, http_request("slow", sleeper.row(3))):
        until(lambda: sleeper.batches(slow), "the first request to run")
        server.process.send_signal(first)
        until(lambda: server.log("^stopping"), "the server to stop")
        server.terminate()
        begun = time.monotonic()
        assert server.ended() == 130
        assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_still_loads_ends_at_once(start, tmp_path, number):
    (tmp_path / "models/slow/1").mkdir(parents=True)
    (tmp_path / "models/slow/1/model.py").write_text(NEVER_READY)
    server = start(tmp_path / "models")
    until(lambda: server.log("setting up"), "the model's process to load it")
    server.process.send_signal(number)
    assert server.ended(5) == 0
    said = [line for line in server.log() if not line.startswith(("metering:", "books in", "rollouts in"))]
    assert said == [
        f"loading the models of {tmp_path / 'models'}",
        "slow-1-0: setting up",
        "stopped before it was ready; nothing had been accepted",
    ]


def test_a_disk_that_hangs_keeps_nobody_from_stopping(tmp_path):
    (tmp_path / "echo/1").mkdir(parents=True)
    (tmp_path / "echo/model.toml").write_text('engine = "echo"\nfile = "model.echo"\n')
    (tmp_path / "echo/1/model.echo").touch()
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(meter_file="none"), **pipes) as process:
        assert any("saving" in line for line in process.stdout)
        assert any(" ready" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "the books did not close in 0.1 s" in said
