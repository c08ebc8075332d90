"""An XGBoost classifier of three classes, in its own JSON."""

from pathlib import Path

import numpy as np
import xgboost


def write(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    data = xgboost.DMatrix(x, label=(x[:, 0] > 0).astype(int) + (x[:, 1] > 0), nthread=1)
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4, "nthread": 1}
    path = folder / "1" / "model.json"
    path.parent.mkdir(parents=True)
    xgboost.train(settings, data, 10).save_model(path)
    return path
