"""A cascade: a linear model answers, and a larger one is asked about the images of which it is unsure.

Run it on models by ``penstock init models``: ``python examples/cascade.py models``
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from penstock.cli.digits import digits
from penstock.testing import running

PIPELINE = """
[[step]]
model = "digits-linear"

[[step]]
model = "digits-mlp"
when = "margin(probabilities) < 0.5"
"""


def main(models: str) -> None:
    """Serve the models with a pipeline of them, and ask all three about images that none has seen."""
    data = digits()
    with TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        shutil.copytree(models, repository)
        (repository / "digits").mkdir()
        (repository / "digits" / "pipeline.toml").write_text(PIPELINE)
        with running(repository) as client:
            for name in ("digits-linear", "digits-mlp", "digits"):
                labels = client.infer(name, data.test_images)["label"]
                print(f"{name:13} {np.mean(labels == data.test_labels):.1%} right")
            sure = client.infer("digits-linear", data.test_images)["probabilities"]
            top = np.sort(sure)[:, -2:]
            print(f"digits-mlp was asked about {np.mean(top[:, 1] - top[:, 0] < 0.5):.0%} of the images")


if __name__ == "__main__":
    main(sys.argv[1])
