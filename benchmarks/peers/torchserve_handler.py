# mypy: ignore-errors
"""TorchServe's handler for one ONNX model."""

import json

import numpy as np
from peer_session import open_session, run

_session = None


def handle(data, context):
    """Answer a batch: TorchServe passes one entry a request and wants one answer each."""
    global _session
    if _session is None:
        _session = open_session()
    if data is None:
        return None
    bodies = [entry["body"] for entry in data]
    bodies = [body if isinstance(body, dict) else json.loads(body) for body in bodies]
    y = run(_session, np.concatenate([np.asarray(body["x"], np.float32) for body in bodies]))
    return [{"y": [row]} for row in y.tolist()]
