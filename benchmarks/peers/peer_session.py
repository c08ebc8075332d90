# mypy: ignore-errors
"""The one ONNX Runtime session that every peer's app opens: same library, same options, one thread."""

import os

import numpy as np
import onnxruntime as ort


def open_session() -> ort.InferenceSession:
    """Open `$PEER_MODEL` on one thread: the servers have one core, so more would only spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, x: np.ndarray) -> np.ndarray:
    """Rows [N, ...] in, rows [N, classes] out."""
    return session.run(None, {"x": x})[0]
