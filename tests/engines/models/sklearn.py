"""A scikit-learn pipeline with text labels, in a skops file."""

from pathlib import Path

import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def write(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    names = np.array(["low", "middle", "high"])[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0)]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, names)
    path = folder / "1" / "model.skops"
    path.parent.mkdir(parents=True)
    skops.io.dump(model, path)
    return path
