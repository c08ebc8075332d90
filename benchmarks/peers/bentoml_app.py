# mypy: ignore-errors
"""BentoML serving one ONNX model."""

import os

import bentoml
import numpy as np
from peer_session import open_session, run

BATCHING = {}
if os.environ["BATCHABLE"] == "1":
    BATCHING = {
        "batchable": True,
        "max_batch_size": int(os.environ["MAX_BATCH"]),
        "max_latency_ms": int(os.environ["MAX_LATENCY_MS"]),
    }


@bentoml.service(workers=1, logging={"access": {"enabled": os.environ["ACCESS_LOG"] == "1"}})
class Onnx:
    """One service with one worker, in the process that also speaks HTTP."""

    def __init__(self):
        self.session = open_session()

    @bentoml.api(**BATCHING)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return run(self.session, np.asarray(x, np.float32))
