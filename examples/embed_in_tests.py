"""A server inside your own test: real queues, batches and HTTP, on a free port, gone afterwards.

Run it by ``pytest examples/embed_in_tests.py``.
"""

from pathlib import Path

import numpy as np

from penstock.client import Client
from penstock.testing import running


def classify(client: Client, rows: np.ndarray) -> list[int]:
    """Your code, which asks a model over the network."""
    scores = client.infer("scorer", {"x": rows})["y"]
    return [int(best) for best in scores.argmax(axis=1)]


def test_classify_takes_the_best_score_of_each_row(tmp_path: Path) -> None:
    folder = tmp_path / "scorer" / "1"
    folder.mkdir(parents=True)
    (folder / "model.echo").touch()
    # The echo engine answers with its input; put your own model.onnx there instead.
    (tmp_path / "scorer" / "model.toml").write_text('engine = "echo"\nfile = "model.echo"\n')
    with running(tmp_path) as client:
        assert classify(client, np.array([[0.1, 0.9], [0.7, 0.3]], np.float32)) == [1, 0]
