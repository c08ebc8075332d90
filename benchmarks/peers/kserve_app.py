# mypy: ignore-errors
"""KServe's Python model server serving one ONNX model."""

import logging
import os

import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer
from peer_session import open_session, run

CONFIG = uvicorn.Config


class OnnxModel(Model):
    """A custom model, as KServe's documentation shows."""

    def __init__(self, name):
        super().__init__(name)
        self.session = open_session()
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        y = run(self.session, payload.inputs[0].as_numpy())
        output = InferOutput(name="y", shape=list(y.shape), datatype="FP32")
        output.set_data_from_numpy(y, binary_data=False)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    # KServe has no setting for its address and would listen on every interface.
    uvicorn.Config = lambda *args, **options: CONFIG(*args, **{**options, "host": "127.0.0.1"})
    server = ModelServer(
        http_port=int(os.environ["PEER_PORT"]),
        enable_grpc=False,
        enable_latency_logging=os.environ["LOGS"] == "1",
    )
    if os.environ["LOGS"] == "0":
        for name in ("kserve", "kserve.trace", "uvicorn.access", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.WARNING)
    server.start([OnnxModel("m")])
