"""Callers who go away take nothing with them, and cost the model nothing."""

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.e2e import sleeper
from tests.e2e.process import until
from tests.e2e.wire import grpc_request, http_request, receive, send


class HttpCall:
    """One request on a connection of its own."""

    def __init__(self, server, number, seconds=0.0):
        self._connection = send(server, http_request("slow", sleeper.row(seconds, number)))

    def number(self):
        with self._connection:
            status, body = receive(self._connection)
        assert status == 200
        return body["outputs"][0]["data"][2]

    def leave(self):
        self._connection.close()


class GrpcCall:
    """One call on a channel of its own."""

    def __init__(self, server, number, seconds=0.0):
        self._channel = grpc.insecure_channel(server.grpc)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._call = stub.ModelInfer.future(grpc_request("slow", sleeper.row(seconds, number)), timeout=30)

    def number(self):
        raw = self._call.result().raw_output_contents[0]
        self._channel.close()
        return memoryview(raw).cast("f")[2]

    def leave(self):
        self._call.cancel()
        self._channel.close()


@pytest.fixture(params=[HttpCall, GrpcCall])
def call(request):
    return request.param


class Slow:
    """A server of one slow model, and what has become of the requests for it."""

    def __init__(self, server, folder):
        self.server, self._folder = server, folder

    def queued(self, count):
        """Until so many rows wait."""
        until(lambda: self._metric("penstock_queue_rows{") == count, f"{count} rows to be queued")

    def begun(self, *batches):
        """Until exactly these batches have been begun."""
        until(lambda: sleeper.batches(self._folder) == list(batches), f"batches {batches}")

    def left(self, count):
        """Until so many callers have been counted as gone."""
        until(lambda: self._metric('reason="cancelled"') == count, f"{count} to be counted as gone")

    def _metric(self, text):
        lines = [line for line in self.server.get("/metrics").text.splitlines() if text in line]
        return sum(float(line.split()[-1]) for line in lines)


@pytest.fixture
def slow(serve, tmp_path):
    sleeper.write(tmp_path / "models")
    return Slow(serve(tmp_path / "models", watch_enabled=False), tmp_path / "models")


def test_who_goes_while_queued_is_dropped_and_the_others_get_their_own_answers(slow, call):
    first = call(slow.server, 1, seconds=1.0)
    slow.begun([1])
    waiting = []
    for number in (2, 3, 4):
        waiting.append(call(slow.server, number))
        slow.queued(number - 1)
    waiting[1].leave()
    assert [first.number(), waiting[0].number(), waiting[2].number()] == [1, 2, 4]
    slow.left(1)
    slow.begun([1], [2, 4])
    stats = slow.server.get("/v2/models/slow/stats").json()["model_stats"][0]
    assert (stats["inference_count"], stats["execution_count"]) == (3, 2)


def test_who_goes_while_it_runs_does_not_disturb_the_rest_of_the_batch(slow, call):
    first = call(slow.server, 1, seconds=0.5)
    slow.begun([1])
    batch = []
    for number in (2, 3, 4):
        batch.append(call(slow.server, number, seconds=1.0))
        slow.queued(number - 1)
    assert first.number() == 1
    slow.begun([1], [2, 3, 4])
    batch[1].leave()
    assert [batch[0].number(), batch[2].number()] == [2, 4]
    slow.left(1)


def test_when_all_have_gone_nothing_more_is_run(slow, call):
    first = call(slow.server, 1, seconds=0.7)
    slow.begun([1])
    waiting = [call(slow.server, number) for number in (2, 3, 4)]
    slow.queued(3)
    for one in waiting:
        one.leave()
    assert first.number() == 1
    slow.left(3)
    assert call(slow.server, 5, seconds=0.01).number() == 5
    slow.begun([1], [5])
