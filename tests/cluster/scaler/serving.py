"""A scaler that answers over gRPC, and a client of it made from the proto as KEDA's is."""

import asyncio
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread

import grpc

from penstock.cluster.scaler.desk import Access, Desk
from penstock.cluster.scaler.door import Listen, start
from penstock.proto import externalscaler_pb2 as messages

SERVICE = "externalscaler.ExternalScaler"
PROTO = Path(__file__).parents[3] / "src/penstock/proto/externalscaler.proto"


@contextmanager
def scaling(access=None, listen=None, **desk):
    """A door in a thread of its own; gives its port, and what stops it."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    async def open_door():
        return await start(Desk(access or Access(), **desk), listen or Listen(port=0))

    door = run(open_door())
    stopped = []

    def stop():
        if not stopped:
            stopped.append(run(door.stop()))

    try:
        yield door.port, stop
    finally:
        stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Keda:
    """Asks as KEDA does, for one ScaledObject."""

    def __init__(self, channel, metadata, name="digits", namespace="ml", pb2=messages):
        self.pb2 = pb2
        self.ref = pb2.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=metadata)
        self._channel = channel

    def _unary(self, name, request, answer, timeout=10):
        call = self._channel.unary_unary(
            f"/{SERVICE}/{name}", type(request).SerializeToString, answer.FromString
        )
        return call(request, timeout=timeout)

    def _stream(self, name, answer):
        call = self._channel.unary_stream(
            f"/{SERVICE}/{name}", type(self.ref).SerializeToString, answer.FromString
        )
        return call(self.ref, timeout=20)

    def specs(self):
        return self._unary("GetMetricSpec", self.ref, self.pb2.GetMetricSpecResponse)

    def values(self, metric="s0-penstock_desired_replicas"):
        request = self.pb2.GetMetricsRequest(scaledObjectRef=self.ref, metricName=metric)
        return self._unary("GetMetrics", request, self.pb2.GetMetricsResponse)

    def wanted(self):
        [value] = self.values().metricValues
        assert value.metricValue == value.metricValueFloat
        return value.metricValue

    def active(self):
        return self._unary("IsActive", self.ref, self.pb2.IsActiveResponse).result

    def stream_active(self):
        return self._stream("StreamIsActive", self.pb2.IsActiveResponse)

    def stream_specs(self):
        return self._stream("StreamMetricSpec", self.pb2.GetMetricSpecResponse)

    def refusal(self, ask=None):
        """Code and words of a call that fails; None of one that does not."""
        try:
            (ask or self.values)()
        except grpc.RpcError as error:
            return error.code(), error.details()
        return None


def generated(folder):
    """Messages and stub as grpcio-tools makes them for anybody, in protobuf's own pool."""
    from grpc_tools import protoc

    (folder / "externalscaler.proto").write_text(PROTO.read_text())
    arguments = [
        "protoc", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}",
        str(folder / "externalscaler.proto"),
    ]  # fmt: skip
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(folder))
    try:
        return import_module("externalscaler_pb2"), import_module("externalscaler_pb2_grpc")
    finally:
        sys.path.remove(str(folder))
