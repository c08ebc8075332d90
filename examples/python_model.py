"""A model in Python: a class of your own, served with batches, versions and metrics like any other.

This very file is put into a repository as ``scale/1/model.py``; docs/guide/python.md says what such a
file may hold.
Run it by ``python examples/python_model.py``.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np

from penstock import FP32, Context
from penstock.testing import running


class Scale:
    def setup(self, context: Context) -> None:
        self.factor = np.float32(context.parameters.get("factor", "2"))

    def predict(self, x: Annotated[FP32, -1, 3]) -> Annotated[FP32, -1, 3]:
        return x * self.factor


def main() -> None:
    """Write a repository, serve it, ask it."""
    with TemporaryDirectory() as repository:
        version = Path(repository) / "scale" / "1"
        version.mkdir(parents=True)
        shutil.copy(__file__, version / "model.py")
        (version.parent / "model.toml").write_text('[parameters]\nfactor = "10"\n')
        with running(repository) as client:
            print(client.infer("scale", {"x": np.ones((1, 3), np.float32)})["y"])


if __name__ == "__main__":
    main()
