"""Callers in threads that ask without a pause, and remember every answer that was not one."""

import http.client
import json
import time
from threading import Event, Thread

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

ROW = np.array([[0.0, 1.0, 2.0, 3.0]], np.float32)


class Caller(Thread):
    """Asks model ``adding`` for what it adds; ``answers`` counts, ``failures`` are sentences.

    An answer must be whole, and no older than the one before.
    """

    def __init__(self, stop, pause=0.0):
        super().__init__(daemon=True)
        self.answers = 0
        self.failures = []
        self.last = 0.0
        self.longest = 0.0
        self._stopping = stop
        self._pause = pause

    def run(self):
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                self._check(self.ask())
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                self._stopping.wait(0.1)
            self.longest = max(self.longest, time.monotonic() - begun)
            if self._pause:
                self._stopping.wait(self._pause)
        self.end()

    def _check(self, y):
        added = np.asarray(y, np.float32).reshape(ROW.shape) - ROW
        if added.min() != added.max():
            self.failures.append(f"a mixture of versions: {added}")
        elif added[0, 0] < self.last:
            self.failures.append(f"version {added[0, 0]:g} after {self.last:g}")
        else:
            self.last = float(added[0, 0])
            self.answers += 1


class HttpCaller(Caller):
    """One kept-alive connection."""

    def __init__(self, port, stop, pause=0.0):
        super().__init__(stop, pause)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW.ravel().tolist()}
        self._body = json.dumps({"inputs": [tensor]})

    def ask(self):
        self._connection.request("POST", "/v2/models/adding/infer", self._body)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {body[:300]!r}")
        return json.loads(body)["outputs"][0]["data"]

    def end(self):
        self._connection.close()


class GrpcCaller(Caller):
    """One channel."""

    def __init__(self, address, stop, pause=0.0):
        super().__init__(stop, pause)
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._message = service_pb2.ModelInferRequest(model_name="adding")
        self._message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        self._message.raw_input_contents.append(ROW.tobytes())

    def ask(self):
        return np.frombuffer(self._stub.ModelInfer(self._message, timeout=30).raw_output_contents[0], "f4")

    def end(self):
        self._channel.close()


class Load:
    """Callers over both doors for as long as a block runs."""

    def __init__(self, server, http=2, grpc=1, pause=0.0):
        self._stop = Event()
        self.callers = [HttpCaller(server.http_port, self._stop, pause) for _ in range(http)]
        self.callers += [GrpcCaller(server.grpc, self._stop, pause) for _ in range(grpc)]

    def __enter__(self):
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for caller in self.callers:
            caller.join(60)

    @property
    def failures(self):
        return [failure for caller in self.callers for failure in caller.failures]

    @property
    def answers(self):
        return [caller.answers for caller in self.callers]
