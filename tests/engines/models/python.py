"""A model in Python, with a neighbour that it imports."""

from pathlib import Path

MODEL = """
from typing import Annotated

import numpy as np

from penstock import BYTES, FP32, INT64, Context

from .weights import WEIGHTS


class Linear:
    def setup(self, context: Context) -> None:
        self.weights = np.array(WEIGHTS, np.float32)

    def predict(
        self, x: Annotated[FP32, -1, 3], tag: Annotated[BYTES, -1]
    ) -> tuple[
        Annotated[FP32, "y", -1, 2], Annotated[INT64, "length", -1], Annotated[BYTES, "twice", -1]
    ]:
        y = (x[:, :, None] * self.weights).sum(axis=1)
        return y, np.array([len(each) for each in tag], np.int64), [each + each for each in tag]
"""
WEIGHTS = "WEIGHTS = [[1.0, 2.0], [-3.0, 0.5], [0.25, -1.5]]\n"


def write(folder: Path) -> Path:
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "weights.py").write_text(WEIGHTS)
    path = version / "model.py"
    path.write_text(MODEL)
    return path
