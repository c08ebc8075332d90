"""A session without a framework, which answers with its input: for tests and load tests."""

from collections.abc import Sequence
from pathlib import Path
from time import sleep

import numpy as np

from penstock.core.errors import BadSetting
from penstock.core.spec import Isolation, ModelSpec, Signature, TensorSpec
from penstock.core.tensors import datatype_of
from penstock.core.types import Tensors

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),))


class EchoEngine:
    """``parameters`` may hold ``delay_ms`` (each run) and ``per_row_ms`` (each row of it)."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> "EchoSession":
        """Reads no file; raises BadSetting where a delay is no number of milliseconds."""
        return EchoSession(_milliseconds(spec, "delay_ms"), _milliseconds(spec, "per_row_ms"))


class EchoSession:
    """``y`` is a copy of ``x``, after ``delay + rows × per_row`` seconds of sleep."""

    signature = SIGNATURE
    platform = "echo"
    device = "cpu"
    threads = 1
    concurrency = 0

    def __init__(self, delay: float = 0.0, per_row: float = 0.0) -> None:
        self._delay = delay
        self._per_row = per_row
        self._closed = False

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Raises ValueError unless the inputs are just ``x``, FP32 with two axes."""
        if self._closed:
            raise RuntimeError("the session is closed")
        x = inputs.get("x")
        if x is None or len(inputs) != 1 or x.ndim != 2 or datatype_of(x.dtype) != "FP32":
            got = {name: f"{array.dtype}{list(array.shape)}" for name, array in inputs.items()}
            raise ValueError(f"echo takes one FP32 input 'x' with two axes, got {got}")
        if any(name != "y" for name in outputs):
            raise ValueError(f"echo gives one output 'y', not {list(outputs)}")
        seconds = self._delay + len(x) * self._per_row
        if seconds:
            sleep(seconds)
        return {"y": x.astype(np.float32)}

    def close(self) -> None:
        self._closed = True


def _milliseconds(spec: ModelSpec, name: str) -> float:
    text = spec.parameters.get(name, "0")
    try:
        seconds = float(text) / 1e3
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise BadSetting(f"parameters.{name} is {text!r}; it must be milliseconds, 0 or more")
    return seconds
