"""An engine of your own: a linear model in numpy, served with batches, versions and metrics like any other.

``engine = "own_engine:NumpyEngine"`` in model.toml chooses it; the module must be on PYTHONPATH.
Run it by ``python examples/own_engine.py``.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.core.types import Tensors
from penstock.testing import running


class NumpyEngine:
    """Opens ``model.npz``, which holds ``weights``."""

    isolation = "thread"
    """numpy is compiled code that lets go of the GIL; without this line it would get processes of its own."""

    def open(self, spec: ModelSpec, files: Path, /) -> "NumpySession":
        """Blocks; what it raises is the reason that the model's status shows."""
        try:
            return NumpySession(np.load(files)["weights"])
        except (OSError, ValueError, KeyError) as error:
            raise LoadFailed(f"{files.name} has no array 'weights': {error}") from error


class NumpySession:
    """``y = x @ weights``; -1 in a shape is a variable size, and axis 0 is the batch."""

    platform = "numpy"
    device = "cpu"
    threads = 1
    concurrency = 0  # runs that it pays to have at once on a device; 0 leaves it to the cores

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights.astype(np.float32)
        wide, high = self._weights.shape
        self.signature = Signature(
            (TensorSpec("x", "FP32", (-1, wide)),), (TensorSpec("y", "FP32", (-1, high)),)
        )

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Several threads may be here at once."""
        return {"y": inputs["x"] @ self._weights}

    def close(self) -> None:
        """Called once, after the last run."""


def main() -> None:
    """Write a model, serve it, ask it."""
    with TemporaryDirectory() as repository:
        version = Path(repository) / "linear" / "1"
        version.mkdir(parents=True)
        np.savez(version / "model.npz", weights=np.arange(6).reshape(3, 2))
        (version.parent / "model.toml").write_text('engine = "own_engine:NumpyEngine"\n')
        with running(repository) as client:
            print(client.infer("linear", {"x": np.ones((1, 3), np.float32)})["y"])
            print(client.status()[0]["isolation"], client.status()[0]["batched"])


if __name__ == "__main__":
    main()
