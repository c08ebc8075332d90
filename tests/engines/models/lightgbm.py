"""A LightGBM classifier of three classes, in its own text format."""

from pathlib import Path

import lightgbm
import numpy as np


def write(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    settings = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbosity": -1}
    data = lightgbm.Dataset(x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0))
    path = folder / "1" / "model.txt"
    path.parent.mkdir(parents=True)
    lightgbm.train(settings, data, 10).save_model(path)
    return path
