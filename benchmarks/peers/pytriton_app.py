# mypy: ignore-errors
"""PyTriton (NVIDIA Triton's C++ server with the model in Python) serving one ONNX model."""

import os

import numpy as np
from peer_session import open_session, run
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

SESSION = open_session()
ROW = tuple(SESSION.get_inputs()[0].shape[1:])
CLASSES = tuple(SESSION.get_outputs()[0].shape[1:])


@batch
def infer(x):
    return {"y": run(SESSION, x)}


def main() -> None:
    """Bind the model and block until told to end."""
    port = int(os.environ["PEER_PORT"])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_address="127.0.0.1",
        grpc_port=int(os.environ["PEER_PORT2"]),
        metrics_port=int(os.environ["PEER_PORT3"]),
        allow_gpu_metrics=False,
    )
    model = ModelConfig()
    if os.environ["MAX_BATCH"]:
        delay = int(os.environ["MAX_DELAY_US"])
        model = ModelConfig(
            max_batch_size=int(os.environ["MAX_BATCH"]),
            batcher=DynamicBatcher(max_queue_delay_microseconds=delay),
        )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="m",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=ROW)],
            outputs=[Tensor(name="y", dtype=np.float32, shape=CLASSES)],
            config=model,
        )
        triton.serve()


if __name__ == "__main__":
    main()
