# mypy: ignore-errors
"""LitServe serving one ONNX model."""

import os

import litserve as ls
import numpy as np
from peer_session import open_session, run


class OnnxAPI(ls.LitAPI):
    """One row a request; LitServe itself stacks rows where batching is on."""

    def setup(self, device):
        self.session = open_session()

    def decode_request(self, request):
        return np.asarray(request["x"][0], np.float32)

    def predict(self, x):
        return run(self.session, x if self.max_batch_size > 1 else x[None])

    def encode_response(self, output):
        return {"y": np.atleast_2d(output).tolist()}


if __name__ == "__main__":
    api = OnnxAPI(
        max_batch_size=int(os.environ["MAX_BATCH"]), batch_timeout=float(os.environ["BATCH_TIMEOUT_S"])
    )
    server = ls.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        fast_queue=os.environ["FAST_QUEUE"] == "1",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        generate_client_file=False,
        log_level=os.environ["LOG_LEVEL"],
    )
