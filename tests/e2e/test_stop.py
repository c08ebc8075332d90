"""SIGTERM: nothing that was accepted is lost, and the process ends."""

import asyncio
import re

import grpc
import numpy as np
import orjson
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks import fixtures
from tests.e2e import models

CLOSED = re.compile(rb"^connection: close\r$", re.MULTILINE | re.IGNORECASE)
LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.MULTILINE | re.IGNORECASE)


def http_request(model, row=(1.0, 2.0, 3.0, 4.0)):
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row}
    body = orjson.dumps({"inputs": [tensor]})
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def grpc_request(model):
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.ones((1, 4), np.float32).tobytes())
    return message


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
    models.echo(folder, "slow", delay_ms=50)
    return folder


@pytest.mark.parametrize("after", [0.3, 0.5, 0.7])
def test_sigterm_under_load_loses_nothing(serve, two_models, after):
    server = serve(two_models, watch_enabled=False)

    async def run():
        kept, new, rpc = Tally(), Tally(), Tally()
        port = server.http_port
        callers = [call_http(port, http_request("adding"), kept, keep=True) for _ in range(40)]
        callers += [call_http(port, http_request("slow"), kept, keep=True) for _ in range(40)]
        callers += [call_http(port, http_request("adding"), new, keep=False) for _ in range(20)]
        callers += [call_grpc(server.grpc, grpc_request("adding"), rpc) for _ in range(8)]
        callers += [call_grpc(server.grpc, grpc_request("slow"), rpc) for _ in range(8)]
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
